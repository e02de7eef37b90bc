"""A short run of the fuzzer, always the same; `make fuzz` runs a long one, always another."""

from tests.clients.conftest import Served
from tests.fuzz.routes import declared_routes
from tests.fuzz.run import fuzz

CASES = 500


async def test_nothing_that_clients_send_is_answered_wrongly(served: Served) -> None:
    """Never a 500, always `errcode` and `error`, always what the facts allow; and many of the cases were good ones."""
    report = await fuzz(served, CASES, seed=1)
    assert not report.findings, "\n\n".join(report.findings.values())
    assert len(report.succeeded()) > len(declared_routes()) / 2
