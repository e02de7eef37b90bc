"""Proof that every named attack test needs the defence that it names."""
