"""Asks case after case, and collects what the server may not answer: a 500, an error without `errcode` and `error`,
anything that the facts do not allow, more than LARGEST bytes, and nothing at all within `PATIENCE`."""

import asyncio
import random
import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.clients.conftest import Served
from tests.conformance.client import Answer
from tests.fuzz.cases import Case, Cases
from tests.fuzz.world import World

# Far above the longest wait of a case: what takes longer hangs.
PATIENCE = 30.0
# Bytes of an answer: far above what the rooms of the world need, and far below what all of them together hold.
LARGEST = 10_000_000
# As the spec names them, and as we do: https://spec.matrix.org/v1.19/client-server-api/#standard-error-response
ERRCODE = re.compile(r"(M|IO\.PARLEY)[A-Z_.]+")
# The world gets new rooms so often.
REFRESH = 150
# Findings that look alike are told once.
SHOWN = 40


@dataclass
class Report:
    """What came of a run."""

    seed: int
    cases: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    findings: dict[str, str] = field(default_factory=dict)
    # (seconds, route) and (bytes, route) of the worst.
    slowest: tuple[float, str] = (0.0, "")
    largest: tuple[int, str] = (0, "")

    def note(self, case: Case, answer: Answer, seconds: float) -> None:
        label = case.route.label
        self.statuses[f"{label} {answer.status // 100}xx"] += 1
        self.slowest = max(self.slowest, (seconds, label))
        self.largest = max(self.largest, (len(answer.raw), label))
        if len(answer.raw) > LARGEST:
            self.find(case, f"an answer of {len(answer.raw):,} bytes")
        # That there is one is a fact of the answer; the first answer of user-interactive authentication needs none.
        errcode = answer.body.get("errcode") if answer.status >= 400 else None
        if errcode is not None and not ERRCODE.fullmatch(errcode):
            self.find(case, f"no errcode: {errcode}")

    def find(self, case: Case, what: str) -> None:
        alike = f"{case.route.label}: {what.splitlines()[0].partition(' -> ')[2] or what[:80]} {what.splitlines()[1:2]}"
        if alike not in self.findings and len(self.findings) < SHOWN:
            self.findings[alike] = f"case {self.cases} of seed {self.seed}\n  {case.told}\n  {what}"

    def succeeded(self) -> set[str]:
        """The routes that ever answered 2xx."""
        return {label.rsplit(" ", 1)[0] for label in self.statuses if label.rsplit(" ", 1)[1] == "2xx"}


async def fuzz(served: Served, cases: int, seed: int, watch: Callable[[int], None] = lambda number: None) -> Report:
    """Asks `cases` requests, one after the other; `watch` is told the number of each before it is asked."""
    dice = random.Random(seed)
    world = World(served, dice)
    await world.begin()
    stranger = await served.stranger()
    deal, report = Cases(world, dice), Report(seed)
    for report.cases in range(1, cases + 1):
        watch(report.cases)
        case = deal.next()
        client = stranger if case.person is None else world.people[case.person]
        began = time.perf_counter()
        try:
            async with asyncio.timeout(PATIENCE):
                answer = await client.ask(
                    case.route.method, case.path, case.body, query=case.query, headers=case.headers
                )
        except AssertionError as problem:
            report.find(case, str(problem))
            report.statuses[f"{case.route.label} bad"] += 1
            continue
        except TimeoutError:
            report.find(case, f"no answer within {PATIENCE:g} s")
            continue
        report.note(case, answer, time.perf_counter() - began)
        world.learn(answer)
        if report.cases % REFRESH == 0 or (case.person is not None and is_lost(answer)):
            try:
                await world.renew()
            except AssertionError as problem:
                report.find(case, f"after this the world is broken: {problem}")
                await world.replace_people()
    return report


def is_lost(answer: Answer) -> bool:
    """Whether the token is good no more: by a logout, another password, or the end of the account."""
    if answer.status == 401 and isinstance(answer.body, dict):
        return answer.body.get("errcode") == "M_UNKNOWN_TOKEN"
    return False
