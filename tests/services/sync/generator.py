"""Ugly histories: what people of this server and of another do in a few rooms, in an order that nobody would choose.

`plan` makes a list of steps from a seed; a `Story` (story.py) plays them. An action is a verb and a few numbers that
choose who, where and what among those that there are when it is played, so that a plan stays playable whatever is cut
out of it: `shrink` cuts what a failure does not need. What the rules refuse does not happen.
"""

import os
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from tests.services.sync.world import World

VERBS: Mapping[str, int] = {
    "message": 20, "reply": 8, "mention": 4, "repeat": 2, "thread_receipt": 3,
    "state": 8, "visibility": 2, "join_rules": 3, "power": 3,
    "join": 8, "leave": 4, "kick": 2, "ban": 2, "unban": 2, "invite": 5, "knock": 2, "forget": 2, "rename": 3,
    "redact": 5, "receipt": 8, "fully_read": 2, "type": 5, "data": 4, "ignore": 2, "create": 2, "rule": 3,
    "present": 4, "pass": 6,
}  # fmt: skip
REMOTE_VERBS: Mapping[str, int] = {"remote": 5, "late": 5, "merge": 3, "heard": 3}
# Late state: only those who are told the state after an answer can follow it.
FORKING_VERBS: Mapping[str, int] = {"late_state": 6, "late_member": 3}


@dataclass(frozen=True, slots=True)
class Action:
    verb: str
    picks: tuple[int, ...]


# What happens at the same time.
Step = tuple[Action, ...]


def examples(few: int) -> range:
    """Seeds: a few, or as many as PARLEY_TEST_EXAMPLES says; from PARLEY_TEST_SEED on."""
    first = int(os.environ.get("PARLEY_TEST_SEED", "0"))
    return range(first, first + int(os.environ.get("PARLEY_TEST_EXAMPLES", few)))


def plan(seed: int, length: int, verbs: Mapping[str, int]) -> list[Step]:
    chance = random.Random(seed)
    steps: list[Step] = []
    for _ in range(length):
        at_once = chance.choice((1, 1, 1, 1, 1, 1, 2, 4))
        chosen = chance.choices(list(verbs), list(verbs.values()), k=at_once)
        steps.append(tuple(Action(verb, tuple(chance.randrange(1 << 16) for _ in range(5))) for verb in chosen))
    return steps


async def shrink(
    steps: Sequence[Step], fails: Callable[[Sequence[Step]], Awaitable[bool]], attempts: int = 30
) -> list[Step]:
    """Steps that fail too, without most of those that do not matter."""
    kept, size = list(steps), max(1, len(steps) // 2)
    while attempts > 0:
        place, shorter = 0, False
        while place < len(kept) and attempts > 0:
            fewer = kept[:place] + kept[place + size :]
            attempts -= 1
            if fewer and await fails(fewer):
                kept, shorter = fewer, True
            else:
                place += size
        if size == 1 and not shorter:
            break
        size = max(1, size // 2)
    return kept


Play = Callable[[World, int, Sequence[Step]], Awaitable[None]]


async def play_all(world: World, play: Play, seed: int, steps: Sequence[Step]) -> None:
    """Plays the steps; if that fails, fails with as few of them as will do."""

    async def fails(fewer: Sequence[Step]) -> bool:
        try:
            await play(world, seed, fewer)
        except AssertionError:
            return True
        return False

    try:
        await play(world, seed, steps)
    except AssertionError as error:
        fewer = tell(await shrink(steps, fails))
        error.add_note(f"seed {seed} (PARLEY_TEST_SEED={seed} PARLEY_TEST_EXAMPLES=1), as few steps as fail:\n{fewer}")
        raise


def tell(steps: Sequence[Step]) -> str:
    return "\n".join(" & ".join(f"{action.verb}{action.picks}" for action in step) for step in steps)
