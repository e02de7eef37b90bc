"""The results as people read them: markdown tables, and the part of the documentation that they fill."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.benchmarks.growth import MOST_TIMES, Growth
from tests.benchmarks.results import Failure, Operation, Row

NOT_YET_AT_WORK = "user directory"
BEGIN = "<!-- figures: begin -->"
END = "<!-- figures: end -->"
BUSY_MACHINE = 0.3

Rows = Mapping[str, Mapping[str, Row]]


def ratio_text(ours: float, theirs: float) -> str:
    """Ours to theirs, as people say it: 1/13.2 or 1.4."""
    if ours <= 0 or theirs <= 0:
        return "–"
    return f"1/{theirs / ours:.1f}" if ours <= theirs else f"{ours / theirs:.1f}"


def holds(operation: Operation, ours: Row | None, theirs: Row | None) -> bool | None:
    """Whether the target is reached; None if there is none or if it cannot be said."""
    if ours is None:
        return None
    if operation.at_most is not None:
        return ours.figure <= operation.at_most
    if operation.one_in is None or theirs is None:
        return None
    return ours.figure * operation.one_in <= theirs.figure


def _number(value: float) -> str:
    """Three digits that count."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _figure(row: Row | None) -> str:
    return "–" if row is None else _number(row.figure)


def _latency(row: Row | None) -> str:
    if row is None or "p50_ms" not in row.detail:
        return "–"
    return f"{_number(row.detail['p50_ms'])} / {_number(row.detail['p99_ms'])}"


def _foreign(row: Row | None) -> str:
    return "–" if row is None or "foreign_load" not in row.detail else f"{row.detail['foreign_load']:.2f}"


def _verdict(value: bool | None) -> str:
    return {True: "yes", False: "**no**", None: ""}[value]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def comparison(operations: Sequence[Operation], rows: Rows, failed: set[tuple[str, str]]) -> str:
    """The table of Synapse and Parley; `failed` holds (server, operation) pairs whose answers were wrong."""
    lines = [
        _line(
            [
                "Operation",
                "unit",
                "Synapse",
                "Parley",
                "ratio",
                "target",
                "holds?",
                "Synapse p50 / p99 ms",
                "Parley p50 / p99 ms",
                "foreign load (Synapse, Parley)",
            ]
        ),
        _line(["---", "---", "---:", "---:", "---:", "---:", "---", "---:", "---:", "---:"]),
    ]
    for operation in operations:
        theirs = rows.get("synapse", {}).get(operation.key)
        ours = rows.get("parley", {}).get(operation.key)
        wrong = {server for server in ("synapse", "parley") if (server, operation.key) in failed}
        if theirs is None and ours is None and not wrong:
            continue
        verdict = _verdict(False if "parley" in wrong else holds(operation, ours, theirs))
        lines.append(
            _line(
                [
                    operation.title,
                    operation.unit,
                    "wrong" if "synapse" in wrong else _figure(theirs),
                    "wrong" if "parley" in wrong else _figure(ours),
                    ratio_text(ours.figure, theirs.figure) if ours and theirs and not wrong else "–",
                    operation.target,
                    verdict,
                    _latency(theirs),
                    _latency(ours),
                    f"{_foreign(theirs)}, {_foreign(ours)}",
                ]
            )
        )
    return "\n".join(lines)


def crowd_text(rows: Rows) -> str | None:
    """What the crowd's lines of the table leave out; None if it was not played."""
    own = rows.get("parley", {})
    if "crowd" not in own or "crowd_memory" not in own or "crowd_statements" not in own:
        return None
    latency, memory, statements = own["crowd"].detail, own["crowd_memory"], own["crowd_statements"].detail
    return (
        f"Of the crowd: {latency['count']:,.0f} deliveries, each {latency['cpu_ms']:.3f} ms of CPU with its part of the"
        f" sending; {memory.detail['idle_mb']:.0f} MB while all wait, {memory.figure:.0f} MB under load. A client that"
        f" has missed a few messages needs {statements['quiet']:.1f} statements to come back when all is quiet, BEGIN"
        f" and COMMIT included, and {statements['crowd']:.1f} when everybody does."
    )


def growth_table(growth: Growth) -> str:
    """The table of Parley without and with the events of other rooms."""
    lines = [
        f"With {growth.events:,} events of other rooms in the database (ms CPU, target: at most {MOST_TIMES:g}×):",
        "",
        _line(["Operation", "without", "with", "ratio", "holds?"]),
        _line(["---", "---:", "---:", "---:", "---"]),
    ]
    for key, empty in growth.empty.items():
        filled = growth.filled[key]
        times = filled.figure / empty.figure
        verdict = _verdict(times <= MOST_TIMES)
        lines.append(_line([empty.operation.title, _figure(empty), _figure(filled), f"{times:.2f}", verdict]))
    return "\n".join(lines)


def conditions(environment: Mapping[str, str], rows: Rows) -> str:
    """Under which circumstances the figures were taken, and whether they deserve trust."""
    lines = [f"{name}: {value}" for name, value in environment.items()]
    loads = [row.detail.get("foreign_load", 0.0) for server in rows.values() for row in server.values()]
    if loads and max(loads) > BUSY_MACHINE:
        lines.append(f"Others used up to {max(loads):.2f} cores meanwhile: trust ratios, not times.")
    lines.append(f"Not yet at work on Parley's side: {NOT_YET_AT_WORK}.")
    return "\n".join(f"- {line}" for line in lines)


def failures_text(failures: Sequence[Failure]) -> str:
    """What went wrong, one line each."""
    return "\n".join(f"- {f.server}, {f.scenario}, round {f.round}: {f.why}" for f in failures)


def report(
    operations: Sequence[Operation],
    rows: Rows,
    environment: Mapping[str, str],
    failures: Sequence[Failure],
    failed: set[tuple[str, str]],
    growth: Growth | str,
) -> str:
    """Everything in markdown; `growth` is a reason where it was not measured."""
    parts = [comparison(operations, rows, failed), conditions(environment, rows)]
    crowd = crowd_text(rows)
    if crowd is not None:
        parts.append(crowd)
    parts.append(growth if isinstance(growth, str) else growth_table(growth))
    if failures:
        parts.append(f"Wrong answers:\n\n{failures_text(failures)}")
    return "\n\n".join(parts)


def write_into(document: Path, text: str) -> None:
    """Replaces what stands between the two marks of the document."""
    before, begin, rest = document.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{document} lacks the marks {BEGIN} and {END}")
    document.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")
