"""Cross-origin requests: the headers that every answer carries, and the answer to a preflight.

"Servers MUST expect that clients will approach them with OPTIONS requests ... however the server MUST NOT perform any
logic defined for the endpoints when approached with an OPTIONS request."
https://spec.matrix.org/v1.19/client-server-api/#web-browser-clients
"""

from collections.abc import Mapping
from types import MappingProxyType

HEADERS: Mapping[str, str] = MappingProxyType(
    {
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Allow-Methods": "GET, POST, PUT, DELETE, OPTIONS",
        "Access-Control-Allow-Headers": "X-Requested-With, Content-Type, Authorization",
        # Scripts see no other header of a 429 than those named here.
        "Access-Control-Expose-Headers": "Retry-After",
        # A day without asking again: half of a browser's requests would be preflights.
        "Access-Control-Max-Age": "86400",
    }
)
