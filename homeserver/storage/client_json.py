"""Long lists of events in client form, put together by the database.

A thousand members are one string here and one row of an answer, not a thousand Python objects. Only for events without
what depends on the viewer; what the database cannot write is left to the caller, who is told of it.
"""

from collections.abc import Iterable

from homeserver.storage.transaction import Statement, Transaction

# What the database cannot write: what redacted an event, and the former content if it holds U+0000, which no text of
# PostgreSQL can hold.
_UNFIT = "e.redacted_by IS NOT NULL OR position('\\u0000' in b.client) > 0"
# The room id as JSON, and the age. Joined by ||: concat() looks up how to write each of its arguments.
_EVENT = (
    "'{' || e.client || ',\"event_id\":' || to_json(e.event_id)::text || ',\"room_id\":' || %s"
    ' || \',"unsigned":{"age":\' || %s'
    " || CASE WHEN b.number IS NULL OR position('\\u0000' in b.client) > 0 THEN ''"
    " ELSE ',\"prev_content\":' || (('{' || b.client || '}')::json -> 'content')::text"
    " || ',\"replaces_state\":' || to_json(b.event_id)::text END || '}}'"
)
_ALL = f"coalesce(string_agg({_EVENT}, ','%s), ''), count(*) FILTER (WHERE {_UNFIT})"
# In the place of an age, the time since when it counts: no JSON text has this character as it is.
_MARK = "\x01"
_TIME = "chr(1) || e.origin_server_ts || chr(1)"
_JOINS = "JOIN events e ON e.number = m.event LEFT JOIN events b ON b.number = e.replaces"

_WITH_TIMES = _ALL % ("$1", _TIME, "")
_WITH_AGES = _ALL % ("$2", "greatest(0, $1 - e.origin_server_ts)", " ORDER BY e.anchor, e.number")

# The memberships are put in order, and not the events, which are a hundred times as long.
MEMBERS = Statement(
    "members_as_json",
    "text, bigint, text[]",
    f"SELECT {_WITH_TIMES} FROM (SELECT i.event FROM memberships i WHERE i.room = $2 AND i.membership = ANY($3)"
    f" ORDER BY i.position, i.user_id) m {_JOINS}",
)
# $1: now in ms.
EVENTS = Statement(
    "events_as_json",
    "bigint, text, bigint[]",
    f"SELECT {_WITH_AGES} FROM events e LEFT JOIN events b ON b.number = e.replaces WHERE e.number = ANY($3)",
)


class ClientJson:
    """Each answer is the events joined by commas, and how many of them it got wrong: if any, it is not to be used."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def members(self, room: int, memberships: Iterable[str], room_id: str) -> tuple[list[str], list[int], int]:
        """The member events of the current state, as a rule in the order of joining: the words between their ages, the
        times (ms) since when those count, and how many are wrong. `room_id` as JSON."""
        events, wrong = self._transaction.fetch(MEMBERS, room_id, room, list(memberships))[0]
        parts = events.split(_MARK)
        return parts[::2], list(map(int, parts[1::2])), wrong

    def events(self, numbers: Iterable[int], now_ms: int, room_id: str) -> tuple[str, int]:
        """Events by number. `room_id` as JSON."""
        events, wrong = self._transaction.fetch(EVENTS, now_ms, room_id, list(numbers))[0]
        return events, wrong
