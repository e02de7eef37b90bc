"""Which versions of the spec are served.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientversions
"""

from collections.abc import Collection

from clients.authentication import Door, Result
from homeserver.http.request import Request
from homeserver.http.routing import Route

# Advertising a version promises all of it ("an implementation which wants to advertise support for v1.2 would have to
# implement" what v1.2 has), and clients switch features on by it: v1.2 spaces, v1.3 refresh tokens and relations, v1.4
# threads, v1.11 authenticated media. The house serves the main job of chatting and no such list whole, so it names only
# what no client can do without: the oldest version with the paths under /v3, which clients from 2021 on accept
# (matrix-js-sdk and the Dart SDK look for any of v1.1 to v1.13, matrix-nio asks for none). Add a version with its last
# endpoint (tests/conformance/owed.py): of v1.2, v1.4 to v1.6 and v1.8 to v1.9 none of their own is missing, but much of
# v1.1 (encryption, media, devices, pushers), and v1.3 (refresh tokens). Version 1.1 still has the access token in the
# query, so that is taken too.
VERSIONS = ("v1.1",)
# What clients look for under these names before they use it. Without those of threads, matrix-js-sdk asks for no thread
# list and no thread's counts, and keeps only the threads that it saw by itself.
FEATURES = (
    "org.matrix.msc2285.stable",  # private read receipts
    "org.matrix.msc3030.stable",  # the event at a time
    "org.matrix.msc3266",  # summaries of rooms
    "org.matrix.msc3440.stable",  # threads
    "org.matrix.msc3715.stable",  # relations from the oldest on
    "org.matrix.msc3771",  # receipts of threads
    "org.matrix.msc3773",  # unread counts of threads
    "org.matrix.msc3827.stable",  # the directory tells types of rooms, and looks for them
    "org.matrix.msc3856.stable",  # the list of threads
    "org.matrix.msc3952_intentional_mentions",
    "org.matrix.msc3981",  # relations of relations
    "org.matrix.msc4380.stable",  # blocking all invites
    "uk.half-shot.msc2666.query_mutual_rooms",
    "uk.half-shot.msc2666.query_mutual_rooms.stable",
    "uk.tcpip.msc4133.stable",  # any fields in profiles
)


class Versions:
    """`features`: extensions that this server has besides, by name."""

    def __init__(self, features: Collection[str] = ()) -> None:
        self._features = dict.fromkeys((*FEATURES, *features), True)

    def routes(self, door: Door) -> list[Route]:
        return [door.public("GET", "/_matrix/client/versions", self.versions)]

    async def versions(self, request: Request) -> Result:
        return {"versions": list(VERSIONS), "unstable_features": self._features}
