"""Assembles the house: rooms, messaging and sync, bottom-up. Accounts and the doors have files of their own."""

from dataclasses import dataclass

from signedjson.types import SigningKey

from config.compose.storage import Streams
from homeserver.ports import Clock, Randomness
from homeserver.services.messaging.receipts import Receipts
from homeserver.services.messaging.typing import Typing
from homeserver.services.push.rule_book import RuleBook
from homeserver.services.push.rules import PushRules
from homeserver.services.push.slots import Slots
from homeserver.services.rooms.append import Append
from homeserver.services.rooms.create import Create
from homeserver.services.rooms.draft import Draft
from homeserver.services.rooms.history import History
from homeserver.services.rooms.membership import Membership
from homeserver.services.rooms.remote.backfilling import Backfilling
from homeserver.services.rooms.remote.entering import Entering
from homeserver.services.rooms.remote.out_of_band import OutOfBand
from homeserver.services.rooms.remote.receiving import RemoteEvents
from homeserver.services.rooms.room import Heads
from homeserver.services.rooms.send import Send
from homeserver.services.rooms.state import RoomState
from homeserver.services.rooms.writer import Writer
from homeserver.services.sync.counts import Unread
from homeserver.services.sync.loop import Sync
from homeserver.services.sync.refill import Refill
from homeserver.services.sync.tables import Tables
from homeserver.storage.database import Database


@dataclass(frozen=True, slots=True)
class Remote:
    """What the federation door needs of the rooms that other servers are in too."""

    events: RemoteEvents
    entering: Entering
    out_of_band: OutOfBand
    backfilling: Backfilling


@dataclass(frozen=True, slots=True)
class House:
    """What the doors are given."""

    create: Create
    send: Send
    membership: Membership
    state: RoomState
    history: History
    receipts: Receipts
    typing: Typing
    sync: Sync
    refill: Refill
    push_rules: PushRules
    rule_book: RuleBook
    slots: Slots
    writer: Writer
    remote: Remote


def build_house(
    database: Database,
    streams: Streams,
    server_name: str,
    key: SigningKey,
    clock: Clock,
    randomness: Randomness,
) -> House:
    rule_book = RuleBook()
    draft = Draft(server_name, key, clock, randomness)
    append = Append(server_name, rule_book)
    writer = Writer(draft, append, Heads())
    typing = Typing(database, streams.positions, streams.publisher)
    slots = Slots(database)
    unread = Unread(rule_book, slots)
    return House(
        create=Create(database, writer, clock, randomness),
        send=Send(database, writer),
        membership=Membership(database, writer, clock),
        state=RoomState(database, clock),
        history=History(database, clock),
        receipts=Receipts(database, clock),
        typing=typing,
        sync=Sync(
            database,
            Tables(clock, rule_book, unread, typing),
            unread,
            streams.publisher,
            streams.tail,
            streams.notifier,
            clock,
            streams.epoch,
        ),
        refill=Refill(database, streams.tail, typing, server_name),
        push_rules=PushRules(database, rule_book),
        rule_book=rule_book,
        slots=slots,
        writer=writer,
        remote=Remote(
            RemoteEvents(database, writer, append),
            Entering(database, writer, append, clock),
            OutOfBand(database, clock),
            Backfilling(database, writer),
        ),
    )
