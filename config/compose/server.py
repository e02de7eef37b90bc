"""Assembles the whole server from the settings: storage, house, accounts, doors and listeners."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from clients.live.sockets import Sockets
from clients.routes import Live, PublicFacts, client_routes
from config.compose.accounts import Desk, build_accounts
from config.compose.federation import Federation, build_federation
from config.compose.house import Abroad, House, Remote, build_house
from config.compose.limits import Limiting, build_limits
from config.compose.reading import build_reading
from config.compose.receiving import Receiving, build_abroad, build_receiving
from config.compose.sending import Sending, build_sending
from config.compose.storage import Pools, Streams, open_storage
from config.compose.verification import Verification, build_verification
from config.data_directory import PositionFile, registration_secret
from config.listeners import Listener, Listeners
from config.settings import Settings
from config.signing_key import read_or_make_signing_key
from config.system import SystemClock, SystemRandomness
from federation.directory import RemoteQueries
from homeserver.http.health import health_routes, metrics_routes
from homeserver.http.limits import ServerLimits
from homeserver.http.routing import Route
from homeserver.http.tls import Certificate
from homeserver.ports import Clock
from homeserver.services.turn import TurnServer
from homeserver.storage.database import Database


@dataclass(frozen=True, slots=True)
class Server:
    """`stopping` is set when the listeners begin to drain. `certificates` can be loaded again."""

    database: Database
    streams: Streams
    house: House
    desk: Desk
    limiting: Limiting
    sockets: Sockets
    federation: Federation
    verification: Verification
    receiving: Receiving
    sending: Sending
    listeners: Listeners
    stopping: asyncio.Event
    certificates: list[Certificate]


def build_server(settings: Settings, database_url: str, healthy: Callable[[], bool]) -> Server:
    """Nothing listens yet. Blocking: it migrates the database. Raises ParleyError."""
    clock, randomness = SystemClock(), SystemRandomness()
    name, directory, sizes = settings.server_name, settings.data_directory, settings.database
    pools = Pools(sizes.write_connections, sizes.read_connections)
    database, streams = open_storage(database_url, name, PositionFile(directory), pools)
    limiting = build_limits(settings.limits, database, clock)
    key = read_or_make_signing_key(directory)
    federation = build_federation(settings, database, key, clock, randomness)
    verification = build_verification(settings, database, key, federation.calls, federation.partners, clock)
    queries = RemoteQueries(federation.calls) if settings.federation.enabled else None

    def go_abroad(remote: Remote) -> Abroad:
        return limiting.before(build_abroad(name, key, federation, verification, clock, randomness, remote))

    house = build_house(
        database,
        streams,
        name,
        key,
        clock,
        randomness,
        directory=queries,
        go_abroad=go_abroad if settings.federation.enabled else None,
        turn=_turn_server(settings, clock),
        presence_enabled=settings.presence.enabled,
    )
    secret = settings.registration.shared_secret or registration_secret(directory)
    desk = build_accounts(
        settings, secret, database, streams.publisher, house.membership, clock, randomness, queries, limiting.users
    )
    presence = house.presence if settings.presence.enabled else None
    receiving = build_receiving(name, key, database, house, federation, verification, presence)
    sending = build_sending(
        name, database, streams, federation.calls, federation.backoff, federation.partners, clock, randomness
    )
    if settings.federation.enabled:
        house.presence.listen(sending.outbox.send_presence)
    reading = build_reading(name, database, clock, house, desk.accounts.profiles, verification.acls, verification.door)
    sockets = Sockets(desk.accounts.sessions, limiting.limits, clock, randomness)
    for_clients = _client_routes(settings, limiting, desk, house, sockets)
    resources = _resources(settings, for_clients, [*verification.routes(), *receiving.routes, *reading])
    listeners, certificates = _build_listeners(settings, resources, healthy)
    stopping = asyncio.Event()
    return Server(
        database,
        streams,
        house,
        desk,
        limiting,
        sockets,
        federation,
        verification,
        receiving,
        sending,
        Listeners(listeners, clock=clock, stopping=stopping, limits=_server_limits(settings)),
        stopping,
        certificates,
    )


def _client_routes(settings: Settings, limiting: Limiting, desk: Desk, house: House, sockets: Sockets) -> list[Route]:
    facts = PublicFacts(
        settings.server_name, settings.public_base_url, default_room_version=settings.rooms.default_version
    )
    return client_routes(facts, limiting.limits, desk.accounts, house, Live(sockets, settings.http.websocket_origins))


def _resources(
    settings: Settings, for_clients: Sequence[Route], for_servers: Sequence[Route]
) -> Mapping[str, Sequence[Route]]:
    """The routes, by what a listener may serve."""
    return {
        "client": for_clients,
        "federation": for_servers if settings.federation.enabled else (),
        "metrics": metrics_routes() if settings.metrics.enabled else (),
    }


def _build_listeners(
    settings: Settings, resources: Mapping[str, Sequence[Route]], healthy: Callable[[], bool]
) -> tuple[list[Listener], list[Certificate]]:
    """Each with the routes of the `resources` that it serves; and the certificates that they show."""
    listeners: list[Listener] = []
    certificates: list[Certificate] = []
    for wanted in settings.listeners:
        tls = None
        if wanted.tls is not None:
            certificates.append(Certificate(wanted.tls.certificate, wanted.tls.key))
            tls = certificates[-1].context
        routes: list[Route] = health_routes(healthy)
        for name, more in resources.items():
            if name in wanted.serves:
                routes = [*routes, *more]
        listeners.append(Listener(wanted.address.host, wanted.address.port, routes, tls))
    return listeners, certificates


def _turn_server(settings: Settings, clock: Clock) -> TurnServer | None:
    voip = settings.voip
    if not voip.turn_uris or voip.turn_secret is None:
        return None
    return TurnServer(clock, uris=voip.turn_uris, secret=voip.turn_secret)


def _server_limits(settings: Settings) -> ServerLimits:
    wanted = settings.http
    return ServerLimits(
        max_connections=wanted.max_connections,
        max_per_address=wanted.max_connections_per_address,
        trusted_proxies=wanted.trusted_proxies,
    )
