"""All endpoints of the client-server API: a chapter is a module in `endpoints` and a line here.

https://spec.matrix.org/v1.19/client-server-api/
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from clients.authentication import Door
from clients.endpoints.account import Account
from clients.endpoints.account_data import AccountData
from clients.endpoints.capabilities import Capabilities
from clients.endpoints.credentials import Credentials
from clients.endpoints.directory import Directory
from clients.endpoints.ephemeral import Ephemeral
from clients.endpoints.event_stream import EventStream
from clients.endpoints.filters import Filters
from clients.endpoints.history import History
from clients.endpoints.initial_sync import InitialSync
from clients.endpoints.login import Login
from clients.endpoints.mutual_rooms import MutualRooms
from clients.endpoints.notices import OperatorNotices, ServerNotices
from clients.endpoints.presence import PresenceStatus
from clients.endpoints.profile import Profile
from clients.endpoints.pushrules import PushRules
from clients.endpoints.register import Register
from clients.endpoints.relations import Relations
from clients.endpoints.reports import Reports
from clients.endpoints.rooms import Rooms
from clients.endpoints.search import Search
from clients.endpoints.search_rebuild import Rebuilding, SearchRebuild
from clients.endpoints.send import Send
from clients.endpoints.spaces import Spaces
from clients.endpoints.state import State
from clients.endpoints.synapse_register import SynapseRegister
from clients.endpoints.sync import Sync
from clients.endpoints.tags import Tags
from clients.endpoints.third_party import ThirdParty
from clients.endpoints.timestamps import Timestamps
from clients.endpoints.upgrade import Upgrade
from clients.endpoints.user_limits import UserLimitSetting
from clients.endpoints.versions import Versions
from clients.endpoints.voip import Voip
from clients.endpoints.well_known import WellKnown
from clients.interactive import Interactive
from clients.limits import Limits
from clients.live.opening import FEATURE, Opening
from clients.live.sockets import Sockets
from clients.live.work import Work
from homeserver.domain.versions import DEFAULT_ROOM_VERSION, ROOM_VERSIONS
from homeserver.http.routing import Route
from homeserver.services.accounts import data, filters, profile
from homeserver.services.accounts.deactivation import Deactivation
from homeserver.services.accounts.guests import Guests
from homeserver.services.accounts.interactive import InteractiveAuthentication
from homeserver.services.accounts.operator_secret import OperatorSecret
from homeserver.services.accounts.passwords import Passwords
from homeserver.services.accounts.registration import Registration
from homeserver.services.accounts.sessions import Sessions
from homeserver.services.accounts.shared_secret import SharedSecretRegistration
from homeserver.services.accounts.tags import RoomTags
from homeserver.services.accounts.user_limits import UserLimits
from homeserver.services.messaging.presence import Presence
from homeserver.services.messaging.receipts import Receipts
from homeserver.services.messaging.typing import Typing
from homeserver.services.notices import Notices
from homeserver.services.push import rules
from homeserver.services.rooms import (
    history,
    initial_sync,
    mutual_rooms,
    relations,
    reports,
    send,
    threads,
    timestamps,
    upgrade,
)
from homeserver.services.rooms.aliases import Aliases
from homeserver.services.rooms.create import Create
from homeserver.services.rooms.directory import RoomDirectory
from homeserver.services.rooms.membership import Membership
from homeserver.services.rooms.spaces import Spaces as Trees
from homeserver.services.rooms.state import RoomState
from homeserver.services.rooms.summary import Summaries
from homeserver.services.search import search
from homeserver.services.sync import event_stream, loop
from homeserver.services.sync.overview import Overview
from homeserver.services.turn import TurnServer


class Chapter(Protocol):
    """A module of `endpoints`."""

    def routes(self, door: Door) -> list[Route]: ...


@dataclass(frozen=True, slots=True)
class Accounts:
    """The services about users. Without `shared_secret`, `operator` and `user_limits` their endpoints do not
    exist."""

    sessions: Sessions
    passwords: Passwords
    registration: Registration
    guests: Guests
    deactivation: Deactivation
    interactive: InteractiveAuthentication
    profiles: profile.Profiles
    data: data.AccountData
    filters: filters.Filters
    tags: RoomTags
    shared_secret: SharedSecretRegistration | None = None
    operator: OperatorSecret | None = None
    user_limits: UserLimits | None = None


@dataclass(frozen=True, slots=True)
class PublicFacts:
    """What everybody may know. `client_url` and `federation_address` (host:port) are None if they need no telling."""

    server_name: str
    client_url: str | None = None
    federation_address: str | None = None
    default_room_version: str = DEFAULT_ROOM_VERSION.identifier


@dataclass(frozen=True, slots=True)
class Live:
    """What WebSockets need besides. `origins`: the pages that may open them; none: all."""

    sockets: Sockets
    origins: tuple[str, ...] = ()


class House(Protocol):
    """The services about rooms."""

    @property
    def create(self) -> Create: ...
    @property
    def membership(self) -> Membership: ...
    @property
    def send(self) -> send.Send: ...
    @property
    def state(self) -> RoomState: ...
    @property
    def history(self) -> history.History: ...
    @property
    def relations(self) -> relations.Relations: ...
    @property
    def threads(self) -> threads.Threads: ...
    @property
    def timestamps(self) -> timestamps.Timestamps: ...
    @property
    def typing(self) -> Typing: ...
    @property
    def receipts(self) -> Receipts: ...
    @property
    def presence(self) -> Presence: ...
    @property
    def sync(self) -> loop.Sync: ...
    @property
    def push_rules(self) -> rules.PushRules: ...
    @property
    def aliases(self) -> Aliases: ...
    @property
    def directory(self) -> RoomDirectory: ...
    @property
    def summaries(self) -> Summaries: ...
    @property
    def spaces(self) -> Trees: ...
    @property
    def upgrade(self) -> upgrade.Upgrade: ...
    @property
    def reports(self) -> reports.Reports: ...
    @property
    def initial_sync(self) -> initial_sync.InitialSync: ...
    @property
    def event_stream(self) -> event_stream.EventStream: ...
    @property
    def overview(self) -> Overview: ...
    @property
    def notices(self) -> Notices: ...
    @property
    def mutual_rooms(self) -> mutual_rooms.MutualRooms: ...
    @property
    def search(self) -> search.Search: ...
    @property
    def search_rebuild(self) -> Rebuilding: ...
    @property
    def turn(self) -> TurnServer | None: ...


def client_routes(
    facts: PublicFacts, limits: Limits, accounts: Accounts, house: House, live: Live | None = None
) -> list[Route]:
    """Without `live` there are no WebSockets."""
    features = () if live is None else (FEATURE,)
    routes = [*account_routes(facts, limits, accounts, features), *room_routes(facts, limits, accounts, house)]
    if live is not None:
        work = Work(routes, house.sync, Sync(house.sync, accounts.filters), live.sockets.bounds.max_answer)
        opening = Opening(live.sockets, work, live.origins)
        routes += routes_of([opening], Door(accounts.sessions, limits))
    return routes


def account_routes(facts: PublicFacts, limits: Limits, accounts: Accounts, features: Sequence[str] = ()) -> list[Route]:
    credentials = Credentials(accounts.passwords, limits, facts.server_name)
    interactive = Interactive(accounts.interactive)
    chapters: list[Chapter] = [
        Versions(features),
        WellKnown(facts.client_url, facts.federation_address),
        Capabilities(facts.default_room_version, ROOM_VERSIONS),
        Login(accounts.sessions, credentials, facts.client_url),
        Register(accounts.registration, accounts.guests, accounts.passwords, interactive, limits),
        Account(accounts.passwords, accounts.deactivation, credentials, interactive),
        Profile(accounts.profiles),
        AccountData(accounts.data),
        Filters(accounts.filters),
        Tags(accounts.tags),
        ThirdParty(),
    ]
    if accounts.shared_secret is not None:
        chapters.append(SynapseRegister(accounts.shared_secret, facts.server_name))
    if accounts.user_limits is not None:
        chapters.append(UserLimitSetting(accounts.user_limits))
    return routes_of(chapters, Door(accounts.sessions, limits))


def room_routes(facts: PublicFacts, limits: Limits, accounts: Accounts, house: House) -> list[Route]:
    chapters: list[Chapter] = [
        Rooms(house.create, house.membership, limits, facts.default_room_version),
        Send(house.send, limits),
        State(house.state, house.send),
        History(house.history),
        Relations(house.relations, house.threads),
        Timestamps(house.timestamps),
        Ephemeral(house.typing, house.receipts),
        PresenceStatus(house.presence),
        Sync(house.sync, accounts.filters),
        PushRules(house.push_rules),
        Directory(house.aliases, house.directory),
        Spaces(house.summaries, house.spaces),
        Upgrade(house.upgrade),
        Reports(house.reports),
        MutualRooms(house.mutual_rooms),
        InitialSync(house.initial_sync),
        EventStream(house.event_stream, house.overview),
        ServerNotices(house.notices),
        Search(house.search),
        Voip(house.turn),
    ]
    if accounts.operator is not None:
        chapters.append(SearchRebuild(house.search_rebuild, accounts.operator))
        chapters.append(OperatorNotices(house.notices, accounts.operator))
    return routes_of(chapters, Door(accounts.sessions, limits))


def routes_of(chapters: Sequence[Chapter], door: Door) -> list[Route]:
    return [route for chapter in chapters for route in chapter.routes(door)]
