"""What can be found: keeps the index of search as the events say.

A follower: it is told of every event some time after it entered its room, at least once, and of no event too few. What
an event can be found by is worked out anew whenever something touches it, so the order in which things come is of no
concern: an edit before its event, a redaction of an edit, an event that is told twice.

- A message is found by the text of its newest edit, not by what it said before: that is what its readers see. Edits
  themselves are not found. https://spec.matrix.org/v1.19/client-server-api/#event-replacements
- What is redacted is not found; if an edit is redacted, the message is found by the edit before it.
- Encrypted events have no text here.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from homeserver.domain.relations import replacement_target
from homeserver.domain.search_text import TYPES, Key, grams_of, normal, runs, searchable, words_of
from homeserver.services.client_form import redaction_target
from homeserver.services.persistence import Persistence
from homeserver.storage.events import EventRow, parse_members
from homeserver.storage.history import Place
from homeserver.storage.search import SearchRow
from homeserver.storage.store import Store
from homeserver.telemetry.metrics import SEARCH_BYTES_PER_EVENT, SEARCH_EVENTS

END = 2**62


class SearchIndex:
    def __init__(self, database: Persistence) -> None:
        self._database = database
        # Two that look at the same event at once could leave what the slower one saw.
        self._turn = asyncio.Lock()

    async def act(self, rows: Sequence[EventRow]) -> None:
        """Brings up to date what these events touch."""
        async with self._turn:
            await self._database.write(lambda store: index_events(store, rows))

    async def measure(self) -> None:
        """Publishes how large the index is."""
        events, size = await self._database.read(lambda store: store.search.size(), single=True)
        SEARCH_EVENTS.set(events)
        SEARCH_BYTES_PER_EVENT.set(size / events if events else 0)


@dataclass(frozen=True, slots=True)
class _Read:
    """A row, with its content parsed."""

    row: EventRow
    content: Mapping[str, Any]

    @property
    def edits(self) -> str | None:
        """The id of the event that it edits."""
        is_message = self.row.type == "m.room.message" and self.row.state_key is None
        return replacement_target(self.content) if is_message else None

    @property
    def can_be_found(self) -> bool:
        """As long as it has text."""
        key = TYPES.get(self.row.type)
        return key is not None and self.row.state_key == (None if key is Key.BODY else "") and self.edits is None


def index_events(store: Store, rows: Iterable[EventRow]) -> None:
    """Works out anew by what the events can be found that these ones are, edit or redact."""
    touched: dict[int, _Read] = {}
    targets: set[str] = set()
    for row in rows:
        target = None
        if row.type == "m.room.redaction":
            target = redaction_target(row.client)
        elif row.type in TYPES:
            one = _read(row)
            target = one.edits
            if target is None:
                touched[row.number] = one
        if target is not None:
            targets.add(target)
    others = store.events.list_by_ids(targets)
    # What an edit edited cannot be told any more once it is redacted.
    edited = store.search.list_edited_by([row.number for row in others.values()])
    for row in [*others.values(), *store.events.list_by_numbers(edited).values()]:
        touched[row.number] = _read(row)
    found = [one for one in touched.values() if one.can_be_found]
    sources = _newest_edits(store, [one.row for one in found])
    entries = [entry for one in found if (entry := _entry(one, sources.get(one.row.event_id))) is not None]
    store.search.remove(touched.keys() - {entry.event for entry in entries})
    store.search.put(entries)


def text_of(row: EventRow, content: Mapping[str, Any], edit: EventRow | None) -> str | None:
    """The text by which an event is found, as it stands there: that of its newest edit, if it has one."""
    if row.redacted_by is not None or (edit is not None and edit.redacted_by is not None):
        return None
    if edit is not None:
        content = parse_members(edit.client)["content"].get("m.new_content")
    found = searchable(row.type, content) if isinstance(content, Mapping) else None
    return None if found is None else found.text


def _entry(one: _Read, edit: EventRow | None) -> SearchRow | None:
    row = one.row
    text = text_of(row, one.content, edit)
    text_runs = runs(normal(text)) if text is not None else []
    if not text_runs or row.anchor is None:
        return None
    return SearchRow(
        event=row.number,
        room=row.room,
        place=Place(row.anchor, row.rank),
        key=TYPES[row.type],
        sender=row.sender,
        has_file="url" in one.content,
        edit=None if edit is None or edit.anchor is None else (edit.number, edit.anchor),
        words=words_of(text_runs),
        grams=grams_of(text_runs),
    )


def _newest_edits(store: Store, rows: Sequence[EventRow]) -> dict[str, EventRow]:
    """By event id: the newest edit that counts."""
    messages = {row.event_id: row for row in rows if row.state_key is None}
    parents = store.relations.list_parents((row.room, row.event_id) for row in messages.values())
    by_room: dict[int, list[tuple[str, str, str]]] = {}
    for event_id in parents:
        row = messages[event_id]
        by_room.setdefault(row.room, []).append((row.event_id, row.sender, row.type))
    newest: dict[str, int] = {}
    for room, edited in by_room.items():
        newest.update({parent: edits[0] for parent, edits in store.relations.list_edits(room, edited, END, 1).items()})
    edits = store.events.list_by_numbers(newest.values())
    return {parent: edits[number] for parent, number in newest.items() if number in edits}


def _read(row: EventRow) -> _Read:
    return _Read(row, parse_members(row.client)["content"])
