"""Calls to other servers, over real sockets with TLS."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from config.dns import Dns
from federation.names import Service
from federation.partners import Partners
from federation.wire import read_authorization
from homeserver.domain.canonical import canonical_json
from homeserver.domain.errors import RemoteRefused, RemoteUnreachable
from homeserver.domain.hashing import encode_base64
from homeserver.domain.outage import FIRST_MS
from homeserver.domain.signing import read_verify_key, verify_json
from tests.builders.certificate import CertificateAuthority
from tests.builders.dns import dns_server
from tests.builders.peer import Asked, Peer, Reply, running_peer
from tests.federation.calling import KEY, NAME, Caller, calling

VERSION = "/_matrix/federation/v1/version"
VERIFY_KEY = read_verify_key("ed25519:a_1", encode_base64(KEY.verify_key.encode()))


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> CertificateAuthority:
    return CertificateAuthority.make(tmp_path_factory.mktemp("authority"))


@pytest.fixture
async def peer(authority: CertificateAuthority) -> AsyncIterator[Peer]:
    async with running_peer(authority, "one.test", "127.0.0.1") as peer:
        yield peer


@pytest.fixture
async def caller(authority: CertificateAuthority, peer: Peer) -> AsyncIterator[Caller]:
    async with calling(Caller(authority)) as caller:
        caller.hosts.places["one.test:8448"] = [peer.place]
        yield caller


def check_signature(asked: Asked, destination: str) -> None:
    """As the other side does it."""
    said = read_authorization(asked.headers["authorization"])
    assert (said.origin, said.destination, said.key_id) == (NAME, destination, "ed25519:a_1")
    whole: dict[str, Any] = {
        "method": asked.method,
        "uri": asked.target,
        "origin": NAME,
        "destination": destination,
        "signatures": {NAME: {said.key_id: said.signature}},
    }
    if asked.body:
        whole["content"] = json.loads(asked.body)
    assert verify_json(whole, NAME, VERIFY_KEY, said.key_id)


async def test_a_signed_request(caller: Caller, peer: Peer) -> None:
    """Target, query and body are what was signed; path and query go out as they were given."""
    peer.answer = lambda asked: Reply(200, {"a": [1.5, 2**70]})
    query = [("q", "a b&c=d/ä"), ("q", "")]
    path = "/_matrix/federation/v1/state/%21room%3Aone.test"
    body = {"b": [1, {"ü": None}], "a": "x"}
    assert await caller.calls.get("one.test:8448", path, query) == {"a": [1.5, 2**70]}
    await caller.calls.put("one.test:8448", path, body)
    await caller.calls.post("one.test:8448", path, body, query)
    for asked in peer.asked:
        check_signature(asked, "one.test:8448")
        assert asked.headers["host"] == "one.test:8448"
    assert [asked.method for asked in peer.asked] == ["GET", "PUT", "POST"]
    assert peer.asked[0].target == path + "?q=a%20b%26c%3Dd%2F%C3%A4&q="
    assert (peer.asked[1].target, peer.asked[1].body) == (path, canonical_json(body))
    assert peer.asked[1].headers["content-type"] == "application/json"
    assert peer.connections == 1


async def test_a_body_that_is_canonical_already(caller: Caller, peer: Peer) -> None:
    """It is signed and goes out as it is."""
    body = canonical_json({"pdus": [], "edus": ["ü"]})
    await caller.calls.put("one.test:8448", "/_matrix/federation/v1/send/1", body)
    check_signature(peer.asked[0], "one.test:8448")
    assert peer.asked[0].body == body


async def test_a_request_without_signature(caller: Caller, peer: Peer) -> None:
    """For keys and versions."""
    await caller.calls.get("one.test:8448", VERSION, signed=False)
    assert "authorization" not in peer.asked[0].headers


async def test_a_refusal(caller: Caller, peer: Peer) -> None:
    """Status, errcode and body come back, as far as there are any."""
    replies = [
        Reply(400, {"errcode": "M_INCOMPATIBLE_ROOM_VERSION", "error": "No", "room_version": "9"}),
        Reply(403, {"errcode": 1, "error": ["x"]}),
        Reply(404, b"<html>"),
        Reply(302, b"", {"Location": "https://one.test/"}),
        Reply(500, [1]),
        Reply(401, {"errcode": "M" * 10_000, "error": "x" * 10_000}),
    ]
    refused = []
    peer.answer = lambda asked: replies.pop(0)
    while replies:
        with pytest.raises(RemoteRefused) as error:
            await caller.calls.get("one.test:8448", VERSION)
        refused.append(error.value)
    assert [(error.status, error.errcode, error.message) for error in refused[:5]] == [
        (400, "M_INCOMPATIBLE_ROOM_VERSION", "No"),
        (403, None, "status 403"),
        (404, None, "status 404"),
        (302, None, "status 302"),
        (500, None, "status 500"),
    ]
    assert refused[0].body["room_version"] == "9"
    assert len(refused[5].message) == 500
    assert await caller.backoff.wait_ms("one.test:8448") == 0


@pytest.mark.parametrize("content", [b"", b"<html>", b'{"a": 1, "a": 2}', b"[" * 600 + b"]" * 600, b"\xff", b"NaN"])
async def test_what_is_not_json(caller: Caller, peer: Peer, content: bytes) -> None:
    """With a status that says all is well."""
    peer.answer = lambda asked: Reply(200, content)
    with pytest.raises(RemoteUnreachable, match=r"one\.test:8448: the answer is not JSON"):
        await caller.calls.get("one.test:8448", VERSION)


async def test_large_answers(caller: Caller, peer: Peer) -> None:
    """Up to what the caller takes, with as many values as fit; more is refused, and is no outage."""
    values = [{"a": number} for number in range(300_000)]
    peer.answer = lambda asked: Reply(200, values)
    assert await caller.calls.get("one.test:8448", VERSION) == values
    with pytest.raises(RemoteUnreachable, match="are taken"):
        await caller.calls.get("one.test:8448", VERSION, max_bytes=1_000_000)
    assert await caller.backoff.wait_ms("one.test:8448") == 0


async def test_a_server_that_does_not_answer_is_left_alone(caller: Caller, peer: Peer) -> None:
    """Until its pause is over, or somebody is patient; an answer ends it."""
    caller.hosts.places["one.test:8448"] = [("127.0.0.1", 1)]
    told: list[str] = []
    caller.backoff.listen(told.append)
    with pytest.raises(RemoteUnreachable, match="no connection"):
        await caller.calls.get("one.test:8448", VERSION)
    with pytest.raises(RemoteUnreachable, match="left alone for 5 s"):
        await caller.calls.get("one.test:8448", VERSION)
    caller.clock.ms += FIRST_MS
    with pytest.raises(RemoteUnreachable, match="no connection"):
        await caller.calls.get("one.test:8448", VERSION)
    assert await caller.backoff.wait_ms("one.test:8448") == 2 * FIRST_MS
    await caller.client.close()  # forgets the address
    caller.hosts.places["one.test:8448"] = [peer.place]
    assert await caller.calls.get("one.test:8448", VERSION, patient=True) == {}
    assert await caller.calls.get("one.test:8448", VERSION) == {}
    assert told == ["one.test:8448"]


@pytest.mark.parametrize(
    ("reply", "seconds", "away"),
    [
        (Reply(502, b"Bad gateway"), 30.0, True),
        (Reply(503, {"errcode": "M_UNKNOWN"}), 30.0, True),
        (Reply(504, b""), 30.0, True),
        (Reply(500, {"errcode": "M_UNKNOWN"}), 30.0, False),
        (Reply(429, {"errcode": "M_LIMIT_EXCEEDED"}), 30.0, False),
        (Reply(200, b"<html>"), 30.0, True),
        (None, 0.2, False),
    ],
)
async def test_what_counts_as_an_outage(
    caller: Caller, peer: Peer, reply: Reply | None, seconds: float, away: bool
) -> None:
    """A proxy without its server, and what is no Matrix server; not a refusal, nor a caller in a hurry."""

    async def never(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    if reply is None:
        peer.write = never
    else:
        peer.answer = lambda asked: reply
    with pytest.raises((RemoteRefused, RemoteUnreachable)):
        await caller.calls.get("one.test:8448", VERSION, timeout=seconds)
    assert (await caller.backoff.wait_ms("one.test:8448") > 0) == away


async def test_the_time_limit_covers_everything(caller: Caller, peer: Peer) -> None:
    """Discovery too, which goes on for the next caller; and the wait behind other calls."""
    go_on = asyncio.Event()

    async def slow(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await go_on.wait()
        writer.write(Reply(404).encoded())
        await writer.drain()

    peer.write = slow
    caller.hosts.places["one.test"] = [peer.place]
    with pytest.raises(RemoteUnreachable, match=r"no answer within 0.3 seconds"):
        await caller.calls.get("one.test", VERSION, timeout=0.3)
    waiting = [asyncio.ensure_future(caller.calls.get("one.test", VERSION)) for _ in range(10)]
    await asyncio.sleep(0)
    with pytest.raises(RemoteUnreachable, match="other calls took"):
        await caller.calls.get("one.test", VERSION, timeout=0.3)
    assert peer.connections == 1
    peer.write = None
    go_on.set()
    assert await asyncio.gather(*waiting) == [{}] * 10


@pytest.mark.parametrize("name", [NAME, "", "..", "one.test/", "a b", "@a:one.test"])
async def test_who_is_not_another_server(caller: Caller, name: str) -> None:
    """We are not, either."""
    with pytest.raises(RemoteUnreachable, match="not another server"):
        await caller.calls.get(name, VERSION)
    assert caller.kept.reads == 0


async def test_whom_the_operator_does_not_allow(authority: CertificateAuthority, peer: Peer) -> None:
    """They are not called, and nothing is looked up."""
    async with calling(Caller(authority, partners=Partners(deny=["one.test"]))) as caller:
        with pytest.raises(RemoteUnreachable, match="do not allow"):
            await caller.calls.get("one.test", VERSION)
        assert caller.hosts.asked == []


# The way to a server, with each kind of delegation. The certificate is for the name that is proven, and no other.


async def test_an_address(caller: Caller, peer: Peer) -> None:
    """The certificate must be for it, and TLS names nobody."""
    name = f"127.0.0.1:{peer.port}"
    await caller.calls.get(name, VERSION)
    check_signature(peer.asked[0], name)
    assert (peer.asked[0].headers["host"], peer.asked[0].sni) == (name, None)


async def test_an_address_of_version_6(caller: Caller, authority: CertificateAuthority) -> None:
    """In brackets where it is a name."""
    async with running_peer(authority, "::1", address="::1") as peer:
        name = f"[::1]:{peer.port}"
        await caller.calls.get(name, VERSION)
        check_signature(peer.asked[0], name)
        assert peer.asked[0].headers["host"] == name


async def test_a_well_known_delegation(caller: Caller, peer: Peer, authority: CertificateAuthority) -> None:
    """The delegated name is in certificate, SNI and Host; what is signed is the server's own."""
    async with running_peer(authority, "big.test") as web:
        web.answer = lambda asked: Reply(200, {"m.server": "one.test:8448"})
        caller.hosts.places["big.test:443"] = [web.place]
        await caller.calls.get("big.test", VERSION)
    check_signature(peer.asked[0], "big.test")
    assert (peer.asked[0].headers["host"], peer.asked[0].sni) == ("one.test:8448", "one.test")


async def test_a_service_record(caller: Caller, peer: Peer) -> None:
    """Its target is where we go, and no more; the next is tried if nobody is there."""
    caller.services.records["_matrix-fed._tcp.one.test"] = [
        Service(1, 0, 1, "gone.test"),
        Service(2, 0, 444, "host.test"),
    ]
    caller.hosts.places |= {"host.test:444": [peer.place], "gone.test": [("127.0.0.1", 1)]}
    await caller.calls.get("one.test", VERSION)
    assert (peer.asked[0].headers["host"], peer.asked[0].sni) == ("one.test", "one.test")
    check_signature(peer.asked[0], "one.test")


async def test_the_target_of_a_service_record_proves_nothing(caller: Caller, authority: CertificateAuthority) -> None:
    """Whoever can forge DNS has a certificate for the target, and not for the name."""
    async with running_peer(authority, "host.test") as liar:
        caller.services.records["_matrix-fed._tcp.one.test"] = [Service(1, 0, 444, "host.test")]
        caller.hosts.places["host.test"] = [liar.place]
        with pytest.raises(RemoteUnreachable, match="certificate"):
            await caller.calls.get("one.test", VERSION)
        assert (liar.connections, liar.asked) == (1, [])


async def test_the_name_itself_proves_nothing_once_it_delegates(
    caller: Caller, authority: CertificateAuthority
) -> None:
    """To delegate to a name means that this name answers."""
    async with running_peer(authority, "big.test") as both:
        both.answer = lambda asked: Reply(200, {"m.server": "two.test:8448"})
        caller.hosts.places |= {"big.test:443": [both.place], "two.test": [both.place]}
        with pytest.raises(RemoteUnreachable, match="certificate"):
            await caller.calls.get("big.test", VERSION)
        assert [urlsplit(asked.target).path for asked in both.asked] == ["/.well-known/matrix/server"]


async def test_a_server_that_moves_is_found_again(caller: Caller, peer: Peer, authority: CertificateAuthority) -> None:
    """Its old place is empty: the next attempt looks where it is now, unless it has looked just before."""
    async with running_peer(authority, "big.test") as web:
        caller.hosts.places |= {"big.test:443": [web.place], "old.test": [("127.0.0.1", 1)]}
        web.answer = lambda asked: Reply(200, {"m.server": "old.test:8448"})
        for elapsed, asked in ((0.0, 1), (200.0, 1), (400.0, 1)):
            caller.elapsed = elapsed
            with pytest.raises(RemoteUnreachable):
                await caller.calls.get("big.test", VERSION, patient=True)
            assert len(web.asked) == asked
        web.answer = lambda asked: Reply(200, {"m.server": "one.test:8448"})
        assert await caller.calls.get("big.test", VERSION, patient=True) == {}


async def test_with_real_dns(authority: CertificateAuthority, peer: Peer) -> None:
    """Service records and addresses from a DNS server: no well-known file, no new record, but an old one."""
    async with dns_server() as server:
        dns = Dns([("127.0.0.1", server.port)], server.reactor)
        server.services["_matrix._tcp.one.test"] = [Service(1, 1, peer.port, "host.one.test")]
        server.addresses["host.one.test"] = ["127.0.0.1"]
        async with calling(Caller(authority, records=dns, resolver=dns)) as caller:
            await caller.calls.get("one.test", VERSION)
        check_signature(peer.asked[0], "one.test")
        assert [name for kind, name in server.asked if kind != "A"] == [
            "one.test",
            "_matrix-fed._tcp.one.test",
            "_matrix._tcp.one.test",
            "host.one.test",
        ]
