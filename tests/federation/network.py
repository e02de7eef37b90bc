"""A network that is a dictionary: what other servers answer, without sockets. For the calls themselves see `calls`."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from homeserver.domain.errors import RemoteUnreachable
from homeserver.domain.server_keys import ServerKey, ServerKeys, merge_keys

KEYS = "/_matrix/key/v2/server"
QUERY = "/_matrix/key/v2/query"


@dataclass
class Network:
    """Implements the `Calls` that look up keys. `answers` are JSON, exceptions, or functions of the body.

    `held` keeps every answer back until it is set.
    """

    answers: dict[tuple[str, str], Any] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    held: asyncio.Event | None = None

    async def get(
        self,
        destination: str,
        path: str,
        query: Sequence[tuple[str, str]] = (),
        *,
        timeout: float = 30,
        max_bytes: int = 1,
        signed: bool = True,
    ) -> Any:
        return await self._answer(destination, path, {})

    async def post(
        self,
        destination: str,
        path: str,
        body: Mapping[str, Any],
        query: Sequence[tuple[str, str]] = (),
        *,
        timeout: float = 30,
        max_bytes: int = 1,
        signed: bool = True,
    ) -> Any:
        return await self._answer(destination, path, body)

    async def _answer(self, destination: str, path: str, body: Mapping[str, Any]) -> Any:
        self.asked.append((destination, path))
        if self.held is not None:
            await self.held.wait()
        answer = self.answers.get((destination, path), RemoteUnreachable(f"{destination} is not there"))
        if isinstance(answer, Exception):
            raise answer
        return answer(body) if isinstance(answer, Callable) else answer


@dataclass
class MemoryShelf:
    """Implements `Kept`, without a database."""

    known: dict[str, list[ServerKey]] = field(default_factory=dict)

    async def keys(self, server_names: Sequence[str]) -> dict[str, list[ServerKey]]:
        return {name: self.known[name] for name in server_names if name in self.known}

    async def keep(self, told: ServerKeys, *, by_server: bool) -> list[ServerKey]:
        merged = merge_keys(self.known.get(told.server_name, ()), told.keys, by_server=by_server)
        self.known[told.server_name] = merged
        return merged
