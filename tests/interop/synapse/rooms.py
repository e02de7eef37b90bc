"""What the stories do again and again: a room with people of both servers, and the question whether both agree."""

from typing import Any

from tests.builders.waiting import until
from tests.conformance.client import v3
from tests.interop.synapse.people import PATIENCE, Meeting, Person


async def open_room(meeting: Meeting, host: Person, *guests: Person, **options: Any) -> str:
    """A public room of the host with the guests in it, who joined by its id."""
    room = await host.client.create_room(**{"preset": "public_chat", "room_version": meeting.version, **options})
    for guest in guests:
        await guest.client.join(room, via=[host.server])
        await host.finds(room, "m.room.member", guest.user_id, {"membership": "join"})
    return room


async def invited_room(meeting: Meeting, host: Person, guest: Person, **options: Any) -> str:
    """A private room of the host with the guest in it, who was invited."""
    options = {"preset": "private_chat", "room_version": meeting.version, "invite": [guest.user_id], **options}
    room = await host.client.create_room(**options)
    await guest.is_invited(room)
    await guest.client.join(room)
    await host.finds(room, "m.room.member", guest.user_id, {"membership": "join"})
    return room


async def set_power(person: Person, room: str, user_id: str, level: int | None) -> str:
    """Returns the event id. None takes the entry away."""
    content = dict(await person.client.state(room, "m.room.power_levels"))
    users = {name: value for name, value in content.get("users", {}).items() if name != user_id}
    content["users"] = users if level is None else {**users, user_id: level}
    return await person.client.set_state(room, "m.room.power_levels", content)


async def act(person: Person, room: str, action: str, expect: int = 200, **body: Any) -> Any:
    """POST /rooms/{room}/{action}"""
    return await person.client.call("POST", v3("rooms", room, action), body, expect=expect)


async def agree(room: str, *people: Person) -> None:
    """Waits until the servers of all these people, who are joined, have the same state of the room."""
    told: list[dict[tuple[str, str], str]] = []

    async def same() -> bool:
        told[:] = [await person.state_ids(room) for person in people]
        return bool(told[0]) and all(one == told[0] for one in told)

    try:
        await until(same, PATIENCE)
    except AssertionError as error:
        differ = {key for one in told for key, event_id in one.items() if any(o.get(key) != event_id for o in told)}
        lines = [f"{key}: {[one.get(key) for one in told]}" for key in sorted(differ)]
        raise AssertionError("\n".join(["the states differ", *lines])) from error


async def read_the_same(room: str, *people: Person, but: frozenset[str] = frozenset()) -> list[str]:
    """Waits until all page back to the same events, whatever their order; `but`: event ids that do not count.

    Returns the texts of the messages as the first of them reads them, oldest first.
    """
    histories: list[dict[str, Any]] = []

    async def same() -> bool:
        histories[:] = [await person.page_back(room) for person in people]
        return all(one.keys() - but == histories[0].keys() - but for one in histories)

    try:
        await until(same, PATIENCE)
    except AssertionError as error:
        everything = {event_id: event for history in histories for event_id, event in history.items()}
        lines = [f"{len(history)} events" for history in histories]
        for event_id, event in everything.items():
            who = [person.user_id for person, one in zip(people, histories, strict=True) if event_id not in one]
            if who and event_id not in but:
                lines.append(f"{event_id} {event['type']} {event['content']} is missing for {who}")
        raise AssertionError("\n".join(["the histories differ", *lines])) from error
    return [event["content"]["body"] for event in histories[0].values() if "body" in event["content"]]
