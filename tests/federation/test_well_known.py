"""The well-known file: what is taken from it, and for how long."""

from collections.abc import AsyncIterator

import pytest

from federation.well_known import MAX_BYTES, counts_for, fetch_well_known
from homeserver.domain.errors import RemoteUnreachable
from tests.builders.certificate import CertificateAuthority
from tests.builders.peer import Peer, Reply, running_peer
from tests.federation.calling import Caller, calling

HOUR = 3600


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> CertificateAuthority:
    return CertificateAuthority.make(tmp_path_factory.mktemp("authority"))


@pytest.fixture
async def peer(authority: CertificateAuthority) -> AsyncIterator[Peer]:
    async with running_peer(authority, "one.test", "www.one.test") as peer:
        yield peer


@pytest.fixture
async def caller(authority: CertificateAuthority, peer: Peer) -> AsyncIterator[Caller]:
    async with calling(Caller(authority)) as caller:
        caller.hosts.places = {"one.test": [peer.place], "www.one.test": [peer.place]}
        yield caller


async def test_a_file(caller: Caller, peer: Peer) -> None:
    """Asked for at port 443, without a signature; its type does not matter."""
    content = {"m.server": "matrix.one.test:77", "future": [1]}
    peer.answer = lambda asked: Reply(200, content, {"Content-Type": "text/plain", "Cache-Control": "max-age=7200"})
    assert await fetch_well_known(caller.client, "one.test") == ("matrix.one.test:77", 7200.0)
    (asked,) = peer.asked
    assert (asked.method, asked.target, asked.sni) == ("GET", "/.well-known/matrix/server", "one.test")
    assert "authorization" not in asked.headers
    assert caller.hosts.asked == ["one.test:443"]


async def test_redirects_are_followed(caller: Caller, peer: Peer) -> None:
    """To another host, by path alone, with any of the statuses."""
    replies = [
        Reply(301, b"", {"Location": "https://www.one.test/somewhere/file"}),
        Reply(302, b"", {"Location": "../else?a=b"}),
        Reply(303, b"", {"Location": "//one.test/x"}),
        Reply(307, b"", {"Location": "y"}),
        Reply(308, b"", {"Location": "https://www.one.test/end#part"}),
        Reply(200, {"m.server": "two.test"}),
    ]
    peer.answer = lambda asked: replies.pop(0)
    assert (await fetch_well_known(caller.client, "one.test"))[0] == "two.test"
    asked = [(one.sni, one.target) for one in peer.asked[1:]]
    assert asked == [
        ("www.one.test", "/somewhere/file"),
        ("www.one.test", "/else?a=b"),
        ("one.test", "/x"),
        ("one.test", "/y"),
        ("www.one.test", "/end"),
    ]


@pytest.mark.parametrize(
    "reply",
    [
        Reply(404, {"m.server": "two.test"}),
        Reply(500, b""),
        Reply(204, b""),
        Reply(200, b""),
        Reply(200, b"<html>"),
        Reply(200, b'{"m.server": "two.test"'),
        Reply(200, b"[" * 10_000 + b"]" * 10_000),
        Reply(200, []),
        Reply(200, {}),
        Reply(200, {"m.server": None}),
        Reply(200, {"m.server": {"m.server": "two.test"}}),
        Reply(200, {"m.server": ""}),
        Reply(200, {"m.server": "https://two.test"}),
        Reply(200, {"m.server": "two.test\r\nX: y"}),
        Reply(200, {"m.server": "two..test"}),
        Reply(200, {"m.server": "two.test", "pad": "x" * MAX_BYTES}),
        Reply(302, b"", {}),
        Reply(302, b"", {"Location": "http://one.test/"}),
        Reply(302, b"", {"Location": "file:///etc/passwd"}),
        Reply(302, b"", {"Location": "https://one.test/a b"}),
        Reply(302, b"", {"Location": "https://u:p@one.test/"}),
        Reply(302, b"", {"Location": "https://[/"}),
        Reply(302, b"", {"Location": "https://one.test/" + "x" * 3000}),
    ],
)
async def test_what_is_no_file(caller: Caller, peer: Peer, reply: Reply) -> None:
    """All the same, and nothing of it is believed."""
    peer.answer = lambda asked: reply
    with pytest.raises(RemoteUnreachable):
        await fetch_well_known(caller.client, "one.test")
    assert len(peer.asked) == 1


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 24 * HOUR),
        ({"cache-control": "public, max-age=7200, immutable"}, 2 * HOUR),
        ({"cache-control": 'MAX-AGE="7200"'}, 2 * HOUR),
        ({"cache-control": "max-age=1"}, 300),
        ({"cache-control": "max-age=9999999999"}, 48 * HOUR),
        ({"cache-control": "max-age=99999999999999999999"}, 48 * HOUR),
        ({"cache-control": "s-maxage=7200"}, 24 * HOUR),
        ({"cache-control": "max-age=7200, no-store"}, 300),
        ({"cache-control": "no-cache"}, 300),
        ({"cache-control": "nonsense"}, 24 * HOUR),
        ({"date": "Mon, 01 Jan 2024 00:00:00 GMT", "expires": "Mon, 01 Jan 2024 03:00:00 GMT"}, 3 * HOUR),
        ({"date": "Mon, 01 Jan 2024 00:00:00 GMT", "expires": "0"}, 300),
        ({"date": "Mon, 01 Jan 2024 00:00:00 GMT", "expires": "Mon, 01 Jan 1990 00:00:00 GMT"}, 300),
        ({"expires": "Mon, 01 Jan 2024 00:00:00 GMT"}, 24 * HOUR),
    ],
)
def test_for_how_long_it_counts(headers: dict[str, str], seconds: float) -> None:
    """As it says, within five minutes and two days; a day if it does not say."""
    assert counts_for(headers) == seconds
