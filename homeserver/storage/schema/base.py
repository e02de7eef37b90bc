"""The metadata object that all tables share, and the product's mark in a database."""

from sqlalchemy import MetaData

metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "ix": "%(table_name)s_%(column_0_N_name)s",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ck": "%(table_name)s_%(constraint_name)s",
    }
)

# Written into every database of ours, so that a database of something else is never touched.
PRODUCT = "b6f0c1de-6f0e-4c39-9f44-2f3f6d1c8f0a"
