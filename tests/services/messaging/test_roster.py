"""What is kept in memory of who is online: found by position and by room, and bounded."""

from homeserver.domain.presence import NOBODY, OFFLINE, ONLINE, Devices, Hearsay, PresenceState
from homeserver.services.messaging import roster as module
from homeserver.services.messaging.roster import Person, Roster
from homeserver.streams.publications import PresenceItem

FAR = 2**62


def told(roster: Roster, name: str, position: int, rooms: tuple[int, ...], presence: str = ONLINE) -> Person:
    user_id = f"@{name}:here"
    person = roster.find(user_id) or roster.add(user_id, Devices())
    roster.tell(PresenceItem(user_id, presence, presence == ONLINE, None, rooms), position)
    return person


def names(people: list[Person]) -> list[str]:
    return [person.user_id[1:].partition(":")[0] for person in people]


def test_people_are_found_by_what_was_told_last() -> None:
    """In the rooms where it was told, and since then."""
    roster = Roster()
    told(roster, "a", 1, (1, 2))
    told(roster, "b", 2, (2,))
    told(roster, "c", 3, (3,))
    told(roster, "a", 4, (1,))
    assert names(roster.list_in([2, 3], FAR)) == ["b", "c"]
    assert names(roster.list_in([1, 2], 3)) == ["b"]
    assert names(roster.list_changed({1, 2, 3}, 0, FAR)) == ["b", "c", "a"]
    assert names(roster.list_changed({1, 2, 3}, 2, FAR)) == ["c", "a"]
    assert names(roster.list_changed({1}, 0, 3)) == []
    assert roster.is_known(2) and not roster.is_known(4)


def test_a_long_absence_is_answered_by_the_rooms() -> None:
    """More changes than one walks through: the same people are found, in the same order."""
    roster = Roster()
    for number in range(module.MAX_WALK + 50):
        told(roster, f"x{number}", number + 1, (number % 7,))
    many = roster.list_changed({1, 3}, 5, FAR)
    assert many == [one for one in roster.list_in({1, 3}, FAR) if one.position > 5]
    assert len(many) > 250


def test_those_who_are_offline_are_forgotten_when_there_are_many() -> None:
    """The first ones first; and it is told who they were, so that the table forgets them too."""
    roster = Roster(max_gone=2)
    for position, name in enumerate("abc", 1):
        told(roster, name, position, (1,))
    for position, name in enumerate("bac", 4):
        told(roster, name, position, (1,), OFFLINE)
    assert len(roster) == 2
    assert roster.find("@b:here") is None
    assert names(roster.list_in([1], FAR)) == ["a", "c"]
    assert roster.take_forgotten() == ["@b:here"]
    assert roster.take_forgotten() == []


def test_whoever_comes_back_is_not_forgotten() -> None:
    """Neither while news of them waits to be told, nor after it."""
    roster = Roster(max_gone=1)
    back = told(roster, "a", 1, (1,), OFFLINE)
    roster.keep(back)
    for position, name in enumerate("bcd", 2):
        told(roster, name, position, (1,), OFFLINE)
    assert names(roster.list_in([1], FAR)) == ["a", "d"]


def test_whoever_was_never_told_of_leaves_no_trace() -> None:
    roster = Roster()
    roster.retire(roster.add("@a:here", Devices()))
    assert (len(roster), roster.take_forgotten()) == (0, [])


def test_of_other_servers_only_so_many_are_kept() -> None:
    """Who was not heard of for longest is to go."""
    roster = Roster(max_remote=2)
    heard = Hearsay(PresenceState(ONLINE), 0, 1)
    people = [roster.add(f"@{name}:there", heard) for name in "abc"]
    displaced = [roster.hear(person, heard) for person in (*people[:2], people[0], people[2])]
    assert displaced == [None, None, None, people[1]]


def test_a_publication_about_a_stranger_says_nothing() -> None:
    roster = Roster()
    roster.tell(PresenceItem("@a:here", ONLINE, True, None, (1,)), 1)
    assert len(roster) == 0
    assert NOBODY.presence == OFFLINE
