"""Bundled aggregations: what the events that point at an event amount to, for one viewer.

Of edits the newest, of references which there are, of threads how many replies and the newest one. They are read from
the tables when an answer is made, and never stand in what viewers share.
https://spec.matrix.org/v1.19/client-server-api/#aggregations-of-child-events
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from homeserver.domain.relations import REFERENCE, REPLACE, THREAD, Relation, relation_of
from homeserver.services.access import ReadableRoom, visible_events
from homeserver.services.viewer import ignored_users
from homeserver.storage.account_data import GLOBAL
from homeserver.storage.events import EventRow, parse_members
from homeserver.storage.store import Store

# Of the newest edits, or replies, of an event: so many are looked at for one that the viewer may see. Of a thread in a
# room that keeps history from some, no more than these are counted.
MAX_LOOKED_AT = 30
MAX_REFERENCES = 200
END = 2**62

# An event with the viewer's membership at it.
Seen = tuple[EventRow, str | None]


@dataclass(frozen=True, slots=True)
class ThreadSummary:
    """`count`: of the replies; `latest`: the newest of them."""

    latest: Seen
    count: int
    participated: bool


@dataclass(frozen=True, slots=True)
class Bundle:
    """What goes with one event: its newest valid edit, the ids of the events that refer to it, its thread."""

    edit: Seen | None
    references: Sequence[str]
    thread: ThreadSummary | None


@dataclass(frozen=True, slots=True)
class Onlooker:
    """Who looks at which room, and whose messages they do not want to see."""

    room: ReadableRoom
    user_id: str
    ignored: frozenset[str]

    @property
    def upto(self) -> int:
        """The anchor up to which the viewer may know the room."""
        return END if self.room.left_at is None else self.room.left_at

    @property
    def sees_everything(self) -> bool:
        """Whether every event up to there is visible: what was always shared is, for whoever was ever inside."""
        return self.room.row.open_history and (self.room.is_joined or self.room.left_at is not None)

    @property
    def unwanted(self) -> list[str]:
        return [user_id for user_id in self.ignored if user_id != self.user_id]


def onlooker_of(store: Store, room: ReadableRoom, user_id: str) -> Onlooker:
    """With those whom the user ignores now."""
    ignored = ignored_users(store.account_data.find(user_id, GLOBAL, "m.ignored_user_list"))
    return Onlooker(room, user_id, ignored)


@dataclass(slots=True)
class _Children:
    """What was found of the children, by the event id of their parent; numbers, newest first."""

    edits: Mapping[str, Sequence[int]] = field(default_factory=dict)
    references: Mapping[str, Sequence[tuple[int, str]]] = field(default_factory=dict)
    replies: Mapping[str, Sequence[tuple[int, str]]] = field(default_factory=dict)

    def numbers(self, sees_everything: bool) -> set[int]:
        """Of those events that must be looked at. Of references only the id is told."""
        found = {number for numbers in self.edits.values() for number in numbers}
        found |= {number for pairs in self.replies.values() for number, _ in pairs}
        if not sees_everything:
            found |= {number for pairs in self.references.values() for number, _ in pairs}
        return found


def load_bundles(
    store: Store, onlooker: Onlooker, rows: Iterable[EventRow], parents: Collection[str] | None = None
) -> dict[str, Bundle]:
    """By event id, also of the newest replies of threads. `parents`: those of the events at which others point, if that
    is known already."""
    rows = [
        row for row in rows if row.state_key is None
    ]  # "State events do not currently receive bundled aggregations"
    if parents is None:
        parents = store.relations.list_parents((row.room, row.event_id) for row in rows)
    bundles = _load(store, onlooker, [row for row in rows if row.event_id in parents], with_threads=True)
    latest = [bundle.thread.latest[0] for bundle in bundles.values() if bundle.thread is not None]
    # "child events of the latest_event should themselves be aggregated": no thread begins at one, so that this ends.
    inner = [row for row in latest if row.event_id not in bundles]
    inner_parents = store.relations.list_parents((row.room, row.event_id) for row in inner)
    others = [row for row in inner if row.event_id in inner_parents]
    return {**_load(store, onlooker, others, with_threads=False), **bundles}


def _load(store: Store, onlooker: Onlooker, rows: Sequence[EventRow], *, with_threads: bool) -> dict[str, Bundle]:
    if not rows:
        return {}
    relations = {row.event_id: _relation(row) for row in rows}
    roots = [row for row in rows if with_threads and relations[row.event_id] is None]
    children = _find_children(store, onlooker, rows, relations, roots)
    events = store.events.list_by_numbers(children.numbers(onlooker.sees_everything))
    visible = {
        row.number: (row, membership)
        for row, membership in visible_events(store, onlooker.room, onlooker.user_id, list(events.values()))
    }
    threads = _summarise(store, onlooker, roots, children.replies, visible)
    bundles: dict[str, Bundle] = {}
    for row in rows:
        edit = next((visible[one] for one in children.edits.get(row.event_id, ()) if one in visible), None)
        references = [
            event_id
            for number, event_id in reversed(children.references.get(row.event_id, ()))
            if onlooker.sees_everything or number in visible
        ]
        thread = threads.get(row.event_id)
        if edit is not None or references or thread is not None:
            bundles[row.event_id] = Bundle(edit, references, thread)
    return bundles


def _find_children(
    store: Store,
    onlooker: Onlooker,
    rows: Sequence[EventRow],
    relations: Mapping[str, Relation | None],
    roots: Sequence[EventRow],
) -> _Children:
    room, unwanted, upto = onlooker.room.row.number, onlooker.unwanted, onlooker.upto
    editable = [row for row in rows if row.sender not in unwanted and is_editable(row, relations[row.event_id])]
    few = 1 if onlooker.sees_everything else MAX_LOOKED_AT
    return _Children(
        store.relations.list_edits(room, [(row.event_id, row.sender, row.type) for row in editable], upto, few),
        store.relations.list_children(room, [row.event_id for row in rows], REFERENCE, unwanted, upto, MAX_REFERENCES),
        store.relations.list_children(room, [row.event_id for row in roots], THREAD, unwanted, upto, few),
    )


def _summarise(
    store: Store,
    onlooker: Onlooker,
    roots: Sequence[EventRow],
    replies: Mapping[str, Sequence[tuple[int, str]]],
    visible: Mapping[int, Seen],
) -> dict[str, ThreadSummary]:
    """By root, of the threads of which the viewer may see any reply."""
    shown = {root: [visible[one] for one, _ in numbers if one in visible] for root, numbers in replies.items()}
    shown = {root: seen for root, seen in shown.items() if seen}
    if not shown:
        return {}
    room = onlooker.room.row.number
    counts = {root: len(seen) for root, seen in shown.items()}
    if onlooker.sees_everything:
        counts = store.relations.count_children(room, shown, THREAD, onlooker.unwanted, onlooker.upto)
    own = store.relations.list_parents_of(room, shown, THREAD, onlooker.user_id)
    own |= {row.event_id for row in roots if row.sender == onlooker.user_id}
    return {root: ThreadSummary(seen[0], counts[root], root in own) for root, seen in shown.items()}


def is_editable(row: EventRow, relation: Relation | None) -> bool:
    """Whether edits of the event are told with it. "If the original event is redacted, any m.replace relationship
    should not be bundled with it", and "the original event must not, itself, have a rel_type of m.replace"."""
    return row.redacted_by is None and (relation is None or relation.rel_type != REPLACE)


def _relation(row: EventRow) -> Relation | None:
    return relation_of(parse_members(row.client)["content"])
