"""Fetches /.well-known/matrix/server: to whom a host delegates, and for how long that counts.

The host may be a stranger's, and may send us anywhere: the file is small or refused, redirects are few, each goes
through the address guard of the client, and none leaves HTTPS.
https://spec.matrix.org/v1.19/server-server-api/#getwell-knownmatrixserver
"""

import asyncio
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from urllib.parse import urljoin

from homeserver.domain.canonical import parse_json
from homeserver.domain.errors import BadRequest, RemoteUnreachable
from homeserver.domain.identifiers import is_server_name
from homeserver.http.outbound.client import OutboundAnswer, OutboundClient, OutboundRequest

MAX_BYTES = 50 * 1024
MAX_REDIRECTS = 5
SECONDS = 10.0

# "The recommended sensible default is 24 hours"; "a maximum cache time for responses: 48 hours is recommended".
DEFAULT_SECONDS, LEAST_SECONDS, MOST_SECONDS = 24 * 3600.0, 300.0, 48 * 3600.0

_PATH = "/.well-known/matrix/server"
_REDIRECTS = (301, 302, 303, 307, 308)
_URL = re.compile(r"https://[!-~]{1,2000}")
_NOT_KEPT = re.compile(r"(?:^|[\s,])no-(?:store|cache)(?:$|[\s,=])", re.IGNORECASE)
_MAX_AGE = re.compile(r"(?:^|[\s,])max-age=\"?([0-9]{1,10})", re.IGNORECASE)


async def fetch_well_known(client: OutboundClient, host: str) -> tuple[str, float]:
    """The `m.server` of a host, which is a server name, and for how many seconds it counts. Raises RemoteUnreachable
    for everything else that the host may answer."""
    url = f"https://{host}{_PATH}"
    try:
        async with asyncio.timeout(SECONDS):
            for _ in range(MAX_REDIRECTS + 1):
                answer = await client.fetch(
                    OutboundRequest(caller="well-known", method="GET", url=url, seconds=SECONDS, max_bytes=MAX_BYTES)
                )
                if answer.status not in _REDIRECTS:
                    return _delegated(answer), counts_for(answer.headers)
                url = _redirected(url, answer)
    except TimeoutError as error:
        raise RemoteUnreachable(f"the well-known file of {host} takes too long") from error
    raise RemoteUnreachable(f"the well-known file of {host} is redirected too often")


def _redirected(url: str, answer: OutboundAnswer) -> str:
    try:
        target = urljoin(url, answer.headers["location"])
    except (KeyError, ValueError) as error:
        raise RemoteUnreachable("the well-known file is redirected to nowhere") from error
    if not _URL.fullmatch(target):
        raise RemoteUnreachable("the well-known file is redirected to what is no https URL")
    return target


def _delegated(answer: OutboundAnswer) -> str:
    if answer.status != 200:
        raise RemoteUnreachable(f"the well-known file is answered with status {answer.status}")
    try:
        content = parse_json(answer.body, strict=False)
    except BadRequest as error:
        raise RemoteUnreachable(f"the well-known file is not JSON: {error}") from error
    delegated = content.get("m.server") if isinstance(content, dict) else None
    if not is_server_name(delegated):
        raise RemoteUnreachable("the well-known file names no server")
    return delegated


def counts_for(headers: Mapping[str, str]) -> float:
    """For how many seconds an answer with these headers (names in lower case) may be remembered."""
    control = headers.get("cache-control", "")
    if _NOT_KEPT.search(control):
        return LEAST_SECONDS
    age = _MAX_AGE.search(control)
    wanted = float(age[1]) if age else _until_expiry(headers)
    return min(max(wanted, LEAST_SECONDS), MOST_SECONDS)


def _until_expiry(headers: Mapping[str, str]) -> float:
    """By the clock of the other side, so that ours does not matter."""
    if "expires" not in headers or "date" not in headers:
        return DEFAULT_SECONDS
    try:
        date, expires = parsedate_to_datetime(headers["date"]), parsedate_to_datetime(headers["expires"])
        return expires.timestamp() - date.timestamp()
    except (ValueError, OverflowError):  # "0" is a common way to say: not at all
        return 0.0
