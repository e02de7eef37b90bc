"""Building the index of search again, at the word of whoever knows the operator's secret: `parley rebuild-search`.

An interface of our own, in the manner of registration by shared secret: GET gives a nonce, POST carries it with the
HMAC-SHA1 of it and ACTION, NUL between them. It answers as soon as the building has begun: that may take long.
"""

from typing import Protocol

from clients.authentication import Door, Result
from clients.endpoints.bodies import required_text
from clients.endpoints.login import SMALL_BODY
from homeserver.http.request import Request
from homeserver.http.routing import Route
from homeserver.services.accounts.operator_secret import OperatorSecret

PATH = "/_parley/admin/v1/search/rebuild"
ACTION = "rebuild-search"


class Rebuilding(Protocol):
    async def start_over(self) -> None: ...


class SearchRebuild:
    def __init__(self, rebuild: Rebuilding, secret: OperatorSecret) -> None:
        self._rebuild = rebuild
        self._secret = secret

    def routes(self, door: Door) -> list[Route]:
        return [
            door.public("GET", PATH, self.nonce),
            door.public("POST", PATH, self.start_over, body_limit=SMALL_BODY),
        ]

    async def nonce(self, request: Request) -> Result:
        return {"nonce": self._secret.nonce()}

    async def start_over(self, request: Request) -> Result:
        body = await request.json_object()
        self._secret.spend(required_text(body, "nonce"), required_text(body, "mac"), ACTION)
        await self._rebuild.start_over()
        return {}
