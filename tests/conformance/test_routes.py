"""Every endpoint of the client-server API is served, or owed by name."""

import re

from tests.conformance.facts import spec_facts
from tests.conformance.owed import OWED
from tests.fuzz.routes import declared_routes

# What we serve and the spec has not, each for a reason that its module gives.
OWN = (
    "/_synapse/",
    "/_parley/",
    "/_matrix/client/unstable/im.nheko.summary/",
    "/_matrix/client/unstable/uk.half-shot.msc2666/",
    "/_matrix/client/unstable/io.parley.",
)
# "A trailing slash may be left out", and the state key with it.
SHORT = re.compile(r"/rooms/\{\}/state/\{\}/?")


def nameless(path: str) -> str:
    """A path whose parameters have no names: ours are called otherwise than those of the spec."""
    return re.sub(r"\{[^/]+?\}", "{}", path)


def described(*apis: str) -> set[tuple[str, str]]:
    return {(one.method, nameless(one.path)) for one in spec_facts().endpoints() if one.api in apis}


def served() -> set[tuple[str, str]]:
    return {(route.method, nameless(route.path)) for route in declared_routes()}


def owed() -> list[tuple[str, str]]:
    named = (name.split(" ", 1) for names in OWED.values() for name in names)
    return [(method, nameless(path)) for method, path in named]


def test_what_is_not_served_is_owed() -> None:
    """Both ways: nothing is missing without a word, and nothing is owed that is served, or that there is not."""
    assert described("client-server") - served() == set(owed())


def test_nothing_is_owed_twice() -> None:
    """Each endpoint stands in one chapter."""
    assert len(owed()) == len(set(owed()))


def test_what_is_served_is_described() -> None:
    """A path of the spec with a mistake in it would be no path of the spec."""
    known = described("client-server", "server-server")  # the file that other servers look for is at the client door
    extra = {path for _, path in served() - known if not path.startswith(OWN)}
    assert not [path for path in extra if not SHORT.search(path)]
