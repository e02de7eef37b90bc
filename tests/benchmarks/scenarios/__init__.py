"""The scenarios, one idea to a file; catalogue.py lists them."""
