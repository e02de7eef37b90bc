"""What is the same from one sync frame of a client to the next: everything but the id and the token.

So a frame like the one before is known by its text, and its JSON is not read again. `_verify` proves of the first one
that the two stand where they seem to; where nothing but other plain characters stand in their place, the JSON says the
same but for them.
"""

import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clients.live.frames import MAX_ID, Malformed, read_frame
from homeserver.services.sync.request import SyncRequest

# Longer frames are read each time, and so are those of more shapes than any software has.
MAX_BYTES = 2_048
MAX_SHAPES = 256

# What stands in a JSON string as it is: printable ASCII but for quotation marks and backslashes.
_PLAIN = rb"([!#-\[\]-~]{1,%d})" % MAX_ID
_is_plain = re.compile(_PLAIN).fullmatch


@dataclass(frozen=True, slots=True)
class Ask:
    """A frame that asks for a sync: its text, its id, and what it wants."""

    message: bytes
    id: str
    wanted: Any


@dataclass(frozen=True, slots=True)
class Shape:
    """`pattern` finds the id and the token, whose groups are `id_group` and `since_group`; `wanted` is the rest."""

    pattern: re.Pattern[bytes]
    id_group: int
    since_group: int
    wanted: Mapping[str, Any]


class Habit:
    """How a socket asked for a sync the last time, and what that means but for its token."""

    __slots__ = ("request", "shape")

    def __init__(self) -> None:
        self.shape: Shape | None = None
        self.request: SyncRequest | None = None

    def read(self, message: bytes) -> tuple[str, str] | None:
        """The id and the token of a frame like the one before; None for any other."""
        shape = self.shape
        found = None if shape is None else shape.pattern.fullmatch(message)
        if shape is None or found is None:
            return None
        return found[shape.id_group].decode(), found[shape.since_group].decode()

    def ask(self, message: bytes, id: str, since: str) -> Ask:
        """What a frame asks for that was read here."""
        rest = {} if self.shape is None else self.shape.wanted
        return Ask(message, id, {**rest, "since": since})


class Shapes:
    """Of all sockets: clients of one kind ask in one way."""

    def __init__(self) -> None:
        self._shapes: OrderedDict[tuple[bytes, bytes, bytes, bool], Shape] = OrderedDict()

    def of(self, ask: Ask) -> Shape | None:
        """None if the frame is too long, or cannot be known by its text."""
        since = ask.wanted.get("since")
        if len(ask.message) > MAX_BYTES or not isinstance(since, str) or not _verify(ask, since):
            return None
        first, second = sorted((ask.id, since), key=lambda text: ask.message.index(_quoted(text)))
        before, _, rest = ask.message.partition(_quoted(first))
        between, _, behind = rest.partition(_quoted(second))
        key = (before, between, behind, first == ask.id)
        shape = self._shapes.get(key)
        if shape is None:
            string = b'"%b"' % _PLAIN
            pattern = string.join(map(re.escape, (before, between, behind)))
            groups = (1, 2) if first == ask.id else (2, 1)
            wanted = {name: value for name, value in ask.wanted.items() if name != "since"}
            shape = self._shapes[key] = Shape(re.compile(pattern), *groups, wanted)
            if len(self._shapes) > MAX_SHAPES:
                self._shapes.popitem(last=False)
        return shape


def _verify(ask: Ask, since: str) -> bool:
    """Whether the id and the token stand in the frame once each, as they are."""
    texts = (ask.id, since)
    if not all(text.isascii() and _is_plain(text.encode()) for text in texts):
        return False
    if ask.id == since or any(ask.message.count(_quoted(text)) != 1 for text in texts):
        return False
    other = ask.message
    for text in texts:
        other = other.replace(_quoted(text), _quoted(f"{text}+"))
    try:
        return read_frame(other) == {"id": f"{ask.id}+", "sync": {**ask.wanted, "since": f"{since}+"}}
    except Malformed:
        return False


def _quoted(text: str) -> bytes:
    return b'"%b"' % text.encode()
