"""GET /sync: what is new for a device, as soon as there is anything.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3sync
"""

import re
from collections import OrderedDict

import orjson

from clients.authentication import Door, Result
from clients.endpoints.parameters import json_parameter
from homeserver.domain.errors import BadRequest, NotFound
from homeserver.domain.filters import SyncFilter, parse_sync_filter
from homeserver.domain.presence import ONLINE, PRESENCES
from homeserver.http.answers import Answer, StreamedAnswer
from homeserver.http.request import Request
from homeserver.http.routing import Route
from homeserver.services.accounts.filters import Filters
from homeserver.services.accounts.requester import Requester
from homeserver.services.sync import loop
from homeserver.services.sync.request import SyncRequest
from homeserver.services.tokens import parse_sync_token

MAX_TIMEOUT_MS = 300_000
# COMPAT: what clients asked for before version 1.16 of the spec, with a name of its own in the answer.
UNSTABLE_STATE_AFTER = "org.matrix.msc4222.use_state_after"
UNSTABLE_STATE_KEY = "org.matrix.msc4222.state_after"

EVERYTHING = SyncFilter()
# Filters that were read lately, uploaded and inline ones, each a few kilobytes. A longer inline one is read each time.
MAX_FILTERS = 5_000
MAX_KEPT_CHARACTERS = 1_024


# The token in a query, and queries in which it cannot also stand under an escaped name, which would win.
_SINCE = re.compile(r"(?<![^&])since=([A-Za-z0-9.]+)(?:&|$)")
_PLAIN_NAMES = re.compile(r"(?:(?!since=)[A-Za-z0-9_.]+=[^&]*(?:&|$))*")


class Sync:
    def __init__(self, sync: loop.Sync, filters: Filters) -> None:
        self._sync = sync
        self._filters = filters
        # By user and id, or by an inline filter's own text. Neither ever changes its meaning: nothing here is wrong.
        self._known: OrderedDict[tuple[str, str], SyncFilter] = OrderedDict()
        # What devices asked for lately, by user, device and the query but for its token.
        self._habits: OrderedDict[tuple[str, str, str], SyncRequest | None] = OrderedDict()

    def routes(self, door: Door) -> list[Route]:
        return [door.user("GET", "/_matrix/client/v3/sync", self.sync)]

    async def sync(self, request: Request, requester: Requester) -> Result:
        wanted = await self.read(request, requester)
        if not self._sync.is_whole(wanted):
            return Answer(body=await self._sync(wanted))
        first, rest = await self._sync.begin(wanted)
        return Answer(body=first) if rest is None else StreamedAnswer(first, rest)

    async def read(self, request: Request, requester: Requester) -> SyncRequest:
        """What a request wants. Raises BadRequest.

        A device asks for the same again and again, from another token each time.
        """
        found = _SINCE.search(request.raw_query)
        if found is None:
            return await self._read(request, requester)
        rest = request.raw_query[: found.start()] + request.raw_query[found.end() :]
        key = (requester.user_id, requester.device_id, rest)
        habit = self._habits.get(key)
        if habit is not None:
            self._habits.move_to_end(key)
            return habit.since_then(parse_sync_token(found[1]))
        wanted = await self._read(request, requester)
        if len(rest) <= MAX_KEPT_CHARACTERS:
            # What is asked once is no habit yet.
            is_again = key in self._habits
            self._habits[key] = wanted if is_again and _PLAIN_NAMES.fullmatch(rest) else None
            if len(self._habits) > MAX_FILTERS:
                self._habits.popitem(last=False)
        return wanted

    async def _read(self, request: Request, requester: Requester) -> SyncRequest:
        since = request.text("since")
        unstable = request.boolean(UNSTABLE_STATE_AFTER, False)
        stable = request.boolean("use_state_after", False)
        return SyncRequest(
            user_id=requester.user_id,
            device_id=requester.device_id,
            since=None if since is None else parse_sync_token(since),
            timeout=request.integer("timeout", 0, maximum=MAX_TIMEOUT_MS) / 1000,
            filter=await self._filter(request, requester.user_id),
            full_state=request.boolean("full_state", False),
            use_state_after=stable or unstable,
            set_presence=request.choice("set_presence", PRESENCES, ONLINE),
            state_after_key="state_after" if stable or not unstable else UNSTABLE_STATE_KEY,
        )

    async def _filter(self, request: Request, user_id: str) -> SyncFilter:
        """Inline or by its id: "whether the first character is a { open brace"."""
        asked = request.text("filter")
        if asked is None:
            return EVERYTHING
        is_inline = asked.startswith("{")
        key = ("" if is_inline else user_id, asked)
        known = self._known.get(key)
        if known is not None:
            self._known.move_to_end(key)
            return known
        if is_inline:
            known = parse_sync_filter(json_parameter(request, "filter"))
            if len(asked) > MAX_KEPT_CHARACTERS:
                return known
        else:
            try:
                known = parse_sync_filter(orjson.loads(await self._filters.get(user_id, asked)))
            except NotFound as error:
                raise BadRequest("There is no such filter") from error
        self._known[key] = known
        if len(self._known) > MAX_FILTERS:
            self._known.popitem(last=False)
        return known
