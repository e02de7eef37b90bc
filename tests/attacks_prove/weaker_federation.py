"""What a server without its defences would take from others: what they send, and what they answer."""

from collections.abc import Mapping, Sequence
from typing import Any


async def all_or_none(
    checks: Any,
    version: Any,
    pdus: Sequence[object],
    *,
    room_id: str | None = None,
    patience: float = 10.0,
    unsigned_by: str | None = None,
) -> list[Any]:
    """For `PduChecks.check`: one bad event spoils all."""
    from federation.inbound.pdus import Refused, _verdict, _without, read_pdu  # not before the switch is turned
    from homeserver.domain.errors import BadRequest

    read: list[Any] = [read_pdu(version, pdu, room_id) for pdu in pdus]
    if any(isinstance(one, Refused) for one in read):
        raise BadRequest("An event of the transaction is none")
    if unsigned_by is not None:
        read = [_without(one, unsigned_by) for one in read]
    whys = await checks._keys.verify([one.signed for one in read], patience=patience)
    return [_verdict(one, why) for one, why in zip(read, whys, strict=True)]


def any_template(answer: Any, room_id: str, user_id: str, membership: str) -> Any:
    """For `read_template`."""
    from federation.joining.template import Template  # not before the switch is turned
    from homeserver.domain.versions import ROOM_VERSIONS

    event = answer["event"]
    version = ROOM_VERSIONS[answer["room_version"]]
    return Template(version, event["prev_events"], event["auth_events"], event["depth"], None)


def any_state(version: object, room_id: str, state: Sequence[Any]) -> list[str]:
    """For `check_state`."""
    return [event.event_id for event in state]


async def whatever_comes_back(outgoing: Any, version: Any, join: Any, answer: Any) -> Any:
    """For `OutgoingMembership._cosigned`."""
    (checked,) = await outgoing._checks.check(version, [answer["event"]])
    return checked.event


def all_that_is_told(gap: object, events: Mapping[str, Any]) -> dict[str, Any]:
    """For `leading_to`."""
    return dict(events)


def known_room(store: Any, user_id: str, room_id: str) -> Any:
    """For `joined_room`."""
    return store.rooms.get(room_id)


def one_after_the_other(events: Mapping[str, Any]) -> list[Any]:
    """For `oldest_first`."""
    found: dict[str, Any] = {}

    def visit(event_id: str) -> None:
        for one in events[event_id].prev_events:
            if one in events and one not in found:
                visit(one)
        found[event_id] = events[event_id]

    for event_id in events:
        visit(event_id)
    return list(found.values())
