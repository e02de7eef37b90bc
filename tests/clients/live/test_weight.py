"""What a WebSocket weighs while it waits: ten thousand of them are to fit into a small server."""

import sys

from clients.live.framing import Framing

HEAD = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: io.parley.v1\r\n\r\n"
)


class Ear:
    """Hears what a framing reads, and takes what it writes."""

    max_message = max_fragments = 1_000

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written += data

    def text(self, message: bytes) -> None:
        self.heard.append(message)

    def pinged(self, payload: bytes) -> None:
        self.heard.append(payload)

    def ponged(self, payload: bytes) -> None:
        self.heard.append(payload)

    def binary(self) -> None: ...
    def too_large(self) -> None: ...
    def closed_by_client(self) -> None: ...
    def loseConnection(self) -> None: ...
    def abortConnection(self) -> None: ...
    def unregisterProducer(self) -> None: ...


def test_what_is_the_same_for_all_is_kept_once() -> None:
    """Of autobahn's sixty attributes a connection keeps a few, also after it was used; and it works."""
    ear = Ear()
    framing = Framing(ear, ear)
    framing.shake_hands(HEAD)
    assert framing.can_send
    for opcode, payload in ((0x81, b"whole"), (0x89, b"ping"), (0x01, b"one "), (0x80, b"two")):
        framing.receive(bytes((opcode, 0x80 | len(payload))) + bytes(4) + payload)
    assert ear.heard == [b"whole", b"ping", b"one two"]
    assert sys.getsizeof(vars(framing)) < 1_200
    assert sys.getsizeof(vars(Framing(ear, ear))) > 1_200
