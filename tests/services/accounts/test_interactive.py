"""Stages, sessions and what they are bound to."""

from collections.abc import Mapping
from typing import Any

import pytest
from sqlalchemy import text

from homeserver.domain.errors import BadRequest, Forbidden, Unauthenticated
from homeserver.services.accounts.interactive import (
    TOKEN_DETAIL,
    Authorized,
    Challenge,
    InteractiveAuthentication,
    Operation,
    settle,
)
from tests.builders.accounts import People

FLOWS = (("a", "b"), ("c",))


async def good(auth: Mapping[str, Any]) -> Mapping[str, str]:
    return {f"of {auth['type']}": "x"}


async def bad(auth: Mapping[str, Any]) -> Mapping[str, str]:
    raise Forbidden("wrong")


async def token(auth: Mapping[str, Any]) -> Mapping[str, str]:
    return {TOKEN_DETAIL: "guests"}


def operation(name: str = "delete", digest: bytes = b"1", **stages: Any) -> Operation:
    return Operation(name, digest, FLOWS, {"a": good, "b": good, "c": good, **stages})


def challenge(outcome: Authorized | Challenge) -> Challenge:
    assert isinstance(outcome, Challenge)
    return outcome


async def test_a_flow_of_one_stage_needs_one_request(people: People) -> None:
    """The stage of a short flow is enough, without a session, and leaves no row."""
    outcome = await people.interactive.attempt(operation(), {"type": "c"})
    assert outcome == Authorized(None, {"of c": "x"})
    assert rows(people) == 0


async def test_asking_leaves_nothing_behind(people: People) -> None:
    """Strangers who only ask for the flows fill no table; the session that they are given begins with a stage."""
    asked = challenge(await people.interactive.attempt(operation(), None))
    assert (asked.completed, rows(people)) == ((), 0)
    assert isinstance(
        await people.interactive.attempt(operation(), {"type": "c", "session": asked.session_id}), Authorized
    )


async def test_the_stages_of_a_flow_are_completed_in_order(people: People) -> None:
    """First a, then b; what is tried out of order is refused and leaves everything as it was."""
    refused = challenge(await people.interactive.attempt(operation(), {"type": "b"}))
    assert refused.refusal is not None
    first = challenge(await people.interactive.attempt(operation(), {"type": "a"}))
    assert first.completed == ("a",)
    again = challenge(await people.interactive.attempt(operation(), {"type": "a", "session": first.session_id}))
    assert (again.completed, again.refusal) == (("a",), None)
    wrong = challenge(await people.interactive.attempt(operation(), {"type": "c", "session": first.session_id}))
    assert wrong.completed == ("a",)
    assert isinstance(wrong.refusal, Unauthenticated)
    shown = challenge(await people.interactive.attempt(operation(), {"session": first.session_id}))
    assert shown.completed == ("a",)
    outcome = await people.interactive.attempt(operation(), {"type": "b", "session": first.session_id})
    assert outcome == Authorized(first.session_id, {"of a": "x", "of b": "x"})


async def test_a_stage_that_failed_may_be_tried_again(people: People) -> None:
    """The refusal is told with what is completed already."""
    first = challenge(await people.interactive.attempt(operation(), {"type": "a"}))
    auth = {"type": "b", "session": first.session_id}
    failed = challenge(await people.interactive.attempt(operation(b=bad), auth))
    assert failed.completed == ("a",)
    assert isinstance(failed.refusal, Forbidden)
    assert isinstance(await people.interactive.attempt(operation(), auth), Authorized)


async def test_a_session_is_for_one_operation_and_body(people: People) -> None:
    """What was begun for one request never authorises another one, or another user's."""
    first = challenge(await people.interactive.attempt(operation(), {"type": "a"}))
    auth = {"type": "b", "session": first.session_id}
    for other in (operation(name="deactivate"), operation(digest=b"2")):
        with pytest.raises(Forbidden):
            await people.interactive.attempt(other, auth)


async def test_a_session_is_used_once(people: People) -> None:
    """The use case that it authorised removes it; the same session does not authorise a second time."""
    first = challenge(await people.interactive.attempt(operation(), {"type": "a"}))
    outcome = await people.interactive.attempt(operation(), {"type": "b", "session": first.session_id})
    assert isinstance(outcome, Authorized)
    await people.built.database.write(lambda store: settle(store, outcome, 0))
    assert rows(people) == 0
    with pytest.raises(Forbidden):
        await people.built.database.write(lambda store: settle(store, outcome, 0))


async def test_sessions_survive_a_restart(people: People) -> None:
    """What was completed is known to whoever serves the next request."""
    first = challenge(await people.interactive.attempt(operation(), {"type": "a"}))
    restarted = InteractiveAuthentication(people.built.database, people.clock, people.randomness)
    outcome = await restarted.attempt(operation(), {"type": "b", "session": first.session_id})
    assert isinstance(outcome, Authorized)


async def test_a_session_expires(people: People) -> None:
    """After its time the stages begin again, in a new session; the old row goes with the next one."""
    first = challenge(await people.interactive.attempt(operation(), {"type": "a"}))
    people.clock.ms += 60 * 60 * 1000 + 1
    later = challenge(await people.interactive.attempt(operation(), {"type": "a", "session": first.session_id}))
    assert later.session_id != first.session_id
    assert rows(people) == 1


async def test_the_number_of_sessions_is_bounded(people: People) -> None:
    """The oldest goes when there are too many."""
    few = InteractiveAuthentication(people.built.database, people.clock, people.randomness, max_sessions=2)
    begun = []
    for _ in range(3):
        people.clock.ms += 1
        begun.append(challenge(await few.attempt(operation(), {"type": "a"})))
    assert rows(people) == 2
    gone = challenge(await few.attempt(operation(), {"session": begun[0].session_id}))
    kept = challenge(await few.attempt(operation(), {"session": begun[2].session_id}))
    assert (gone.completed, kept.completed) == ((), ("a",))


async def test_a_registration_under_way_reserves_its_token(people: People) -> None:
    """A reserved use is nobody else's; it is completed with the account, and given back by a session that expires."""
    await people.built.database.write(lambda store: store.registration_tokens.add("guests", 1, None))

    def uses() -> tuple[int, int]:
        with people.built.engine.connect() as connection:
            row = connection.execute(text("SELECT pending, completed FROM registration_tokens")).one()
        return row.pending, row.completed

    first = challenge(await people.interactive.attempt(operation(a=token), {"type": "a"}))
    assert uses() == (1, 0)
    second = challenge(await people.interactive.attempt(operation(a=token), {"type": "a"}))
    assert (second.completed, second.refusal is not None) == ((), True)
    people.clock.ms += 60 * 60 * 1000 + 1
    await people.interactive.attempt(operation(), {"type": "a", "session": first.session_id})
    assert uses() == (0, 0)
    third = challenge(await people.interactive.attempt(operation(a=token), {"type": "a"}))
    outcome = await people.interactive.attempt(operation(), {"type": "b", "session": third.session_id})
    assert isinstance(outcome, Authorized)
    await people.built.database.write(lambda store: settle(store, outcome, people.clock.now_ms()))
    assert uses() == (0, 1)


@pytest.mark.parametrize("auth", [{"type": 1}, {"type": "a", "session": 1}, {"type": ["a"]}])
async def test_an_auth_that_is_none(people: People, auth: dict[str, Any]) -> None:
    """Wrong types are the client's fault."""
    with pytest.raises(BadRequest):
        await people.interactive.attempt(operation(), auth)


async def test_a_session_id_that_we_never_gave_out(people: People) -> None:
    """Whatever stands there, it is a session that begins."""
    for made_up in ("", "x" * 5000, "a\0b", "é" * 24):
        asked = challenge(await people.interactive.attempt(operation(), {"session": made_up}))
        assert asked.completed == ()


def rows(people: People) -> int:
    with people.built.engine.connect() as connection:
        count: int = connection.execute(text("SELECT count(*) FROM interactive_sessions")).scalar_one()
    return count
