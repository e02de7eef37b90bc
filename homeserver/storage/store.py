"""The repositories of one transaction, and what it publishes.

Add a repository: a file beside this one, and a property here.
"""

from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

from homeserver.storage.account_data import AccountData
from homeserver.storage.blocks import Numbers
from homeserver.storage.caches import ByteCache
from homeserver.storage.client_json import ClientJson
from homeserver.storage.counts import Counts
from homeserver.storage.cursors import Cursors
from homeserver.storage.destinations import Destinations
from homeserver.storage.devices import Devices
from homeserver.storage.directory import Directory
from homeserver.storage.event_texts import EventTexts
from homeserver.storage.events import EventCache, Events
from homeserver.storage.events import weigh as weigh_event
from homeserver.storage.filters import Filters
from homeserver.storage.graph import Graph
from homeserver.storage.history import History
from homeserver.storage.interactive_sessions import InteractiveSessions
from homeserver.storage.memberships import Memberships
from homeserver.storage.notices import NoticeRooms
from homeserver.storage.outgoing import Outgoing
from homeserver.storage.presence import Presences
from homeserver.storage.previews import Previews
from homeserver.storage.profiles import Profiles
from homeserver.storage.receipts import Receipts
from homeserver.storage.recent import Recent
from homeserver.storage.redactions import Redactions
from homeserver.storage.registration_tokens import RegistrationTokens
from homeserver.storage.relations import Relations
from homeserver.storage.relays import Relays
from homeserver.storage.reports import Reports
from homeserver.storage.residents import Residents
from homeserver.storage.room_servers import RoomServers
from homeserver.storage.rooms import Rooms
from homeserver.storage.search import Search
from homeserver.storage.server_acls import ServerAcls
from homeserver.storage.server_keys import ServerKeyring
from homeserver.storage.sessions import Sessions
from homeserver.storage.silences import Silences
from homeserver.storage.staged import Staged
from homeserver.storage.state import GroupCache, KeyCache, State
from homeserver.storage.state import weigh as weigh_layer
from homeserver.storage.threads import Threads
from homeserver.storage.transaction import Transaction
from homeserver.storage.unsent import Unsent
from homeserver.storage.user_limits import UserLimits
from homeserver.storage.users import Users
from homeserver.storage.viewpoints import Viewpoints
from homeserver.storage.write_log import WriteLog
from homeserver.streams.positions import Positions
from homeserver.streams.publications import Item, Publication

R = TypeVar("R")


class lazily(Generic[R]):
    """A repository that is made when it is first asked for. As functools.cached_property, which in Python 3.11 takes a
    lock that all instances share: a store belongs to one thread."""

    def __init__(self, make: Callable[[Any], R]) -> None:
        self._make = make
        self._name = make.__name__

    def __get__(self, store: Any, owner: object = None) -> R:
        made = store.__dict__[self._name] = self._make(store)
        return made


class Caches:
    """The immutable things that all transactions of a process share, bounded in bytes."""

    def __init__(self, events: int = 32 << 20, groups: int = 32 << 20, keys: int = 8 << 20) -> None:
        self.events: EventCache = ByteCache(events, weigh_event)
        self.groups: GroupCache = ByteCache(groups, weigh_layer)
        self.keys: KeyCache = ByteCache(keys, lambda _: 250)


class Store:
    """One per transaction; not to be kept."""

    def __init__(self, transaction: Transaction, positions: Positions, numbers: Numbers, caches: Caches) -> None:
        self.transaction = transaction
        self._positions = positions
        self._numbers = numbers
        self._caches = caches
        # Called in the same thread once the transaction is committed: what may be remembered then.
        self.after_commit: list[Callable[[], None]] = []
        # Positions taken by this transaction, unfinished until it ends.
        self.positions: list[int] = []
        self.publications: list[Publication] = []
        # SQL that finds a row which only this write can have left; empty as long as nothing is published.
        self.trace = ""
        # True if that is a row of write_log.
        self.logged = False

    def take_position(self) -> int:
        """A position for what is about to be written. Taken last, before the inserts: it holds everybody up."""
        position = self._positions.take()
        self.positions.append(position)
        return position

    def take_number(self) -> int:
        """A new internal number."""
        return self._numbers.take()

    def publish(self, position: int, keys: Iterable[str], item: Item) -> None:
        """`item` goes out under `keys` after the commit."""
        self.publications.append(Publication(position, tuple(keys), item))

    def leave_trace(self) -> None:
        """Makes sure that a cut COMMIT can be judged later: by an event of this write, or by a row of write_log."""
        if self.positions and not self.trace:
            self.trace = self.write_log.add(self.positions[0])
            self.logged = True

    @property
    def statements(self) -> int:
        """How many statements this transaction has sent or will send."""
        return self.transaction.statements

    @lazily
    def client_json(self) -> ClientJson:
        return ClientJson(self.transaction)

    @lazily
    def rooms(self) -> Rooms:
        return Rooms(self.transaction)

    @lazily
    def events(self) -> Events:
        return Events(self.transaction, self._caches.events)

    @lazily
    def event_texts(self) -> EventTexts:
        return EventTexts(self.transaction)

    @lazily
    def graph(self) -> Graph:
        return Graph(self.transaction)

    @lazily
    def history(self) -> History:
        return History(self.transaction)

    @lazily
    def state(self) -> State:
        return State(self.transaction, self._caches.groups, self._caches.keys)

    @lazily
    def viewpoints(self) -> Viewpoints:
        return Viewpoints(self.transaction)

    @lazily
    def memberships(self) -> Memberships:
        return Memberships(self.transaction)

    @lazily
    def receipts(self) -> Receipts:
        return Receipts(self.transaction)

    @lazily
    def recent(self) -> Recent:
        return Recent(self.transaction)

    @lazily
    def account_data(self) -> AccountData:
        return AccountData(self.transaction)

    @lazily
    def counts(self) -> Counts:
        return Counts(self.transaction)

    @lazily
    def cursors(self) -> Cursors:
        return Cursors(self.transaction)

    @lazily
    def directory(self) -> Directory:
        return Directory(self.transaction)

    @lazily
    def destinations(self) -> Destinations:
        return Destinations(self.transaction)

    @lazily
    def devices(self) -> Devices:
        return Devices(self.transaction)

    @lazily
    def filters(self) -> Filters:
        return Filters(self.transaction)

    @lazily
    def interactive_sessions(self) -> InteractiveSessions:
        return InteractiveSessions(self.transaction)

    @lazily
    def notice_rooms(self) -> NoticeRooms:
        return NoticeRooms(self.transaction)

    @lazily
    def outgoing(self) -> Outgoing:
        return Outgoing(self.transaction)

    @lazily
    def presence(self) -> Presences:
        return Presences(self.transaction)

    @lazily
    def previews(self) -> Previews:
        return Previews(self.transaction)

    @lazily
    def profiles(self) -> Profiles:
        return Profiles(self.transaction)

    @lazily
    def redactions(self) -> Redactions:
        return Redactions(self.transaction)

    @lazily
    def relations(self) -> Relations:
        return Relations(self.transaction)

    @lazily
    def relays(self) -> Relays:
        return Relays(self.transaction)

    @lazily
    def registration_tokens(self) -> RegistrationTokens:
        return RegistrationTokens(self.transaction)

    @lazily
    def reports(self) -> Reports:
        return Reports(self.transaction)

    @lazily
    def server_acls(self) -> ServerAcls:
        return ServerAcls(self.transaction)

    @lazily
    def server_keys(self) -> ServerKeyring:
        return ServerKeyring(self.transaction)

    @lazily
    def residents(self) -> Residents:
        return Residents(self.transaction)

    @lazily
    def room_servers(self) -> RoomServers:
        return RoomServers(self.transaction)

    @lazily
    def search(self) -> Search:
        return Search(self.transaction)

    @lazily
    def sessions(self) -> Sessions:
        return Sessions(self.transaction)

    @lazily
    def threads(self) -> Threads:
        return Threads(self.transaction)

    @lazily
    def silences(self) -> Silences:
        return Silences(self.transaction)

    @lazily
    def staged(self) -> Staged:
        return Staged(self.transaction)

    @lazily
    def unsent(self) -> Unsent:
        return Unsent(self.transaction)

    @lazily
    def user_limits(self) -> UserLimits:
        return UserLimits(self.transaction)

    @lazily
    def users(self) -> Users:
        return Users(self.transaction)

    @lazily
    def write_log(self) -> WriteLog:
        return WriteLog(self.transaction)
