"""The index of search: a row for each event whose text can be found."""

from sqlalchemy import BigInteger, Column, Index, Integer, SmallInteger, Table, text
from sqlalchemy.dialects.postgresql import ARRAY, TSVECTOR

from homeserver.storage.schema.base import metadata

# New entries of an index wait in a list that every search reads through: kilobytes of it.
PENDING = {"fastupdate": "on", "gin_pending_list_limit": "512"}

search = Table(
    "search",
    metadata,
    Column("event", BigInteger, primary_key=True, autoincrement=False, comment="the event that is found; not an edit"),
    Column("room", BigInteger, nullable=False),
    Column("anchor", BigInteger, nullable=False, comment="its place in the room's history"),
    Column("rank", Integer, nullable=False),
    Column("key", SmallInteger, nullable=False, comment="where the text stands: 0 body, 1 name, 2 topic"),
    Column("edit", BigInteger, comment="the event that has the text, if it is not its own: its newest edit"),
    Column("edit_anchor", BigInteger, comment="the anchor of that event"),
    Column("words", TSVECTOR, nullable=False, comment="its words, without places"),
    Column("grams", ARRAY(Integer), nullable=False, comment="hashes of its n-grams, and its marks (storage/search.py)"),
    Index("search_words", "words", postgresql_using="gin", postgresql_with=PENDING),
    Index("search_grams", "grams", postgresql_using="gin", postgresql_with=PENDING),
    Index("search_edit", "edit", postgresql_where=text("edit IS NOT NULL")),
)
