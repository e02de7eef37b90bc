"""Compares our answers about a room with those of the oracle, and counts."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from homeserver.domain.authorization.selection import CREATE
from homeserver.domain.event import Event, StateMap
from tests.differential import ours
from tests.differential.cases import Room

# The questions whose answer is allow or deny; the reasons need not be the same.
VERDICTS = ("judgement", "auth_events")


@dataclass(frozen=True, slots=True)
class Difference:
    """One question to which the two sides give different answers.

    `event` and `state` are those of the question; of a resolution there are `forks`.
    """

    kind: str
    room: Room
    ours: Any
    theirs: Any
    event: Event | None = None
    state: tuple[Event, ...] = ()
    forks: tuple[StateMap, ...] = ()

    @property
    def crashed(self) -> bool:
        """Whether Synapse fell over the input instead of refusing it."""
        return isinstance(self.theirs, str) and self.theirs.startswith("crash")

    def describe(self) -> str:
        """The case for a reader: enough to write a test of it."""
        lines = [f"{self.kind} in room version {self.room.version.identifier}, room {self.room.seed}"]
        lines += [f"  ours:   {self.ours}", f"  theirs: {self.theirs}"]
        if self.event is not None:
            lines.append(f"  event:  {_event_line(self.event)}")
        lines += [f"  state:  {_event_line(event)}" for event in self.state]
        if self.forks:
            lines += self._describe_forks()
        return "\n".join(lines)

    def _describe_forks(self) -> list[str]:
        ids = list(self.room.events)
        lines = [f"  fork {n}: {sorted(ids.index(id_) for id_ in fork.values())}" for n, fork in enumerate(self.forks)]
        for number, (id_, event) in enumerate(self.room.events.items()):
            auth = [ids.index(auth_id) if auth_id in ids else "?" for auth_id in event.auth_events]
            mark = "rejected " if id_ in self.room.rejected else ""
            facts = f"{mark}auth={auth} depth={event.depth} ts={event.origin_server_ts}"
            lines.append(f"  {number:3} {_event_line(event)} {facts}")
        return lines


def _event_line(event: Event) -> str:
    return f"{event.type} {event.state_key!r} by {event.sender} {dict(event.content)!r} ({event.event_id})"


@dataclass(slots=True)
class Tally:
    """What was compared: how often each answer was given, by kind of question."""

    cases: int = 0
    answers: Counter[str] = field(default_factory=Counter)

    def note(self, kind: str, answer: object) -> None:
        verdict = answer.split(":", 1)[0] if isinstance(answer, str) and kind in VERDICTS else "answered"
        self.answers[f"{kind} {verdict}"] += 1


def differences(room: Room, answer: Mapping[str, Any], tally: Tally) -> Iterator[Difference]:
    """All disagreements about one room."""
    tally.cases += room.cases
    yield from _of_events(room, answer["events"], tally)
    for case, theirs in zip(room.judgements, answer["judgements"], strict=True):
        verdict = ours.judge(room, case)
        tally.note("judgement", verdict)
        tally.answers["judgement crashed there"] += theirs.startswith("crash")
        if (verdict == "allow") != (theirs == "allow"):
            state = tuple(room.events[id_] for id_ in case.state)
            yield Difference("judgement", room, verdict, theirs, room.events[case.event], state)
    for forks, theirs in zip(room.resolutions, answer["resolutions"], strict=True):
        resolved = ours.resolution(room, forks)
        tally.note("resolution", resolved)
        tally.answers["resolution with a conflict"] += any(fork != forks[0] for fork in forks)
        if resolved != theirs:
            yield Difference("resolution", room, resolved, theirs, forks=forks)


def _of_events(room: Room, answers: Sequence[Any], tally: Tally) -> Iterator[Difference]:
    """Ids, hashes, redaction, signature and auth-event selection of each event."""
    for event, theirs in zip(room.events.values(), answers, strict=True):
        if isinstance(theirs, str):
            yield Difference("event", room, "read", theirs, event)
            continue
        for kind, value in ours.facts(room, event).items():
            tally.note(kind, value)
            if _comparable(room, kind, value) != _comparable(room, kind, theirs[kind]):
                yield Difference(kind, room, value, theirs[kind], event)


def _comparable(room: Room, kind: str, value: Any) -> Any:
    """An answer with what is mere form taken away."""
    if kind in VERDICTS:
        return value == "allow"
    if kind != "selection" or not isinstance(value, list):
        return value
    # Synapse names the create event in every version and leaves it out elsewhere when it makes an event of version 12.
    # And it names keys that are no text, at which no event can stand.
    keys = sorted((type, key) for type, key in value if isinstance(key, str))
    return [key for key in keys if not (room.version.privileged_creators and key == CREATE)]
