"""The tables, each column commented where it is defined. Migrations bring a database there."""
