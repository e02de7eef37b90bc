"""Who of those that a user shares rooms with is online: m.presence events.

A register in memory (`services.messaging.roster`): from the tables as live, the same is told. Of whom it was told in a
room that the user is in, but not of those whom the user ignores.
https://spec.matrix.org/v1.19/client-server-api/#presence
"""

from collections.abc import Collection, Iterable, Set

import orjson

from homeserver.domain.presence import OFFLINE, content_of
from homeserver.ports import Clock
from homeserver.services.messaging.roster import Person, Roster
from homeserver.services.sync.request import SyncRequest

# In an answer that tells of everybody: those who changed last.
MAX_PEOPLE = 1_000


class PresenceSection:
    """Lives on the loop. `joined` are the numbers of the viewer's rooms as of `upto`."""

    def __init__(self, roster: Roster, clock: Clock) -> None:
        self._roster = roster
        self._clock = clock

    def whole(self, request: SyncRequest, joined: Collection[int], ignored: Collection[str], upto: int) -> list[str]:
        """For a first sync: nobody needs to be told of those who are offline."""
        people = [one for one in self._roster.list_in(joined, upto) if one.told.presence != OFFLINE]
        return self._events(request, people[-MAX_PEOPLE:], ignored)

    def changed(
        self,
        request: SyncRequest,
        joined: Set[int],
        ignored: Collection[str],
        after: int,
        upto: int,
        anew: Collection[int] = (),
    ) -> list[str]:
        """Since `after`; and everybody in the rooms `anew`, of whom the client may hold what is no longer true."""
        people = self._roster.list_changed(joined, after, upto)
        if anew:
            told = set(people)
            people += [one for one in self._roster.list_in(anew, upto) if one not in told][-MAX_PEOPLE:]
        return self._events(request, people, ignored)

    def of(
        self,
        request: SyncRequest,
        user_ids: Iterable[str],
        joined: Set[int],
        ignored: Collection[str],
        after: int,
        upto: int,
    ) -> list[str]:
        """As `changed`, if it can only be these users."""
        found = (self._roster.find(user_id) for user_id in sorted(user_ids))
        people = [one for one in found if one is not None and after < one.position <= upto]
        return self._events(request, [one for one in people if not joined.isdisjoint(one.rooms)], ignored)

    def _events(self, request: SyncRequest, people: Iterable[Person], ignored: Collection[str]) -> list[str]:
        filter, now = request.filter.presence, self._clock.now_ms()
        return [
            _event(one, now)
            for one in people
            if (one.user_id not in ignored or one.user_id == request.user_id)
            and (filter.is_everything or filter.matches("m.presence", one.user_id, None, {}))
        ]


def _event(person: Person, now: int) -> str:
    content = content_of(person.told, person.source.last_active, now)
    return orjson.dumps({"type": "m.presence", "sender": person.user_id, "content": content}).decode()
