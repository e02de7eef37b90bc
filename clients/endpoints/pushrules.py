"""The rules by which a user is notified. There is one scope, `global`.

https://spec.matrix.org/v1.19/client-server-api/#push-rules-api
"""

from clients.authentication import Door, Result
from homeserver.domain.errors import BadRequest
from homeserver.http.request import Request
from homeserver.http.routing import Route
from homeserver.services.accounts.requester import Requester
from homeserver.services.push.rules import PushRules as Rules

ALL = "/_matrix/client/v3/pushrules/"
SCOPE = f"{ALL}global/"
RULE = f"{SCOPE}{{kind}}/{{rule_id}}"
# Above what a rule may have, whatever way its JSON is written.
BODY_LIMIT = 64 * 1024


class PushRules:
    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    def routes(self, door: Door) -> list[Route]:
        return [
            door.user("GET", ALL, self.get_all),
            door.user("GET", SCOPE, self.get_scope),
            door.user("GET", RULE, self.get),
            door.user("PUT", RULE, self.put, limit="push_rules", body_limit=BODY_LIMIT),
            door.user("DELETE", RULE, self.delete, limit="push_rules"),
            door.user("GET", f"{RULE}/enabled", self.get_enabled),
            door.user("PUT", f"{RULE}/enabled", self.set_enabled, limit="push_rules", body_limit=BODY_LIMIT),
            door.user("GET", f"{RULE}/actions", self.get_actions),
            door.user("PUT", f"{RULE}/actions", self.set_actions, limit="push_rules", body_limit=BODY_LIMIT),
        ]

    async def get_all(self, request: Request, requester: Requester) -> Result:
        return await self._rules.get_all(requester.user_id)

    async def get_scope(self, request: Request, requester: Requester) -> Result:
        rules: Result = (await self._rules.get_all(requester.user_id))["global"]
        return rules

    async def get(self, request: Request, requester: Requester) -> Result:
        return await self._rules.get(requester.user_id, *_rule(request))

    async def put(self, request: Request, requester: Requester) -> Result:
        kind, rule_id = _rule(request)
        body = await request.json_object()
        await self._rules.put(
            requester.user_id,
            kind,
            rule_id,
            actions=body.get("actions"),
            conditions=body.get("conditions"),
            pattern=body.get("pattern"),
            before=request.text("before"),
            after=request.text("after"),
        )
        return {}

    async def delete(self, request: Request, requester: Requester) -> Result:
        await self._rules.delete(requester.user_id, *_rule(request))
        return {}

    async def get_enabled(self, request: Request, requester: Requester) -> Result:
        rule = await self._rules.get(requester.user_id, *_rule(request))
        return {"enabled": rule["enabled"]}

    async def set_enabled(self, request: Request, requester: Requester) -> Result:
        body = await request.json_object()
        if "enabled" not in body:
            raise BadRequest("enabled is missing", "M_MISSING_PARAM")
        await self._rules.set_enabled(requester.user_id, *_rule(request), body["enabled"])
        return {}

    async def get_actions(self, request: Request, requester: Requester) -> Result:
        rule = await self._rules.get(requester.user_id, *_rule(request))
        return {"actions": rule["actions"]}

    async def set_actions(self, request: Request, requester: Requester) -> Result:
        body = await request.json_object()
        await self._rules.set_actions(requester.user_id, *_rule(request), body.get("actions"))
        return {}


def _rule(request: Request) -> tuple[str, str]:
    return request.parameters["kind"], request.parameters["rule_id"]
