"""Assembles the house: rooms, messaging and sync, bottom-up. Accounts and the doors have files of their own."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from signedjson.types import SigningKey

from config.compose.search import Searching, build_search
from config.compose.storage import Streams
from homeserver.ports import Clock, Randomness, RemoteDirectory, RemoteRooms
from homeserver.services.messaging.presence import Presence
from homeserver.services.messaging.receipts import Receipts
from homeserver.services.messaging.roster import Roster
from homeserver.services.messaging.typing import Typing
from homeserver.services.notices import Notices
from homeserver.services.push.rule_book import RuleBook
from homeserver.services.push.rules import PushRules
from homeserver.services.push.slots import Slots
from homeserver.services.rooms.aliases import Aliases
from homeserver.services.rooms.append import Append
from homeserver.services.rooms.create import Create
from homeserver.services.rooms.directory import RoomDirectory
from homeserver.services.rooms.draft import Draft
from homeserver.services.rooms.history import Beyond, History
from homeserver.services.rooms.initial_sync import InitialSync
from homeserver.services.rooms.member_lists import MemberLists
from homeserver.services.rooms.membership import Membership
from homeserver.services.rooms.mutual_rooms import MutualRooms
from homeserver.services.rooms.relations import Relations
from homeserver.services.rooms.remote.backfilling import Backfilling
from homeserver.services.rooms.remote.entering import Entering
from homeserver.services.rooms.remote.hosting import Hosting
from homeserver.services.rooms.remote.invited import Invited
from homeserver.services.rooms.remote.out_of_band import OutOfBand
from homeserver.services.rooms.remote.receiving import RemoteEvents
from homeserver.services.rooms.remote.staging import Staging
from homeserver.services.rooms.reports import Reports
from homeserver.services.rooms.room import Heads
from homeserver.services.rooms.send import Send
from homeserver.services.rooms.spaces import Spaces
from homeserver.services.rooms.state import RoomState
from homeserver.services.rooms.summary import Summaries
from homeserver.services.rooms.threads import Threads
from homeserver.services.rooms.timestamps import MissingHistory, Timestamps
from homeserver.services.rooms.upgrade import Upgrade
from homeserver.services.rooms.writer import Writer
from homeserver.services.search.rebuild import Rebuild
from homeserver.services.search.search import Search
from homeserver.services.sync.counts import Unread
from homeserver.services.sync.event_stream import EventStream
from homeserver.services.sync.loop import Sync
from homeserver.services.sync.overview import Overview
from homeserver.services.sync.refill import Refill
from homeserver.services.sync.sections.presence import PresenceSection
from homeserver.services.sync.tables import Tables
from homeserver.services.turn import TurnServer
from homeserver.storage.database import Database
from homeserver.storage.events import EventRow


@dataclass(frozen=True, slots=True)
class Remote:
    """What the federation door needs of the rooms that other servers are in too."""

    events: RemoteEvents
    staging: Staging
    entering: Entering
    out_of_band: OutOfBand
    invited: Invited
    hosting: Hosting
    backfilling: Backfilling


class HistoryAbroad(Beyond, MissingHistory, Protocol):
    """History that other servers have."""


@dataclass(frozen=True, slots=True)
class Abroad:
    """What asks other servers."""

    rooms: RemoteRooms
    history: HistoryAbroad | None


@dataclass(frozen=True, slots=True)
class Syncing:
    """What tells clients of their rooms: /sync, and what there was before it."""

    sync: Sync
    event_stream: EventStream
    overview: Overview
    initial_sync: InitialSync


@dataclass(frozen=True, slots=True)
class House:
    """What the doors are given."""

    create: Create
    send: Send
    membership: Membership
    state: RoomState
    history: History
    relations: Relations
    threads: Threads
    timestamps: Timestamps
    receipts: Receipts
    typing: Typing
    presence: Presence
    syncing: Syncing
    refill: Refill
    push_rules: PushRules
    aliases: Aliases
    directory: RoomDirectory
    summaries: Summaries
    spaces: Spaces
    upgrade: Upgrade
    reports: Reports
    mutual_rooms: MutualRooms
    notices: Notices
    search: Search
    searching: Searching
    turn: TurnServer | None
    rule_book: RuleBook
    slots: Slots
    writer: Writer
    remote: Remote

    @property
    def sync(self) -> Sync:
        return self.syncing.sync

    @property
    def event_stream(self) -> EventStream:
        return self.syncing.event_stream

    @property
    def overview(self) -> Overview:
        return self.syncing.overview

    @property
    def initial_sync(self) -> InitialSync:
        return self.syncing.initial_sync

    @property
    def search_rebuild(self) -> Rebuild[EventRow]:
        return self.searching.rebuild


def build_house(
    database: Database,
    streams: Streams,
    server_name: str,
    key: SigningKey,
    clock: Clock,
    randomness: Randomness,
    *,
    directory: RemoteDirectory | None = None,
    go_abroad: Callable[[Remote], Abroad] | None = None,
    turn: TurnServer | None = None,
    presence_enabled: bool = True,
) -> House:
    """`directory` and `go_abroad` are None where this server talks to no other, `turn` without a TURN server.
    `go_abroad` makes what asks others, of what lets their answers in. `presence_enabled`: is told who is online."""
    rule_book, slots = RuleBook(), Slots(database)
    append = Append(server_name, rule_book)
    writer = Writer(Draft(server_name, key, clock, randomness), append, Heads())
    typing, roster = Typing(database, streams.positions, streams.publisher), Roster()
    presence = Presence(database, streams.publisher, roster, clock, server_name, enabled=presence_enabled)
    searching = build_search(database, streams, clock)
    aliases = Aliases(database, writer, directory)
    remote = _build_remote(database, writer, append, clock, server_name, key)
    abroad = None if go_abroad is None else go_abroad(remote)
    membership = Membership(database, writer, clock, aliases, None if abroad is None else abroad.rooms, directory)
    history = History(database, clock, remote.backfilling, None if abroad is None else abroad.history)
    state = RoomState(database, clock, MemberLists(streams.publisher, streams.tail))
    rooms = InitialSync(database, history, state)
    create = Create(database, writer, membership, clock, randomness)
    return House(
        create=create,
        send=Send(database, writer, aliases),
        membership=membership,
        state=state,
        history=history,
        relations=Relations(database, clock),
        threads=Threads(database, clock),
        timestamps=Timestamps(database, None if abroad is None else abroad.history),
        receipts=Receipts(database, clock),
        typing=typing,
        presence=presence,
        syncing=_build_syncing(database, streams, clock, rule_book, slots, typing, presence, roster, rooms),
        refill=Refill(database, streams.tail, typing, presence, server_name),
        push_rules=PushRules(database, rule_book),
        aliases=aliases,
        directory=RoomDirectory(database, writer, directory),
        summaries=Summaries(database, aliases, directory),
        spaces=Spaces(database, directory),
        upgrade=Upgrade(database, writer, clock, randomness),
        reports=Reports(database, clock, server_name),
        mutual_rooms=MutualRooms(database),
        notices=Notices(database, writer, create, clock, randomness),
        search=searching.search,
        searching=searching,
        turn=turn,
        rule_book=rule_book,
        slots=slots,
        writer=writer,
        remote=remote,
    )


def _build_syncing(
    database: Database,
    streams: Streams,
    clock: Clock,
    rule_book: RuleBook,
    slots: Slots,
    typing: Typing,
    presence: Presence,
    roster: Roster,
    rooms: InitialSync,
) -> Syncing:
    unread = Unread(rule_book, slots)
    tables = Tables(clock, rule_book, unread, typing)
    publisher, tail, notifier = streams.publisher, streams.tail, streams.notifier
    present = PresenceSection(roster, clock)
    return Syncing(
        Sync(database, tables, unread, presence, present, publisher, tail, notifier, clock, streams.epoch),
        EventStream(database, tables, publisher, notifier, clock, streams.epoch),
        Overview(database, rooms, rule_book, present, clock),
        rooms,
    )


def _build_remote(
    database: Database, writer: Writer, append: Append, clock: Clock, server_name: str, key: SigningKey
) -> Remote:
    events = RemoteEvents(database, writer, append)
    out_of_band = OutOfBand(database, clock)
    return Remote(
        events=events,
        staging=Staging(database),
        entering=Entering(database, writer, append, clock),
        out_of_band=out_of_band,
        invited=Invited(database, events, out_of_band),
        hosting=Hosting(database, writer, events, server_name, key),
        backfilling=Backfilling(database, writer),
    )
