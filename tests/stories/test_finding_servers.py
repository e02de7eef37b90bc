"""Story: somebody asks Parley for the keys of a server of which it never heard.

stranger        GET /_matrix/key/v2/query/one.test
Parley          asks DNS where one.test is, and one.test for its keys, over TLS
Parley          answers with the keys, and vouches for them
"""

from pathlib import Path

import aiohttp

from federation.names import Service
from tests.builders.certificate import CertificateAuthority
from tests.builders.dns import dns_server
from tests.builders.identity import Peer as Identity
from tests.builders.peer import Reply, running_peer
from tests.builders.process import running_server


async def test_a_server_is_found_by_its_service_record(place: Path) -> None:
    """In a real process DNS runs on Twisted's reactor, beside everything else; whose certificates count, is set."""
    authority, one = CertificateAuthority.make(place / "authority"), Identity("one.test")
    async with dns_server() as dns, running_peer(authority, "one.test") as host:
        host.answer = lambda asked: Reply(200, one.keys())
        dns.services["_matrix-fed._tcp.one.test"] = [Service(1, 1, host.port, "host.test")]
        dns.addresses["host.test"] = ["127.0.0.1"]
        variables = {
            "PARLEY_NETWORK_DNS_SERVERS": dns.address,
            "PARLEY_FEDERATION_CA_FILE": str(authority.ca_file),
        }
        async with running_server(place, variables=variables) as parley, aiohttp.ClientSession() as session:
            for _ in range(2):
                async with session.get(f"{parley.url}/_matrix/key/v2/query/one.test") as response:
                    assert response.status == 200
                    (told,) = (await response.json())["server_keys"]
                    assert told["verify_keys"] == one.keys()["verify_keys"]
                    assert set(told["signatures"]) == {"one.test", "localhost"}
        (asked,) = host.asked
        assert (asked.target, asked.headers["host"], asked.sni) == ("/_matrix/key/v2/server", "one.test", "one.test")
        assert ("SRV", "_matrix-fed._tcp.one.test") in dns.asked
