"""Whether a room's history is what was said there: everything once, nobody's words in another order.

Scenarios that send ask this after their measured phase, of the server's own /messages.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.benchmarks.matrix import Session
from tests.benchmarks.scenario import expect

MOST_PAGES = 1000


@dataclass
class Said:
    """What one person sent: (event id, body) in the order of the answers."""

    messages: list[tuple[str, str]] = field(default_factory=list)

    def add(self, event_id: str, body: str) -> None:
        self.messages.append((event_id, body))


async def messages_since(reader: Session, room: str, oldest: set[str]) -> list[dict[str, Any]]:
    """The room's messages back to where all of `oldest` have been seen, in their order."""
    found: list[dict[str, Any]] = []
    missing = set(oldest)
    start: str | None = None
    for _ in range(MOST_PAGES):
        page = (await reader.page_back(room, start)).content
        found += [event for event in page["chunk"] if event["type"] == "m.room.message"]
        missing -= {event["event_id"] for event in page["chunk"]}
        start = page.get("end")
        if not missing or start is None:
            break
    expect(not missing, f"{len(missing)} messages of {len(oldest)} are not in the history of their room")
    return found[::-1]


async def check_said(reader: Session, room: str, said: Mapping[str, Said], ordered: bool = True) -> None:
    """Every message is in the room exactly once, with its words, and (where told) each person's in their order.

    `said` is by user id.  `ordered` is False where one person had several requests under way at once.
    """
    sent = [message for person in said.values() for message in person.messages]
    ids = {event_id for event_id, _ in sent}
    expect(len(ids) == len(sent), "two messages were given the same event id")
    history = await messages_since(reader, room, ids)
    expect(len({event["event_id"] for event in history}) == len(history), "the history holds an event twice")
    for user_id, person in said.items():
        bodies = {body for _, body in person.messages}
        theirs = [event for event in history if event["sender"] == user_id and event["content"].get("body") in bodies]
        heard = [(event["event_id"], event["content"]["body"]) for event in theirs]
        _compare(user_id, person.messages, heard, ordered)


def _compare(user_id: str, sent: Sequence[tuple[str, str]], heard: Sequence[tuple[str, str]], ordered: bool) -> None:
    expect(sorted(heard) == sorted(sent), f"the history does not hold what {user_id} said, once each")
    if ordered:
        expect(list(heard) == list(sent), f"the history holds what {user_id} said in another order")
