"""Password hashes: argon2id in threads of its own.

Two threads, so that a rush of logins never takes the whole machine; a bounded number of waiting ones, so that it takes
no memory either (each hash needs `memory_kib` while it is computed). Beyond it: 429.

https://www.rfc-editor.org/rfc/rfc9106
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

from homeserver.domain.errors import LimitExceeded
from homeserver.ports import PasswordCheck
from homeserver.telemetry.metrics import PASSWORD_QUEUE

T = TypeVar("T")

THREADS = 2
RETRY_AFTER_MS = 2_000
SALT_BYTES = 16
HASH_BYTES = 32


@dataclass(frozen=True, slots=True)
class PasswordCost:
    """What one hash costs. The defaults are the second of OWASP's equal choices for argon2id."""

    time: int = 2
    memory_kib: int = 19_456
    parallelism: int = 1


class Argon2Hashing:
    """Implements `homeserver.ports.PasswordHashing`. `max_waiting` counts those that are being computed too."""

    def __init__(self, cost: PasswordCost, max_waiting: int = 100) -> None:
        self._hasher = PasswordHasher(
            cost.time, cost.memory_kib, cost.parallelism, hash_len=HASH_BYTES, salt_len=SALT_BYTES, type=Type.ID
        )
        # The hash of no password that anybody could find: what an unknown user's is compared with.
        self._nobody = (
            f"$argon2id$v=19$m={cost.memory_kib},t={cost.time},p={cost.parallelism}"
            f"${'A' * 22}$Tm8gcGFzc3dvcmQgaGFzIHRoaXMgaGFzaC4gTm9uZSA"
        )
        self._max_waiting = max_waiting
        self._waiting = 0
        self._lock = threading.Lock()
        self._executor = ThreadPoolExecutor(THREADS, thread_name_prefix="password")

    async def hash(self, password: str) -> str:
        return await self._run(lambda: self._hasher.hash(password))

    async def check(self, password: str, password_hash: str | None) -> PasswordCheck:
        return await self._run(lambda: self._check(password, password_hash))

    def close(self) -> None:
        """Waits for what is being computed; what only waits is cancelled."""
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _check(self, password: str, password_hash: str | None) -> PasswordCheck:
        try:
            self._hasher.verify(self._nobody if password_hash is None else password_hash, password)
        except (VerificationError, InvalidHashError):
            return PasswordCheck(correct=False)
        if password_hash is None:
            return PasswordCheck(correct=False)
        return PasswordCheck(correct=True, outdated=self._hasher.check_needs_rehash(password_hash))

    async def _run(self, work: Callable[[], T]) -> T:
        with self._lock:
            if self._waiting >= self._max_waiting:
                raise LimitExceeded("Too many logins and registrations at once", RETRY_AFTER_MS, "password_hashing")
            self._waiting += 1
        PASSWORD_QUEUE.inc()
        # Counted until it has ended, also if the request that wanted it is cancelled meanwhile.
        future = self._executor.submit(work)
        future.add_done_callback(self._ended)
        return await asyncio.wrap_future(future)

    def _ended(self, future: Future[T]) -> None:
        with self._lock:
            self._waiting -= 1
        PASSWORD_QUEUE.dec()
