"""Membership events of our users in rooms that we are not in, made of another server's template and signed by us."""

from collections.abc import Mapping
from typing import Any

from signedjson.types import SigningKey

from federation.joining.template import AUTHORISER, Template
from homeserver.domain.draft import build_pdu
from homeserver.domain.errors import BadRequest, RemoteUnreachable
from homeserver.domain.event import Event
from homeserver.domain.versions import EventIdFormat
from homeserver.ports import Clock, Randomness


class Author:
    def __init__(self, server_name: str, key: SigningKey, clock: Clock, randomness: Randomness) -> None:
        self.server_name = server_name
        self._key = key
        self._clock = clock
        self._randomness = randomness

    def write(self, template: Template, room_id: str, user_id: str, content: Mapping[str, Any]) -> Event:
        """The event that says `content` at the template's place. Raises RemoteUnreachable if it cannot stand there."""
        if template.authoriser is not None:
            content = {**content, AUTHORISER: template.authoriser}
        chosen = template.version.event_ids is EventIdFormat.CHOSEN
        try:
            return build_pdu(
                template.version,
                room_id=room_id,
                sender=user_id,
                type="m.room.member",
                state_key=user_id,
                content=content,
                prev_events=template.prev_events,
                auth_events=template.auth_events,
                depth=template.depth,
                origin_server_ts=self._clock.now_ms(),
                server_name=self.server_name,
                key=self._key,
                event_id_suffix=self._randomness.token(18) if chosen else None,
            )
        except BadRequest as error:
            raise RemoteUnreachable(f"the template makes no event: {error.message}") from error
