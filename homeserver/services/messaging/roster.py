"""Whose presence we know, in memory: how it is, and what was told of it, in which rooms and at which position.

A register: the latest of each user counts. Bounded: users of other servers, and those who are offline, are forgotten
when there are many; the others are here because devices of theirs are. The table `presence` holds the same people, so
that a restart changes nothing. What a client is told of it is made of it by `services.sync.sections.presence`.
"""

from collections import OrderedDict
from collections.abc import Collection, Iterable, Set
from dataclasses import dataclass

from homeserver.domain.presence import NOBODY, OFFLINE, Devices, Hearsay, PresenceState
from homeserver.streams.publications import PresenceItem

# Those who are offline, and users of other servers who are not.
MAX_GONE = 10_000
MAX_REMOTE = 10_000
# So many changes are looked through one by one; beyond them, everybody in the rooms in question.
MAX_WALK = 1_000


@dataclass(slots=True, eq=False)
class Person:
    """`source` says how it is now; the rest is what was told. `position` 0: nothing yet."""

    user_id: str
    source: Devices | Hearsay
    told: PresenceState = NOBODY
    position: int = 0
    rooms: tuple[int, ...] = ()
    # When to look again whether it is another one by itself, and when other servers were told: ms, 0: never.
    due: int = 0
    sent: int = 0


class Roster:
    """Lives on the loop."""

    def __init__(self, max_gone: int = MAX_GONE, max_remote: int = MAX_REMOTE) -> None:
        self._max_gone = max_gone
        self._max_remote = max_remote
        self._people: dict[str, Person] = {}
        # By position, the newest last.
        self._told: OrderedDict[str, Person] = OrderedDict()
        self._in_room: dict[int, set[Person]] = {}
        # Offline since, and heard since.
        self._gone: OrderedDict[str, Person] = OrderedDict()
        self._remote: OrderedDict[str, Person] = OrderedDict()
        self._forgotten: list[str] = []

    def __len__(self) -> int:
        return len(self._people)

    def find(self, user_id: str) -> Person | None:
        return self._people.get(user_id)

    def add(self, user_id: str, source: Devices | Hearsay) -> Person:
        """Somebody who is not here yet."""
        person = self._people[user_id] = Person(user_id, source)
        return person

    def keep(self, person: Person) -> None:
        """There is news of somebody who may be among those to be forgotten first."""
        self._gone.pop(person.user_id, None)

    def hear(self, person: Person, source: Hearsay) -> Person | None:
        """Another server told something of its user. Returns whom nobody told of for longest, if there are too many."""
        person.source = source
        self.keep(person)
        self._remote[person.user_id] = person
        self._remote.move_to_end(person.user_id)
        if len(self._remote) <= self._max_remote:
            return None
        return self._remote.popitem(last=False)[1]

    def tell(self, item: PresenceItem, position: int) -> None:
        """It is published."""
        person = self._people.get(item.user_id)
        if person is None:
            return
        person.told = PresenceState(item.presence, item.currently_active, item.status_msg)
        person.position = position
        self.place(person, item.rooms)
        self._told[item.user_id] = person
        self._told.move_to_end(item.user_id)
        if item.presence == OFFLINE:
            self.retire(person)
        else:
            self.keep(person)

    def place(self, person: Person, rooms: tuple[int, ...]) -> None:
        """In which rooms the person is told of from now on."""
        before, after = set(person.rooms), set(rooms)
        for room in before - after:
            there = self._in_room[room]
            there.discard(person)
            if not there:
                del self._in_room[room]
        for room in after - before:
            self._in_room.setdefault(room, set()).add(person)
        person.rooms = rooms

    def retire(self, person: Person) -> None:
        """The person is offline: one of those who are forgotten first, at once if nothing was ever told."""
        self._remote.pop(person.user_id, None)
        if person.position == 0:
            self.forget(person)
            return
        self._gone[person.user_id] = person
        self._gone.move_to_end(person.user_id)
        if len(self._gone) > self._max_gone:
            self.forget(next(iter(self._gone.values())))

    def forget(self, person: Person) -> None:
        self.place(person, ())
        for people in (self._people, self._told, self._gone, self._remote):
            people.pop(person.user_id, None)
        if person.position:
            self._forgotten.append(person.user_id)

    def take_forgotten(self) -> list[str]:
        """Those who were forgotten since this was asked last."""
        forgotten, self._forgotten = self._forgotten, []
        return [user_id for user_id in forgotten if user_id not in self._people]

    def is_known(self, room: int) -> bool:
        """Whether anybody is told of in the room."""
        return room in self._in_room

    def count_in(self, rooms: Iterable[int]) -> int:
        """How many are told of in `rooms`, those in several of them counted for each."""
        return sum(len(self._in_room.get(room, ())) for room in rooms)

    def list_changed(self, rooms: Set[int], after: int, upto: int) -> list[Person]:
        """Who was told of in any of `rooms` with after < position <= upto, by position."""
        found: list[Person] = []
        for count, person in enumerate(reversed(self._told.values())):
            if person.position <= after:
                break
            if count >= MAX_WALK:
                return [person for person in self.list_in(rooms, upto) if person.position > after]
            if person.position <= upto and not rooms.isdisjoint(person.rooms):
                found.append(person)
        return _ordered(found)

    def list_in(self, rooms: Collection[int], upto: int) -> list[Person]:
        """Who is told of in any of `rooms`, by the position at which they were told last, which is at most `upto`."""
        found: set[Person] = set()
        for room in rooms:
            found |= self._in_room.get(room, set())
        return _ordered(person for person in found if 0 < person.position <= upto)


def _ordered(people: Iterable[Person]) -> list[Person]:
    return sorted(people, key=lambda person: (person.position, person.user_id))
