"""Unread counts: the room's ordinals, or its thread's, advance by what the event means to each class of push rules.

Nothing is written per member: users named by the event get a row each if it means something else to them than to
their class (architecture.md, section 7).
"""

from homeserver.domain.push_conditions import EventView
from homeserver.domain.push_rules import named_users
from homeserver.services.push.rule_book import RuleBook
from homeserver.services.rooms.changes import Appended
from homeserver.services.rooms.room import LockedRoom
from homeserver.storage.counts import MAIN, ONE_USER
from homeserver.storage.threads import ThreadEvent
from homeserver.streams.publications import SILENT, Notice


def apply(room: LockedRoom, appended: Appended, rule_book: RuleBook) -> list[int]:
    """The room's ordinals, in which no event of a thread counts. Exceptions and the thread's ordinals are written."""
    row, event = room.row, appended.stored.event
    view = EventView(event)
    power = room.power
    sender_power = power.of_user(event.sender)
    thread = appended.thread_id
    ordinals = list(row.ordinals) if thread is None else _ordinals_of_thread(room, thread)
    for slot, rules in enumerate(rule_book.get(room.store, row.classes)):
        if rules.asks_display_name:
            # A class of one: only its owner's rules ask for that name.
            display = _display_name(room, rules.user_id)
            outcome = rules.evaluate(view, row.joined, sender_power, power.for_notification, display)
        else:
            outcome = rules.evaluate_class(view, row.joined, sender_power, power.for_notification)
        notice = appended.classes[row.classes[slot]] = Notice(outcome.notify, outcome.highlight)
        if notice.notify:
            ordinals[slot] += 1
        if notice.highlight:
            room.store.counts.add_exception(row.number, appended.position, slot, "", thread or MAIN, 0, 1)
    named = named_users(event)
    if named:
        _judge_named(room, appended, rule_book, view, named - {event.sender})
    if thread is None:
        return ordinals
    room.store.threads.add_event(
        ThreadEvent(row.number, thread, appended.position, appended.stored.number, event.sender, ordinals)
    )
    return list(row.ordinals)


def _ordinals_of_thread(room: LockedRoom, thread: str) -> list[int]:
    """One for each slot of the room, which may have got more slots since the thread's last event."""
    ordinals = room.store.threads.find_ordinals(room.row.number, thread) or []
    return ordinals + [0] * (len(room.row.classes) - len(ordinals))


def _display_name(room: LockedRoom, user_id: str) -> str | None:
    member = room.lookup(("m.room.member", user_id))
    name = None if member is None else member.content.get("displayname")
    return name if isinstance(name, str) else None


def _judge_named(
    room: LockedRoom, appended: Appended, rule_book: RuleBook, view: EventView, named: frozenset[str]
) -> None:
    row, power, store = room.row, room.power, room.store
    joined = store.memberships.list_local_joined(row.number, named)
    classes = rule_book.classes_of(store, list(joined), row.number)
    for user_id, display in joined.items():
        rules = rule_book.personal(store, user_id, classes[user_id])
        sender_power = power.of_user(view.event.sender)
        outcome = rules.evaluate(view, row.joined, sender_power, power.for_notification, display)
        notice = Notice(outcome.notify, outcome.highlight)
        usual = appended.classes.get(classes[user_id], SILENT)
        if notice == usual:
            continue
        appended.named[user_id] = notice
        store.counts.add_exception(
            row.number,
            appended.position,
            ONE_USER,
            user_id,
            appended.thread_id or MAIN,
            notice.notify - usual.notify,
            notice.highlight - usual.highlight,
        )
