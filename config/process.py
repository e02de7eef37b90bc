"""The server process: one uvloop under Twisted's asyncio reactor, started in order and stopped in order.

Start: files, database, the house, listeners. Stop (SIGTERM or SIGINT): nothing new is accepted, syncs that wait answer
empty, requests in flight finish within a bound, then writes, connections and the database end. A second signal ends at
once. SIGHUP loads certificates again.
"""

import asyncio
import importlib
import logging
import os
import resource
import signal
import sys
from typing import Protocol

import uvloop

from config import data_directory
from config.compose.guests import build_departures
from config.compose.server import Server, build_server
from config.garbage import Garbage
from config.memory import keep_little
from config.periodic import Periodic
from config.running import Running
from config.settings import Settings
from homeserver.domain.errors import ParleyError, Unavailable
from homeserver.storage.embedded import EmbeddedPostgres
from homeserver.storage.embedded_account import EmbeddedPostgresError
from homeserver.telemetry import logs, metrics

logger = logging.getLogger("parley")

# Threads of the database hand the interpreter over quickly, so that the loop answers without delay.
SWITCH_SECONDS = 0.0005
SUPERVISE_SECONDS = 1.0
PRESENCE_SECONDS = 1.0
SET_ASIDE_SECONDS = 1.0
LOOK_SECONDS = 15.0
FLUSH_SECONDS = 30.0
FORGET_SECONDS = 3600.0
MEASURE_SECONDS = 60.0


def run(settings: Settings) -> int:
    """Serves until a signal comes. Returns the exit status. On the main thread."""
    logs.configure(settings.log.level, "json" if settings.log.format == "json" else "text")
    data_directory.prepare(settings.data_directory)
    _raise_file_limit()
    sys.setswitchinterval(SWITCH_SECONDS)
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    # Twisted has no types for these: they are reached by name, and `Reactor` says what we ask of them.
    importlib.import_module("twisted.internet.asyncioreactor").install(loop)
    reactor: Reactor = importlib.import_module("twisted.internet.reactor")
    process = Process(settings)
    failures: list[BaseException] = []
    serving = loop.create_task(process.serve())

    def ended(task: asyncio.Task[None]) -> None:
        error = task.exception()
        if error is not None:
            failures.append(error)
        reactor.stop()

    serving.add_done_callback(ended)
    reactor.run(installSignalHandlers=False)
    if failures:
        raise failures[0]
    return 0


class Reactor(Protocol):
    """What we ask of Twisted's reactor."""

    def run(self, installSignalHandlers: bool) -> None: ...
    def stop(self) -> None: ...


class Job(Protocol):
    """What the process does beside serving, from its start to its stop."""

    def start(self) -> None: ...
    async def stop(self) -> None: ...


class Process:
    """Lives on the loop, which lives on the main thread: there the embedded PostgreSQL must be started."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stop = asyncio.Event()
        self._postgres: EmbeddedPostgres | None = None
        self._postgres_is_up = True
        self._garbage = Garbage()

    async def serve(self) -> None:
        """From start to stop. Raises ParleyError if it cannot start."""
        keep_little()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled)
        try:
            url = self._settings.database.url or self._start_postgres()
            server = build_server(self._settings, url, lambda: self._postgres_is_up and not self._stop.is_set())
            try:
                await self._run(server)
            finally:
                await self._close(server)
        finally:
            if self._postgres is not None:
                self._postgres.stop()

    async def _run(self, server: Server) -> None:
        await server.house.refill()
        await server.limiting.users.load()
        await self._add_registration_tokens(server)
        try:
            await server.listeners.open()
        except OSError as error:
            raise ParleyError(f"cannot listen: {error.strerror or error}") from error
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, self._reload, server)
        jobs = self._jobs(server)
        for job in jobs:
            job.start()
        await server.receiving.waiting.resume()
        self._garbage.begin()
        for address in server.listeners.urls:
            logger.warning("Parley serves %s at %s", self._settings.server_name, address)
        await self._stop.wait()
        logger.warning("Parley stops")
        server.stopping.set()
        server.house.sync.stop()
        await server.listeners.drain(self._settings.http.drain_seconds)
        for job in jobs:
            await job.stop()

    async def _close(self, server: Server) -> None:
        server.house.sync.stop()
        await server.receiving.waiting.stop()
        await server.verification.close()
        await server.federation.close()
        try:
            await server.house.typing.close()
            await server.desk.last_seen.flush()
        except Unavailable as error:
            logger.warning("what only memory held is lost: %s", error)
        await server.database.settle()
        server.desk.hashing.close()
        server.database.close()

    def _jobs(self, server: Server) -> list[Job]:
        searching = server.house.searching
        jobs: list[Job] = [
            Periodic("last seen", FLUSH_SECONDS, server.desk.last_seen.flush),
            Periodic("slots of push rules", SUPERVISE_SECONDS, server.house.slots.grant),
            Periodic("garbage that is set aside", SET_ASIDE_SECONDS, self._garbage.set_aside),
            Periodic("garbage", LOOK_SECONDS, self._garbage.look),
            Periodic("presence", PRESENCE_SECONDS, server.house.presence.tick),
            Periodic("gauges", SUPERVISE_SECONDS, lambda: _observe(server)),
            Periodic("outages of other servers", FORGET_SECONDS, server.federation.destinations.forget),
            Periodic("size of the index of search", MEASURE_SECONDS, searching.index.measure),
            Running("follower of search", searching.follower),
            Running("departures of guests", build_departures(server.database, server.streams, server.house.writer)),
            Running("rebuild of search", searching.rebuild),
        ]
        if self._settings.federation.enabled:
            sending = server.sending
            jobs += [
                Running("follower of the outbox", sending.follower),
                Running("outbox", sending.outbox),
                Periodic("journal of servers in rooms", FORGET_SECONDS, sending.progress.prune),
            ]
        if self._postgres is not None:
            jobs.append(Periodic("database", SUPERVISE_SECONDS, self._supervise))
        return jobs

    def _start_postgres(self) -> str:
        settings = self._settings
        self._postgres = EmbeddedPostgres(
            settings.data_directory, settings.server_name, account=settings.database.user_account
        )
        return self._postgres.start().url

    async def _supervise(self) -> None:
        """A PostgreSQL that ended without being asked is started again; requests wait or fail meanwhile."""
        if self._postgres is None or self._stop.is_set():
            return
        if self._postgres_is_up:
            status = self._postgres.poll()
            if status is None:
                return
            self._postgres_is_up = False
            logger.error("PostgreSQL ended with status %s: it is started again", status)
        try:
            self._postgres.start()
        except EmbeddedPostgresError as error:
            logger.error("PostgreSQL does not start, and is tried again: %s", error)
            return
        self._postgres_is_up = True

    async def _add_registration_tokens(self, server: Server) -> None:
        tokens = self._settings.registration.tokens
        if tokens:
            await server.database.write(
                lambda store: [store.registration_tokens.add(token, None, None) for token in tokens]
            )

    def _signalled(self) -> None:
        if self._stop.is_set():
            logger.error("stopped at once: requests in flight are cut off")
            os._exit(1)  # PostgreSQL gets its own signal from our death
        self._stop.set()

    @staticmethod
    def _reload(server: Server) -> None:
        for certificate in server.certificates:
            try:
                certificate.reload()
            except OSError as error:
                logger.error("the certificate was not loaded again: %s", error)


async def _observe(server: Server) -> None:
    """Brings the gauges up to date that nobody sets in passing."""
    entries, size = server.streams.tail.size
    metrics.TAIL_PUBLICATIONS.set(entries)
    metrics.TAIL_BYTES.set(size)
    metrics.WATERMARK_LAG.set(server.streams.positions.lag())
    for pool, waiting in server.database.waiting.items():
        metrics.DATABASE_WAITING.labels(pool).set(waiting)
    views, size = server.house.sync.size
    metrics.VIEWS.set(views)
    metrics.VIEW_BYTES.set(size)
    metrics.WEBSOCKET_WAITING_BYTES.set(server.sockets.waiting)


def _raise_file_limit() -> None:
    """Ten thousand clients need as many files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
