"""What a measurement says: operations with their targets, samples of them, and medians over rounds.

Pure values; how they are taken is in phase.py, how they are printed in table.py.
"""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Unit = Literal["ms CPU", "ms p99", "MB", "ms CPU a second", "s", "times"]


@dataclass(frozen=True)
class Operation:
    """A line of the table: what is measured, in which unit, and what Parley is to reach.

    `one_in` is a ratio to the Synapse of the same run (13: at most 1/13), `at_most` a bound in the unit itself;
    an operation with neither is measured for information.
    """

    key: str
    title: str
    unit: Unit = "ms CPU"
    one_in: int | None = None
    at_most: float | None = None

    @property
    def target(self) -> str:
        if self.one_in is not None:
            return f"1/{self.one_in}"
        return f"at most {self.at_most:g} {self.unit}" if self.at_most is not None else ""


@dataclass(frozen=True)
class Sample:
    """One measurement of one operation on one server in one round.

    `figure` is in the operation's unit; `detail` holds the rest: p50, p99, server and database apart, per second,
    the driver's own CPU, the load that others put on the machine, and seconds until quiet.
    """

    operation: str
    figure: float
    detail: dict[str, float]


@dataclass(frozen=True)
class Failure:
    """A scenario whose answers were wrong, or that did not end: no figure of it counts."""

    scenario: str
    server: str
    round: int
    why: str


@dataclass(frozen=True)
class Row:
    """The medians of one operation on one server."""

    operation: Operation
    figure: float
    detail: dict[str, float]
    rounds: int


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of the values lie (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def median_row(operation: Operation, samples: Sequence[Sample]) -> Row:
    """The median of each number over the rounds."""
    keys = dict.fromkeys(key for sample in samples for key in sample.detail)
    detail = {key: statistics.median(sample.detail[key] for sample in samples if key in sample.detail) for key in keys}
    return Row(operation, statistics.median(sample.figure for sample in samples), detail, len(samples))


def median_rows(operations: Iterable[Operation], samples: Sequence[Sample]) -> dict[str, Row]:
    """The rows of one server, for the operations that it has samples of."""
    rows = {}
    for operation in operations:
        own = [sample for sample in samples if sample.operation == operation.key]
        if own:
            rows[operation.key] = median_row(operation, own)
    return rows


def as_json(value: Any) -> Any:
    """A dataclass of this module as JSON can hold it."""
    return asdict(value)
