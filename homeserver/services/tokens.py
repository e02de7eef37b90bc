"""Tokens that clients hold and never look into.

A sync token is `epoch.position.to_device`: where the client stands in the one counter, in which life of the database,
and up to which to-device message it has acknowledged. A history token is a place in a room: `h` anchor `_` rank.
"""

from dataclasses import dataclass

from homeserver.domain.errors import BadRequest
from homeserver.storage.history import RANK_END, Place

MAX_DIGITS = 18


@dataclass(frozen=True, slots=True)
class SyncToken:
    epoch: str
    position: int
    to_device: int = 0

    def __str__(self) -> str:
        return f"{self.epoch}.{self.position}.{self.to_device}"


def parse_sync_token(text: str) -> SyncToken:
    """Raises BadRequest if we cannot have made it."""
    epoch, _, rest = text.partition(".")
    position, _, to_device = rest.partition(".")
    if not epoch or not _is_number(position) or not _is_number(to_device):
        raise BadRequest("Not a token of this server")
    return SyncToken(epoch, int(position), int(to_device))


def write_place(place: Place) -> str:
    return f"h{place.anchor}_{place.rank}"


def parse_place(text: str) -> Place:
    """A place in a room's history, from a history token or a sync token. Raises BadRequest."""
    if not text.startswith("h") or "." in text:
        return Place(parse_sync_token(text).position, RANK_END)
    anchor, _, rank = text[1:].partition("_")
    if not _is_number(anchor) or not _is_number(rank.removeprefix("-")):
        raise BadRequest("Not a token of this server")
    if int(rank) > RANK_END or int(rank) < -RANK_END:
        raise BadRequest("Not a token of this server")
    return Place(int(anchor), int(rank))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS
