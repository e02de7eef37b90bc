"""What a device asked for before is remembered, and never taken for something else.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3sync
"""

import asyncio
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from clients.endpoints.sync import Sync
from homeserver.domain.errors import BadRequest
from homeserver.http.body import WholeBody
from homeserver.http.request import Request
from homeserver.services.accounts.requester import Requester
from homeserver.services.sync.request import SyncRequest

ALICE = Requester("@alice:test.example", "D0", b"", False, False, False, None)
BOB = Requester("@bob:test.example", "D0", b"", False, False, False, None)
PATH = "/_matrix/client/v3/sync"

PAIRS = st.sampled_from(
    [
        "since=a.1.0",
        "since=b.22.0",
        "since=a.1",
        "since=",
        "since=a%2E3.0",
        "%73ince=c.5.0",
        "s%69nce=c.6.0",
        "xsince=d.7.0",
        "timeout=0",
        "timeout=300",
        "timeout=-1",
        "t%69meout=7",
        "full_state=true",
        "full_state=maybe",
        "use_state_after=true",
        "set_presence=offline",
        "filter=%7B%7D",
        "filter=%7B%22presence%22%3A%7B%22types%22%3A%5B%5D%7D%7D",
        "nothing",
        "",
    ]
)
QUERIES = st.lists(PAIRS, max_size=5).map("&".join)


class NoConnection:
    def authenticated(self) -> None: ...


def endpoint() -> Sync:
    # Neither the sync nor uploaded filters are asked.
    nobody: Any = None
    return Sync(nobody, nobody)


async def wanted(sync: Sync, query: str, requester: Requester) -> SyncRequest | str:
    """What is read of a query, or the error."""
    request = Request("GET", f"{PATH}?{query}", {}, WholeBody(b""), NoConnection(), "::1", "r")
    try:
        return await sync.read(request, requester)
    except BadRequest as error:
        return error.message


@given(st.lists(st.tuples(QUERIES, st.sampled_from([ALICE, BOB])), min_size=2, max_size=12))
def test_a_habit_is_never_taken_for_another_wish(asked: list[tuple[str, Requester]]) -> None:
    """Whatever was asked before, by whomever: a query means what it means to who has asked nothing."""

    async def ask() -> None:
        sync = endpoint()
        for query, requester in [*asked, *asked, *asked]:
            assert await wanted(sync, query, requester) == await wanted(endpoint(), query, requester)

    asyncio.run(ask())


async def test_the_same_from_another_token() -> None:
    """What is not the token is read twice, and then no more."""
    sync = endpoint()
    await wanted(sync, "since=a.0.0&timeout=30000&filter=%7B%7D", ALICE)
    first = cast(SyncRequest, await wanted(sync, "since=a.1.0&timeout=30000&filter=%7B%7D", ALICE))
    then = cast(SyncRequest, await wanted(sync, "since=a.2.0&timeout=30000&filter=%7B%7D", ALICE))
    assert then.filter is first.filter
    assert (str(first.since), str(then.since), then.timeout) == ("a.1.0", "a.2.0", 30.0)
