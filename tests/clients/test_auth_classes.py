"""Every endpoint asks for a token where the spec says so, and nowhere else."""

import re

from tests.clients.conftest import Served
from tests.conformance.facts import spec_facts
from tests.fuzz.routes import declared_routes

# The spec's data want the signature of a server here, where the prose lets everybody ask for open rooms.
OPTIONAL = ("/_matrix/client/v1/room_summary/{roomIdOrAlias}",)
# For whoever knows the password as well as for whoever has a token: its own answer is a 401 too.
INTERACTIVE = ("/_matrix/client/v3/account/password", "/_matrix/client/v3/account/deactivate")


async def test_tokens_are_asked_for_where_the_spec_says_so(served: Served) -> None:
    """Whoever has none is told M_MISSING_TOKEN by the endpoints that need one, and never by the others."""
    stranger = await served.stranger()
    ours = {(route.method, re.sub(r"\{.+?\}", "{}", route.path)) for route in declared_routes()}
    wrong: list[str] = []
    for endpoint in spec_facts().endpoints():
        if endpoint.api != "client-server" or (endpoint.method, re.sub(r"\{.+?\}", "{}", endpoint.path)) not in ours:
            continue
        answer = await stranger.ask(endpoint.method, re.sub(r"\{.+?\}", "x", endpoint.path))
        told = answer.status == 401 and answer.body.get("errcode") == "M_MISSING_TOKEN"
        expected = endpoint.auth == "access_token" and endpoint.path not in (*OPTIONAL, *INTERACTIVE)
        if told != expected:
            wrong.append(f"{endpoint.method} {endpoint.path}: {answer.status}, the spec says {endpoint.auth}")
    assert not wrong
