"""The epoch of sync tokens: one life of the database, as the data directory remembers it.

If the database is older than the positions that were given out (restored from a backup), or the data directory's memory
is gone, tokens of before mean nothing any more: a new epoch begins. (architecture.md, section 6)
"""

from typing import Protocol

from sqlalchemy import Engine

from homeserver.storage.blocks import HighWater, raise_positions


class Record(Protocol):
    @property
    def epoch(self) -> str: ...
    @property
    def reserved(self) -> int: ...


class EpochFile(HighWater, Protocol):
    """The data directory's memory."""

    def read(self) -> Record | None: ...
    def new_epoch(self, reason: str) -> Record: ...


def current_epoch(engine: Engine, epochs: EpochFile) -> str:
    """The epoch of this life of the database. From now on positions begin above all that were ever given out."""
    record = epochs.read()
    known = raise_positions(engine, record.reserved if record is not None else 0)
    if record is None:
        return epochs.new_epoch("there was no record of positions given out").epoch
    if known < record.reserved:
        reserved = record.reserved
        record = epochs.new_epoch(f"the database knows positions up to {known}, but {reserved} were given out")
    return record.epoch
