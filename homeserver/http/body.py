"""Reading the body of a request, bounded in size and in time.

Every refusal comes before the bytes it is about: a declared length that is too large, an encoding, a kind of content
that is no JSON. A body without a declared length is counted while it arrives. A slow body is given a grace,
then it must keep a rate. Nothing is decompressed: a few kilobytes can unfold into gigabytes.

Not here: parsing (`homeserver.domain.canonical`), and throwing away the rest of a refused body (`connection`).

https://spec.matrix.org/v1.19/client-server-api/#api-standards
"""

import asyncio
from collections.abc import Mapping
from typing import Protocol

from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestPayloadError

from homeserver.domain.errors import BadRequest, TooLarge, UnsupportedMedia
from homeserver.http.errors import RequestTimeout
from homeserver.http.limits import ServerLimits

ACCEPTED_ENCODINGS = frozenset({"", "identity"})

# "Clients should supply a Content-Type header of application/json ... but this is not required." So JSON is taken under
# any name that carries text or says nothing: curl -d says x-www-form-urlencoded, many libraries octet-stream.
JSON_CONTENT_TYPES = frozenset(
    {
        "",
        "application/json",
        "application/octet-stream",
        "application/x-www-form-urlencoded",
        "text/json",
        "text/plain",
    }
)


class Stream(Protocol):
    """The part of aiohttp's StreamReader that is used here."""

    def is_eof(self) -> bool: ...
    def read_nowait(self, n: int = -1) -> bytes: ...
    async def readany(self) -> bytes: ...


class Peer(Protocol):
    """The connection that the body comes over."""

    def expect_body(self) -> None:
        """Somebody waits for bytes that have not arrived."""
        ...

    def body_arrived(self) -> None:
        """Nobody waits for them any more."""
        ...

    def send_continue(self) -> None:
        """Tell the client that its body is wanted."""
        ...


def refuse_size(size: int, limit: int) -> None:
    """Raise if a body of `size` bytes, declared or already received, is too large."""
    if size > limit:
        raise TooLarge(f"The body may have at most {limit} bytes")


def refuse_encoding(headers: Mapping[str, str]) -> None:
    """Raise unless the body is sent as it is."""
    encoding = headers.get("Content-Encoding", "").strip().lower()
    if encoding not in ACCEPTED_ENCODINGS:
        raise UnsupportedMedia("Send the body without Content-Encoding", "M_UNKNOWN")


def refuse_content_type(headers: Mapping[str, str]) -> None:
    """Raise if the client itself says that its body is not JSON."""
    kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind not in JSON_CONTENT_TYPES and not kind.endswith("+json"):
        raise UnsupportedMedia("The body must be JSON (Content-Type: application/json)")


def expects_continue(headers: Mapping[str, str]) -> bool:
    """Whether the client holds its body back until it is told to send it (curl does, with large ones)."""
    return headers.get("Expect", "").lower() == "100-continue"


class ReadableBody(Protocol):
    """What a request needs of its body."""

    async def read(self, limit: int) -> bytes: ...


class WholeBody:
    """A body that has arrived by other ways than HTTP."""

    __slots__ = ("_body",)

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def read(self, limit: int) -> bytes:
        """All of it. Raises TooLarge above `limit` bytes."""
        refuse_size(len(self._body), limit)
        return self._body


class Body:
    """The body of one request, read at most once."""

    __slots__ = ("_headers", "_limits", "_peer", "_stream")

    def __init__(self, stream: Stream, headers: Mapping[str, str], peer: Peer, limits: ServerLimits) -> None:
        self._stream = stream
        self._headers = headers
        self._peer = peer
        self._limits = limits

    async def read(self, limit: int) -> bytes:
        """All of it, at most `limit` bytes.

        Raises TooLarge, UnsupportedMedia, RequestTimeout, and BadRequest for a broken transfer encoding.
        """
        refuse_encoding(self._headers)
        declared = self._headers.get("Content-Length")
        if declared is not None:
            refuse_size(int(declared), limit)
        try:
            if self._stream.is_eof():
                body = self._stream.read_nowait()
            else:
                body = await self._receive(limit)
        except (RequestPayloadError, HttpProcessingError) as error:
            raise BadRequest("The body is not sent as HTTP wants it", "M_UNKNOWN") from error
        refuse_size(len(body), limit)
        return body

    async def _receive(self, limit: int) -> bytes:
        """What has not arrived yet, until it is all there or one of the bounds is passed."""
        limits = self._limits
        self._peer.expect_body()
        if expects_continue(self._headers):
            self._peer.send_continue()
        chunks: list[bytes] = []
        received = 0
        start = asyncio.get_running_loop().time() + limits.body_grace_seconds
        try:
            async with asyncio.timeout_at(start) as deadline:
                while chunk := await self._stream.readany():
                    received += len(chunk)
                    refuse_size(received, limit)
                    chunks.append(chunk)
                    deadline.reschedule(start + received / limits.body_bytes_per_second)
        except TimeoutError as error:
            raise RequestTimeout("The body came too slowly") from error
        finally:
            self._peer.body_arrived()
        return b"".join(chunks)
