"""Strangers who open connections of every annoying kind and hold on to the last of them.

    python -m tests.soak.flood PLAIN_PORT TLS_PORT COUNT SECONDS

A process of its own. It comes from many addresses of 127.0.0.0/8, so that the bound on anonymous connections is what
meets it, and not the one on connections of one address. Prints how many connections it opened.
"""

import resource
import socket
import struct
import sys
import time
from collections import deque
from contextlib import suppress

HELD = 6_000
ADDRESSES = 200
RESET = struct.pack("ii", 1, 0)
SAID = (
    b"GET /_matrix/client/versions HTTP/1.1\r\nHost: a\r\nX-Half: ",
    b"POST /_matrix/client/v3/login HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n{",
    b"",
    b"GET /_matrix/client/versions HTTP/1.1\r\nHost: a\r\n\r\n",
)
SAID_OVER_TLS = (b"\x16\x03\x01\x02\x00", b"", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")


def connect(number: int, plain: int, secure: int) -> socket.socket:
    """Two of five are half a TLS handshake."""
    over_tls = number % 5 in (2, 3)
    source = f"127.0.{1 + number // 250 % (ADDRESSES // 250 + 1)}.{2 + number % min(ADDRESSES, 250)}"
    caller = socket.socket()
    caller.settimeout(10)
    # Closed by a reset: no port waits afterwards.
    caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    caller.bind((source, 0))
    caller.connect(("127.0.0.1", secure if over_tls else plain))
    said = SAID_OVER_TLS[number % 3] if over_tls else SAID[number % 4]
    if said:
        caller.sendall(said)
    return caller


def flood(plain: int, secure: int, count: int, seconds: float) -> int:
    """Opens `count` connections, evenly over `seconds`, or longer if the machine cannot. How many were accepted."""
    held: deque[socket.socket] = deque()
    began = time.monotonic()
    opened = 0
    for number in range(count):
        ahead = number / count * seconds - (time.monotonic() - began)
        if ahead > 0.05:
            time.sleep(ahead)
        with suppress(OSError):  # refused, or reset while it speaks: that is the server's right
            held.append(connect(number, plain, secure))
            opened += 1
        if number % 7 == 0 or len(held) > HELD:
            with suppress(IndexError):
                held.popleft().close()
    while held:
        held.pop().close()
    return opened


def main() -> int:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, HELD + 1_000)), hard))
    plain, secure, count = (int(argument) for argument in sys.argv[1:4])
    sys.stdout.write(f"{flood(plain, secure, count, float(sys.argv[4]))}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
