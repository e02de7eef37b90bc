"""Requests that nobody thought of, to every endpoint of clients, as somebody who is logged in and has real rooms."""
