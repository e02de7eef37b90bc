"""What the people of a generated room try next: mostly what they may, sometimes what they may not."""

from collections.abc import Callable
from random import Random
from typing import Any

from homeserver.domain.authorization.selection import CREATE
from homeserver.domain.event import Event, StateMap
from tests.differential import contents
from tests.differential.contents import EVENT_TYPES, NO_USERS, ODD_USERS, USERS, chance
from tests.differential.history import History, Intent

ODDNESS = 0.08


class Scene:
    """The room as the next sender sees it, and the dice."""

    def __init__(self, history: History, state: StateMap) -> None:
        self.rng: Random = history.rng
        self.history = history
        self.version = history.version
        self.state = state
        self.sender = self._sender()

    def at(self, type: str, state_key: str) -> Event | None:
        event_id = self.state.get((type, state_key))
        return None if event_id is None else self.history.events[event_id]

    def membership(self, user: str) -> Any:
        event = self.at("m.room.member", user)
        return None if event is None else event.content.get("membership")

    def those(self, membership: str) -> list[str]:
        return [user for user in USERS if self.membership(user) == membership]

    def level(self, user: str) -> int:
        """A rough idea of a level: only what people believe, no rule."""
        powers = self.at("m.room.power_levels", "")
        users = powers.content.get("users") if powers is not None else None
        value = users.get(user) if isinstance(users, dict) else None
        if isinstance(value, int):
            return value
        create = self.at(*CREATE)
        return 100 if create is not None and user in (create.sender, create.content.get("creator")) else 0

    def pick(self, users: list[str]) -> str:
        """One of `users` if there is any, else anybody."""
        return self.rng.choice(users) if users and chance(self.rng, 0.93) else self.anybody()

    def anybody(self) -> str:
        return self.rng.choice(ODD_USERS if chance(self.rng, 0.03) else USERS)

    def _sender(self) -> str:
        joined = self.those("join")
        if not joined or chance(self.rng, 0.05):
            return self.anybody()
        strong = sorted(joined, key=self.level)[-2:]
        return self.rng.choice(strong if chance(self.rng, 0.6) else joined)

    def member(self, target: str, membership: Any, sender: str | None = None) -> Intent:
        content: dict[str, Any] = {"membership": membership}
        if chance(self.rng, 0.1):
            content["displayname"] = self.rng.choice(("Name", None, 5))
        return Intent(self.sender if sender is None else sender, "m.room.member", content, target)


def join(scene: Scene) -> Intent:
    outside = [user for user in USERS if scene.membership(user) != "join"]
    user = scene.pick(scene.those("invite") if chance(scene.rng, 0.4) else outside)
    intent = scene.member(user, "join", user if chance(scene.rng, 0.97) else None)
    if chance(scene.rng, 0.35):
        odd: tuple[Any, ...] = (None, 5, "", "nobody", ["@alice:one.test"])
        guarantor = scene.rng.choice(odd) if chance(scene.rng, ODDNESS) else scene.pick(scene.those("join"))
        intent.content["join_authorised_via_users_server"] = guarantor
    return intent


def invite(scene: Scene) -> Intent:
    outside = [user for user in USERS if scene.membership(user) not in ("join", "ban")]
    return scene.member(scene.pick(outside), "invite")


def leave(scene: Scene) -> Intent:
    user = scene.pick([user for user in USERS if scene.membership(user) in ("join", "invite", "knock")])
    return scene.member(user, "leave", user)


def kick(scene: Scene) -> Intent:
    return scene.member(scene.pick(scene.those("join") + scene.those("invite")), "leave")


def ban(scene: Scene) -> Intent:
    return scene.member(scene.pick(list(USERS)), "ban")


def unban(scene: Scene) -> Intent:
    return scene.member(scene.pick(scene.those("ban")), "leave")


def knock(scene: Scene) -> Intent:
    user = scene.pick([user for user in USERS if scene.membership(user) != "join"])
    return scene.member(user, "knock", user if chance(scene.rng, 0.95) else None)


def odd_member(scene: Scene) -> Intent:
    """A member event with a membership, a target or a place that is none."""
    intent = scene.member(scene.anybody(), "join")
    kind = scene.rng.random()
    if kind < 0.5:
        return Intent(intent.sender, intent.type, contents.odd_member(scene.rng), intent.state_key)
    membership = {"membership": scene.rng.choice(("join", "invite", "leave", "ban", "knock"))}
    if kind < 0.7:
        return Intent(intent.sender, intent.type, membership, None)
    return Intent(intent.sender, intent.type, membership, scene.rng.choice(NO_USERS + ODD_USERS))


def power_levels(scene: Scene) -> Intent:
    powers = scene.at("m.room.power_levels", "")
    current = {"users": {scene.sender: 100}} if powers is None else powers.content
    if powers is None and scene.version.privileged_creators and chance(scene.rng, 0.9):
        current = {"users": {}}
    content = contents.power_levels(scene.rng, scene.version, current, scene.level(scene.sender), ODDNESS)
    return Intent(scene.sender, "m.room.power_levels", content, "" if chance(scene.rng, 0.98) else "other")


def join_rules(scene: Scene) -> Intent:
    return Intent(scene.sender, "m.room.join_rules", contents.join_rules(scene.rng, ODDNESS), "")


def third_party_room_invite(scene: Scene) -> Intent:
    content = contents.third_party_room_invite(scene.rng, ODDNESS)
    return Intent(scene.sender, "m.room.third_party_invite", content, scene.rng.choice(("token", "token2")))


def third_party_invite(scene: Scene) -> Intent:
    target = scene.pick([user for user in USERS if scene.membership(user) not in ("join", "ban")])
    token = scene.rng.choice(("token", "token2"))
    promise = scene.at("m.room.third_party_invite", token)
    sender = scene.sender if promise is None or chance(scene.rng, 0.2) else promise.sender
    return Intent(sender, "m.room.member", contents.third_party_invite(scene.rng, target, token, 2 * ODDNESS), target)


def plain_state(scene: Scene) -> Intent:
    types = ("m.room.name", "m.room.topic", "m.room.history_visibility", "m.room.tombstone", "org.odd")
    odd_keys = (*USERS, "@", "@nobody", "key", "one.test", "_@alice:one.test", "")
    state_key = scene.rng.choice(odd_keys) if chance(scene.rng, 0.25) else ""
    return Intent(scene.sender, scene.rng.choice(types), contents.plain_state(scene.rng), state_key)


def aliases(scene: Scene) -> Intent:
    domain = scene.sender.split(":", 1)[1]
    state_key = scene.rng.choice((domain, domain, domain, "one.test", "", None, scene.sender))
    sender = scene.anybody() if chance(scene.rng, 0.4) else scene.sender
    return Intent(sender, "m.room.aliases", {"aliases": ["#a:one.test"], "other": 1}, state_key)


def redaction(scene: Scene) -> Intent:
    odd: tuple[Any, ...] = ("$unknown:one.test", "$" + "A" * 43, "no id", "")
    target = scene.rng.choice(odd) if chance(scene.rng, 0.1) else scene.rng.choice(list(scene.history.events))
    state_key = "" if chance(scene.rng, 0.05) else None
    return Intent(scene.sender, "m.room.redaction", {"reason": "because"}, state_key, target)


def message(scene: Scene) -> Intent:
    types = (*EVENT_TYPES, "m.room.member") if chance(scene.rng, 0.1) else ("m.room.message",)
    content = {"msgtype": "m.text", "body": "hi"} if chance(scene.rng, 0.5) else contents.plain_state(scene.rng)
    return Intent(scene.sender, scene.rng.choice(types), content)


def second_create(scene: Scene) -> Intent:
    content = contents.create(scene.rng, scene.version, scene.sender)
    contents.spoil_create(scene.rng, content)
    return Intent(scene.sender, "m.room.create", content, "")


ACTIONS: dict[Callable[[Scene], Intent], int] = {
    join: 20,
    invite: 9,
    leave: 5,
    kick: 6,
    ban: 6,
    unban: 4,
    knock: 5,
    odd_member: 3,
    power_levels: 16,
    join_rules: 8,
    third_party_room_invite: 4,
    third_party_invite: 5,
    plain_state: 10,
    aliases: 3,
    redaction: 5,
    message: 5,
    second_create: 1,
}


def next_intent(history: History, state: StateMap) -> Intent:
    """Somebody's next wish, given the state that he sees."""
    scene = Scene(history, state)
    (action,) = scene.rng.choices(list(ACTIONS), list(ACTIONS.values()))
    return action(scene)
