"""How much, how many and how long: the bounds of WebSockets.

The values are those of the protocol (docs/reference/websocket.md); tests take smaller ones. Times are seconds, sizes
bytes.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    first_auth: float = 10.0
    """For the first `auth` of a socket that brought no token."""
    new_auth: float = 30.0
    """For a new token after one that was refused or has expired."""
    heartbeat: float = 25.0
    """When nothing was sent for so long, a heartbeat is."""
    pong: float = 20.0
    """For the answer to a ping."""
    stall: float = 20.0
    """How long a socket may take no byte while `stalled_bytes` wait."""
    goodbye: float = 5.0
    """For the client's part in closing, and for requests under way when the server stops."""
    retry_ms: tuple[int, int] = (1_000, 10_000)
    """When clients shall come back after the server stopped: evenly spread between these."""

    stalled_bytes: int = 1024 * 1024
    kernel_buffer: int = 256 * 1024
    """What the kernel keeps for a client that does not read; it would take megabytes for each."""
    fragment: int = 128 * 1024
    """Larger messages are sent in fragments of this size."""
    max_message: int = 1024 * 1024
    """From the client, all fragments together."""
    max_stranger_message: int = 4 * 1024
    """The same before authentication."""
    max_fragments: int = 4_096
    """Of one message: each costs work, however small it is."""
    max_answer: int = 8 * 1024 * 1024
    """A larger answer to a sync goes over HTTP."""
    max_requests: int = 8
    """Unanswered requests of a client that minds its window."""
    max_queued: int = 64
    """Messages that wait to be written before nothing more is read."""

    per_device: int = 4
    per_user: int = 32
    strangers_per_address: int = 50
    """Sockets of one address on which nobody has authenticated yet."""


PROTOCOL = Bounds()
