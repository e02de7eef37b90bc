"""Requests that nobody thought of, to every endpoint, as people and as a server who have real rooms."""
