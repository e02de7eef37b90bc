"""Receiving transactions. https://spec.matrix.org/v1.19/server-server-api/#transactions"""

from typing import Any

from federation.authentication import TRANSACTION_BYTES, TRANSACTION_VALUES, Peer, PeerDoor
from federation.inbound.transaction import Transactions
from homeserver.domain.errors import BadRequest
from homeserver.http.request import Request
from homeserver.http.routing import Route

MAX_TXN_ID = 255


class Send:
    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def routes(self, door: PeerDoor) -> list[Route]:
        return [
            door.signed_body(
                "PUT",
                "/_matrix/federation/v1/send/{txn_id}",
                self.send,
                body_limit=TRANSACTION_BYTES,
                max_values=TRANSACTION_VALUES,
            )
        ]

    async def send(self, request: Request, peer: Peer, content: dict[str, Any]) -> dict[str, Any]:
        txn_id = request.parameters["txn_id"]
        if len(txn_id) > MAX_TXN_ID:
            raise BadRequest(f"A transaction id has at most {MAX_TXN_ID} characters")
        return await self._transactions.receive(peer.origin, txn_id, content)
