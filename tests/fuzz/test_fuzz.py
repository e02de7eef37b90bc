"""A short run of the fuzzer, always the same; `make fuzz` runs a long one, always another."""

from pathlib import Path

from tests.builders.certificate import CertificateAuthority
from tests.builders.cluster import Cluster
from tests.clients.conftest import Served
from tests.federation.hostile import hostile_server
from tests.federation.ours import open_ours
from tests.fuzz.abroad import fuzz_abroad
from tests.fuzz.routes import declared_routes
from tests.fuzz.run import fuzz

CASES, OF_SERVERS = 500, 200


async def test_nothing_that_clients_send_is_answered_wrongly(served: Served) -> None:
    """Never a 500, always `errcode` and `error`, always what the facts allow; and many of the cases were good ones."""
    report = await fuzz(served, CASES, seed=1)
    assert not report.findings, "\n\n".join(report.findings.values())
    assert len(report.succeeded()) > len(declared_routes()) / 2


async def test_nothing_that_servers_send_is_answered_wrongly(cluster: Cluster, tmp_path: Path) -> None:
    """The same of what other servers send: PDUs and EDUs among it, signed well or badly."""
    authority = CertificateAuthority.make(tmp_path)
    async with open_ours(cluster, authority) as ours, hostile_server(ours, authority) as peer:
        report = await fuzz_abroad(ours, peer, OF_SERVERS, seed=1)
    assert not report.findings, "\n\n".join(report.findings.values())
    assert "PUT /_matrix/federation/v1/send/{txn_id}" in report.succeeded()
