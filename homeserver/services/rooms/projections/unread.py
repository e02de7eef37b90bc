"""Unread counts: the room's ordinals advance by what the event means to each class of push rules.

Nothing is written per member: users named by the event get a row each if it means something else to them than to
their class (architecture.md, section 7).
"""

from homeserver.domain.push_rules import EventView, named_users
from homeserver.services.push.rule_book import RuleBook
from homeserver.services.rooms.changes import Appended
from homeserver.services.rooms.room import LockedRoom
from homeserver.storage.counts import ONE_USER
from homeserver.streams.publications import SILENT, Notice


def apply(room: LockedRoom, appended: Appended, rule_book: RuleBook) -> list[int]:
    """The room's ordinals with the event counted; exceptions are written."""
    row, event = room.row, appended.stored.event
    view = EventView(event)
    power = room.power
    sender_power = power.of_user(event.sender)
    ordinals = list(row.ordinals)
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
            room.store.counts.add_exception(row.number, appended.position, slot, "", 0, 1)
    named = named_users(event)
    if named:
        _judge_named(room, appended, rule_book, view, named - {event.sender})
    return ordinals


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
            notice.notify - usual.notify,
            notice.highlight - usual.highlight,
        )
