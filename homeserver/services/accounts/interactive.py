"""User-interactive authentication: an operation that asks for stages before it is done.

A client sends the same request again and again, each time with the `auth` of one more stage, until a flow is complete.
What is authorised is one operation with one body: a session is bound to both, as hashes, from its first completed
stage on (the body itself, with its passwords, is never stored). As long as no stage is completed there is nothing to
remember, so a request that only asks for the flows leaves no row: strangers cannot fill the table, and a session of
which nothing is known is one that begins. A flow of one stage can be completed in the first request.

Which stages there are, and how they are checked, is the business of the endpoint. Its words on the wire are in
`clients.interactive`. https://spec.matrix.org/v1.19/client-server-api/#user-interactive-authentication-api
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from homeserver.domain.errors import BadRequest, Forbidden, RequestError, Unauthenticated
from homeserver.ports import Clock, Randomness
from homeserver.services.persistence import Persistence
from homeserver.storage.interactive_sessions import InteractiveSession
from homeserver.storage.store import Store

DUMMY = "m.login.dummy"
PASSWORD = "m.login.password"
REGISTRATION_TOKEN = "m.login.registration_token"

SESSION_ID_LENGTH = 24
# Long enough to read a mail and come back.
LIFETIME_MS = 60 * 60 * 1000
MAX_SESSIONS = 10_000

# The detail under which a stage remembers a registration token: a use of it is reserved as long as its session lives.
TOKEN_DETAIL = "registration_token"

# Checks one stage with the client's `auth`; returns what is to be remembered of it. Raises Forbidden or
# Unauthenticated if the client may try again, anything else if the request is at fault.
Stage = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, str]]]


@dataclass(frozen=True, slots=True)
class Operation:
    """What is to be authorised: `name` (the endpoint, and who asks), the digest of the body without `auth`, and how."""

    name: str
    digest: bytes
    flows: Sequence[Sequence[str]]
    stages: Mapping[str, Stage]


@dataclass(frozen=True, slots=True)
class Challenge:
    """Something is left to do. `refusal` says why the stage that was tried is not completed."""

    session_id: str
    completed: tuple[str, ...]
    refusal: RequestError | None = None


@dataclass(frozen=True, slots=True)
class Authorized:
    """A flow is complete. The use case that it is for must `settle` it in its own transaction."""

    session_id: str | None = None
    details: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


NOTHING_ASKED = Authorized()


def settle(store: Store, authorized: Authorized, now_ms: int) -> None:
    """What authorised an operation is used up with it. Raises Forbidden if that is no longer possible."""
    if authorized.session_id is not None:
        # Whoever comes second with the same session finds nothing.
        if store.interactive_sessions.lock(authorized.session_id) is None:
            raise Forbidden("This authentication was already used")
        store.interactive_sessions.remove(authorized.session_id)
    token = authorized.details.get(TOKEN_DETAIL)
    if token is not None:
        if authorized.session_id is not None:
            store.registration_tokens.release(token)
        if not store.registration_tokens.complete(token, now_ms):
            raise Forbidden("The registration token was used up or has expired meanwhile")


class InteractiveAuthentication:
    def __init__(
        self,
        database: Persistence,
        clock: Clock,
        randomness: Randomness,
        *,
        lifetime_ms: int = LIFETIME_MS,
        max_sessions: int = MAX_SESSIONS,
    ) -> None:
        self._database = database
        self._clock = clock
        self._randomness = randomness
        self._lifetime = lifetime_ms
        self._max_sessions = max_sessions

    async def attempt(self, operation: Operation, auth: Mapping[str, Any] | None) -> Authorized | Challenge:
        """One request. Raises BadRequest for an `auth` that is none, Forbidden for another body than before."""
        if auth is None:
            return self._challenge(self._new(operation))
        session = await self._find(operation, auth.get("session"))
        stage = auth.get("type")
        if stage is not None and not isinstance(stage, str):
            raise BadRequest("auth.type must be a string", "M_BAD_JSON")
        if stage is None or stage in session.completed:
            return self._challenge(session)
        completed = (*session.completed, stage)
        if not any(tuple(flow[: len(completed)]) == completed for flow in operation.flows):
            return self._challenge(session, Unauthenticated(f"{stage} is not the next stage", "M_UNRECOGNIZED"))
        try:
            remembered = await operation.stages[stage](auth)
        except (Forbidden, Unauthenticated) as refusal:
            return self._challenge(session, refusal)
        details = {**session.details, **remembered}
        if any(tuple(flow) == completed for flow in operation.flows):
            return Authorized(session.session_id if session.completed else None, details)
        return await self._save(session, replace(session, completed=completed, details=details))

    def _new(self, operation: Operation) -> InteractiveSession:
        return InteractiveSession(
            session_id=self._randomness.token(SESSION_ID_LENGTH),
            operation=operation.name,
            request_digest=operation.digest,
            completed=(),
            details={},
            created_ts=self._clock.now_ms(),
        )

    async def _find(self, operation: Operation, session_id: object) -> InteractiveSession:
        if session_id is None:
            return self._new(operation)
        if not isinstance(session_id, str):
            raise BadRequest("auth.session must be a string", "M_BAD_JSON")
        known = None
        # Only what we have given out is asked for: no text that the database could not even hold.
        if session_id.isascii() and session_id.isalnum() and len(session_id) == SESSION_ID_LENGTH:
            known = await self._database.read(lambda store: store.interactive_sessions.find(session_id), single=True)
        if known is None or known.created_ts <= self._clock.now_ms() - self._lifetime:
            return self._new(operation)
        if known.operation != operation.name or known.request_digest != operation.digest:
            raise Forbidden("This authentication was begun for another request")
        return known

    async def _save(self, before: InteractiveSession, after: InteractiveSession) -> Challenge:
        """Remembers a completed stage, and forgets the sessions that are too old or too many."""
        now = self._clock.now_ms()

        def work(store: Store) -> Challenge:
            stored = store.interactive_sessions.lock(after.session_id)
            if stored is not None and stored.completed != before.completed:
                # Another request of this session was quicker.
                return self._challenge(stored)
            token = None if TOKEN_DETAIL in before.details else after.details.get(TOKEN_DETAIL)
            if token is not None and not store.registration_tokens.reserve(token, now):
                return self._challenge(before, Unauthenticated("The token is used up", "M_UNAUTHORIZED"))
            for old in store.interactive_sessions.remove_old(now - self._lifetime, self._max_sessions - 1):
                if TOKEN_DETAIL in old.details:
                    store.registration_tokens.release(old.details[TOKEN_DETAIL])
            store.interactive_sessions.put(after)
            return self._challenge(after)

        return await self._database.write(work)

    def _challenge(self, session: InteractiveSession, refusal: RequestError | None = None) -> Challenge:
        return Challenge(session.session_id, session.completed, refusal)
