"""Rate limits of single users, set by administrators, at the path and in the words that tools know from Synapse.

`messages_per_second` and `burst_count` are about sending messages; 0 in a second stands for no limit at all, on nothing
that counts by user. What Synapse has no words for stands in `io.parley.limits`, written as in the setting
`limits.overrides`: {"joins": {"per_second": 5, "burst": 100}, "search": null}. What is not said is as for everybody.
https://element-hq.github.io/synapse/latest/admin_api/user_admin_api.html#override-ratelimiting-for-users
"""

from collections.abc import Mapping
from typing import Any

from clients.authentication import Door, Result
from clients.endpoints.login import SMALL_BODY
from clients.endpoints.parameters import json_object
from clients.limits import EVERY, LIMITS, USER_SCOPES, overridden
from homeserver.domain.errors import BadRequest, Forbidden
from homeserver.http.request import Request
from homeserver.http.routing import Route
from homeserver.services.accounts.requester import Requester
from homeserver.services.accounts.user_limits import Rate, Rates, UserLimits

PATH = "/_synapse/admin/v1/users/{user_id}/override_ratelimit"
PER_SECOND, BURST, MORE = "messages_per_second", "burst_count", "io.parley.limits"
MESSAGES = "messages"
# More than this is no limit, and anybody can say that.
MOST = 1_000_000

_ROWS = {row.name: row for row in LIMITS if row.scope in USER_SCOPES}


class UserLimitSetting:
    def __init__(self, limits: UserLimits) -> None:
        self._limits = limits

    def routes(self, door: Door) -> list[Route]:
        return [
            door.user("GET", PATH, self.get),
            door.user("POST", PATH, self.set, body_limit=SMALL_BODY),
            door.user("DELETE", PATH, self.remove),
        ]

    async def get(self, request: Request, requester: Requester) -> Result:
        _refuse_others(requester)
        return _told(await self._limits.find(request.parameters["user_id"]))

    async def set(self, request: Request, requester: Requester) -> Result:
        _refuse_others(requester)
        rates = _rates(await request.json_object())
        await self._limits.set(request.parameters["user_id"], rates)
        return _told(rates)

    async def remove(self, request: Request, requester: Requester) -> Result:
        _refuse_others(requester)
        await self._limits.set(request.parameters["user_id"], {})
        return {}


def _refuse_others(requester: Requester) -> None:
    if not requester.is_admin:
        raise Forbidden("Only administrators may see and set the limits of users")


def _rates(body: Mapping[str, Any]) -> Rates:
    """What a body sets. Raises BadRequest."""
    rates = {name: _rate(name, rate) for name, rate in json_object(body, MORE).items()}
    if MORE not in body or PER_SECOND in body or BURST in body:
        # COMPAT: each of the two may be left out, and that is 0.
        per_second, burst = _number(body, PER_SECOND), _number(body, BURST)
        if per_second:
            rates[MESSAGES] = _rate(MESSAGES, {"per_second": per_second, "burst": max(1, burst)})
        else:
            rates[EVERY] = None
    return rates


def _rate(name: str, wanted: Any) -> Rate | None:
    """Raises BadRequest."""
    if wanted is None and (name == EVERY or name in _ROWS):
        return None
    if name not in _ROWS:
        raise BadRequest(f"No row of the table of limits that counts by user: {name[:100]}")
    if not isinstance(wanted, dict):
        raise BadRequest(f"{name} must be an object or null", "M_BAD_JSON")
    for key in wanted:
        _number(wanted, key)
    try:
        return next(Rate(row.per_second, row.burst) for row in overridden((_ROWS[name],), {name: wanted}))
    except ValueError as error:
        raise BadRequest(str(error)) from error


def _number(body: Mapping[str, Any], key: str) -> float:
    value = body.get(key, 0)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadRequest(f"{key[:100]} must be a number", "M_BAD_JSON")
    if not 0 <= value <= MOST:
        raise BadRequest(f"{key[:100]} must be from 0 to {MOST}")
    return value


def _told(rates: Rates) -> dict[str, Any]:
    """As `_rates` reads it: the empty object for whoever has no limits of their own."""
    if not rates:
        return {}
    more = {name: rate and {"per_second": rate.per_second, "burst": rate.burst} for name, rate in rates.items()}
    messages = rates.get(MESSAGES)
    if EVERY in rates:
        return {PER_SECOND: 0, BURST: 0, MORE: more}
    if messages is not None:
        return {PER_SECOND: messages.per_second, BURST: messages.burst, MORE: more}
    return {MORE: more}
