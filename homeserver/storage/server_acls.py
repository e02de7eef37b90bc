"""The server ACLs that stand in rooms, read whole only by those who do not know them yet."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from homeserver.domain.canonical import parse_json
from homeserver.storage.transaction import Statement, Transaction

# A redaction takes the content away: the same event is then another list.
VERSION = "e.event_id || coalesce(' ' || e.redacted_by, '')"
LIST = Statement(
    "list_server_acls",
    "text[], text[]",
    f"SELECT r.room_id, {VERSION}, CASE WHEN {VERSION} = ANY($2) THEN NULL ELSE e.client END FROM rooms r"
    " JOIN state_keys k ON k.state_key = '' AND k.type = 'm.room.server_acl'"
    " JOIN current_state c ON c.room = r.number AND c.generation = r.state_generation AND c.key = k.number"
    " JOIN events e ON e.number = c.event WHERE r.room_id = ANY($1)",
)


@dataclass(frozen=True, slots=True)
class StandingAcl:
    """What stands in a room. `version` names the content; `content` is None if the caller knows it."""

    version: str
    content: dict[str, Any] | None


class ServerAcls:
    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def list_standing(self, room_ids: Sequence[str], known: Sequence[str]) -> dict[str, StandingAcl]:
        """By room id, those that have one. `known`: versions whose content the caller has."""
        return {
            room_id: StandingAcl(version, None if client is None else _content(client))
            for room_id, version, client in self._transaction.fetch(LIST, list(room_ids), list(known))
        }


def _content(client: str) -> dict[str, Any]:
    content: dict[str, Any] = parse_json(f"{{{client}}}".encode(), strict=False)["content"]
    return content
