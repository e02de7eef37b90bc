"""The words of user-interactive authentication: the `auth` of a body, and the 401 that asks for the next stage.

What is authorised and remembered stands in `homeserver.services.accounts.interactive`.
https://spec.matrix.org/v1.19/client-server-api/#user-interactive-api-in-the-rest-api
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from homeserver.domain.canonical import canonical_json
from homeserver.domain.errors import BadRequest
from homeserver.http.answers import Answer, json_answer
from homeserver.services.accounts.interactive import (
    Authorized,
    Challenge,
    InteractiveAuthentication,
    Operation,
    Stage,
)


class Interactive:
    def __init__(self, authentication: InteractiveAuthentication) -> None:
        self._authentication = authentication

    async def authorize(
        self, name: str, body: Mapping[str, Any], flows: Sequence[Sequence[str]], stages: Mapping[str, Stage]
    ) -> Authorized | Answer:
        """`Authorized`, or what must be answered instead of doing the operation.

        `name` is the endpoint and who asks; `stages` holds each stage of `flows`. Raises BadRequest, Forbidden.
        """
        auth = body.get("auth")
        if auth is not None and not isinstance(auth, dict):
            raise BadRequest("auth must be an object", "M_BAD_JSON")
        bare = {key: value for key, value in body.items() if key != "auth"}
        digest = hashlib.sha256(canonical_json(bare)).digest()
        outcome = await self._authentication.attempt(Operation(name, digest, flows, stages), auth)
        return outcome if isinstance(outcome, Authorized) else _asking(outcome, flows)


def _asking(challenge: Challenge, flows: Sequence[Sequence[str]]) -> Answer:
    content: dict[str, Any] = {
        "flows": [{"stages": list(flow)} for flow in flows],
        "params": {},
        "session": challenge.session_id,
    }
    if challenge.completed:
        content["completed"] = list(challenge.completed)
    if challenge.refusal is not None:
        content |= {"errcode": challenge.refusal.errcode, "error": challenge.refusal.message}
    return json_answer(content, 401)
