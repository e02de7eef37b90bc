"""The C library's allocator, so that it gives back what is no longer used.

Every TLS connection has a buffer of 256 KiB (uvloop's), of which most only ever use a page. The GNU allocator learns
from the first ones that are freed to take such blocks from its heap, not from the system: then the pages that they
touched, each elsewhere, add up to the whole of the heap while strangers come and go. With a fixed threshold large
blocks go back to the system one by one. And each thread would have a heap of its own, of which none gives anything to
another: as Python runs one of them at a time, one heap is enough.
https://www.gnu.org/software/libc/manual/html_node/Malloc-Tunable-Parameters.html
"""

import ctypes
import logging

log = logging.getLogger(__name__)

_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8
LARGE_BLOCK = 128 * 1024


def keep_little() -> None:
    """For the life of the process; before it has threads. Other allocators have neither the settings nor the habits."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, LARGE_BLOCK)
        mallopt(_M_ARENA_MAX, 1)
    except (OSError, AttributeError):
        log.debug("this allocator has no mallopt")
