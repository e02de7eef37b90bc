"""Search finds what a scan of everything finds, and never what the reader may not see.

Random people in random rooms say random things in five scripts and more, edit them, redact them, come and go. Then
parts of what was said are searched for by each of them, and compared with the texts of what each may read.
"""

import random
import re

import pytest

from tests.builders.search import index_everything
from tests.services.rooms.scene import ALICE, BOB, CAROL, Scene, examples
from tests.services.search.asking import ask_all, folded, visible

pytestmark = pytest.mark.asyncio(loop_scope="module")

# Words of scripts with spaces, and texts of scripts without.
SPACED = {
    "latin": "meeting reports Zürich straße naïve banana bandana ananas internationalisation",
    "cyrillic": "привет Москва собрание банан дорога подъезд",
    "arabic": "مرحبا اجتماع كتاب مكتبة كاتب",
    "devanagari": "नमस्ते किताब दोस्ती विद्यालय",
}
DENSE = {
    "han": "今天会议纪要准备会场议程天气",
    "kana": "こんにちはカタカナをひらがな",
    "thai": "สวัสดีประชุมวันนี้ตลาด",
    "emoji": "😀🎉👍🏽🚀",
}
SHORT = ("go", "ui", "we", "я", "5")
VISIBILITIES = ("shared", "joined", "invited", "world_readable")
PEOPLE = (ALICE, BOB, CAROL)


class World:
    """What was said: `texts` by event id, as it stands there now; None once it is redacted."""

    def __init__(self, scene: Scene, seed: int) -> None:
        self._scene = scene
        self.choose = random.Random(seed)
        self.rooms: list[str] = []
        self.texts: dict[str, str | None] = {}
        self.edits: dict[str, str] = {}
        self._said: list[tuple[str, str, str]] = []
        self.guests: dict[str, set[str]] = {}
        self._inside: dict[str, set[str]] = {}

    async def begin(self) -> None:
        for visibility in self.choose.sample(VISIBILITIES, 3):
            initial = [
                {"type": "m.room.history_visibility", "state_key": "", "content": {"history_visibility": visibility}}
            ]
            room = await self._scene.room(initial_state=initial)
            self.rooms.append(room)
            self._inside[room], self.guests[room] = {ALICE}, {ALICE}

    async def step(self) -> None:
        """Somebody says, edits or redacts something, comes or goes."""
        room = self.choose.choice(self.rooms)
        inside = self._inside[room]
        what = self.choose.random()
        if what < 0.08:
            user = self.choose.choice((BOB, CAROL))
            if user in inside:
                await self._scene.services.membership.leave(user, room)
                inside.discard(user)
            else:
                await self._scene.services.membership.join(user, room)
                inside.add(user)
                self.guests[room].add(user)
        elif what < 0.2 and self._said:
            await self._change(edit=self.choose.random() < 0.7)
        else:
            user, text = self.choose.choice(sorted(inside)), self.text()
            event_id = await self._scene.say(user, room, text)
            self.texts[event_id] = text
            self._said.append((user, room, event_id))

    async def _change(self, *, edit: bool) -> None:
        user, room, event_id = self.choose.choice(self._said)
        if user not in self._inside[room] or self.texts[event_id] is None:
            return
        if not edit:
            await self._scene.redact(user, room, event_id)
            self.texts[event_id] = None
            return
        text = self.text()
        self.edits[event_id] = await self._scene.say(
            user,
            room,
            f"* {text}",
            **{
                "m.new_content": {"msgtype": "m.text", "body": text},
                "m.relates_to": {"rel_type": "m.replace", "event_id": event_id},
            },
        )
        self.texts[event_id] = text
        self._scene.clock.ms += 1

    def text(self) -> str:
        parts: list[str] = []
        for _ in range(self.choose.randint(1, 5)):
            kind = self.choose.random()
            if kind < 0.55:
                words = self.choose.choice(sorted(SPACED.values())).split()
                parts.append(self.choose.choice(words))
            elif kind < 0.85:
                source = self.choose.choice(sorted(DENSE.values()))
                begin = self.choose.randrange(len(source))
                parts.append(source[begin : begin + self.choose.randint(1, 6)])
            else:
                parts.append(self.choose.choice(SHORT))
        return self.choose.choice((" ", " ", ", ", "\n")).join(parts)

    def term(self) -> tuple[str, str]:
        """Something to search for, and a pattern that a scan looks for."""
        kind = self.choose.random()
        if kind < 0.5:
            word = self.choose.choice(self.choose.choice(sorted(SPACED.values())).split())
            begin = self.choose.randint(0, len(word) - 3)
            part = word[begin : begin + self.choose.randint(3, 8)]
            return self.choose.choice((part, part.upper().lower())), re.escape(folded(part))
        if kind < 0.85:
            source = self.choose.choice(sorted(DENSE.values()))
            begin = self.choose.randrange(len(source))
            part = source[begin : begin + self.choose.randint(1, 3)]
            return part, re.escape(folded(part))
        part = self.choose.choice(SHORT)
        return part, rf"(?<!\w){part}(?![a-zа-я0-9])"


@pytest.mark.parametrize("seed", range(examples(3)))
async def test_search_equals_scan(scene: Scene, seed: int) -> None:
    """For everybody, for one word and for two."""
    world = World(scene, seed)
    await world.begin()
    for _ in range(150):
        await world.step()
    await index_everything(scene.database)
    readable: dict[str, list[str]] = {}
    for user in PEOPLE:
        readable[user] = []
        # Not those that are open to the world, and in which they never were.
        for room in (one for one in world.rooms if user in world.guests[one]):
            seen = await visible(scene, user, room)
            readable[user] += [one for one in seen if one in world.texts and world.edits.get(one, one) in seen]

    found_something = 0
    for _ in range(60):
        terms = [world.term() for _ in range(world.choose.choice((1, 1, 2)))]
        for user in PEOPLE:
            scanned = [
                event_id
                for event_id in readable[user]
                if (text := world.texts[event_id]) is not None
                and all(re.search(pattern, folded(text)) for _, pattern in terms)
            ]
            asked = " ".join(term for term, _ in terms)
            told = await ask_all(scene, user, asked, limit=world.choose.choice((3, 100)))
            mine = [event_id for event_id in told if event_id in world.texts]
            assert sorted(mine) == sorted(scanned), (user, asked)
            assert len(set(told)) == len(told)
            found_something += bool(scanned)
    assert found_something > 50
