"""Server notices, as operators send them: with their tools, or with `parley send-notice`.

Tools do it as an administrator, at the path and in the words that they know from Synapse. The command does it at the
word of whoever knows the operator's secret, by an interface of our own: GET gives a nonce, POST carries it with
`notice` and the HMAC-SHA1 of the nonce, ACTION and the canonical JSON of `notice`, NUL between them. A notice has
`user_id`, or goes to a page of all users after the one named by `after`; the answer's `next` is for the next page.
https://element-hq.github.io/synapse/latest/admin_api/server_notices.html
"""

from collections.abc import Mapping
from typing import Any

from clients.authentication import Door, Result
from clients.endpoints.bodies import flag, required_text, text
from clients.endpoints.parameters import json_object, refuse_suspended, user_id
from homeserver.domain.canonical import canonical_json
from homeserver.domain.errors import BadRequest, Forbidden
from homeserver.domain.identifiers import fits
from homeserver.http.request import Request
from homeserver.http.routing import Route
from homeserver.services.accounts.operator_secret import OperatorSecret
from homeserver.services.accounts.requester import Requester
from homeserver.services.notices import Notices, Told, notice_content

SYNAPSE_PATH = "/_synapse/admin/v1/send_server_notice"
PATH = "/_parley/admin/v1/notices"
ACTION = "send-notice"
BODY_LIMIT = 64 * 1024


class ServerNotices:
    """For administrators."""

    def __init__(self, notices: Notices) -> None:
        self._notices = notices

    def routes(self, door: Door) -> list[Route]:
        return [door.user("POST", SYNAPSE_PATH, self.send, limit="messages", body_limit=BODY_LIMIT)]

    async def send(self, request: Request, requester: Requester) -> Result:
        if not requester.is_admin:
            raise Forbidden("Only administrators send server notices")
        refuse_suspended(requester)
        body = await request.json_object()
        if (text(body, "type") or "m.room.message") != "m.room.message" or text(body, "state_key") is not None:
            raise BadRequest("A notice is an m.room.message")
        return {"event_id": await self._notices.send(user_id(body), json_object(body, "content"))}


class OperatorNotices:
    """For whoever knows the secret."""

    def __init__(self, notices: Notices, secret: OperatorSecret) -> None:
        self._notices = notices
        self._secret = secret

    def routes(self, door: Door) -> list[Route]:
        return [door.public("GET", PATH, self.nonce), door.public("POST", PATH, self.send, body_limit=BODY_LIMIT)]

    async def nonce(self, request: Request) -> Result:
        return {"nonce": self._secret.nonce()}

    async def send(self, request: Request) -> Result:
        body = await request.json_object()
        notice = json_object(body, "notice")
        signed = canonical_json(notice).decode()
        self._secret.spend(required_text(body, "nonce"), required_text(body, "mac"), ACTION, signed)
        told = await self._tell(notice)
        return {"count": told.count} if told.next is None else {"count": told.count, "next": told.next}

    async def _tell(self, notice: Mapping[str, Any]) -> Told:
        to_all = text(notice, "user_id") is None
        after = text(notice, "after") or ""
        if not fits(after):
            raise BadRequest("after is not a user id")
        if flag(notice, "withdraw", False):
            if to_all:
                return await self._notices.withdraw_from_all(after)
            await self._notices.withdraw(user_id(notice))
            return Told(1, None)
        body = required_text(notice, "body")
        content = notice_content(body, text(notice, "admin_contact"), text(notice, "limit_type"))
        if to_all:
            return await self._notices.send_to_all(content, after)
        await self._notices.send(user_id(notice), content)
        return Told(1, None)
