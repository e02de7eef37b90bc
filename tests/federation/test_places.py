"""How many strangers may be inside at once."""

from contextlib import ExitStack

import pytest

from federation.places import Places
from homeserver.domain.errors import LimitExceeded, Unavailable


def test_places_are_bounded_and_given_back() -> None:
    """Of one address, and of everybody; whoever leaves makes room, also by an error."""
    places = Places("some_limit", 3, 2)
    with ExitStack() as inside:
        for _ in range(2):
            inside.enter_context(places.place("a"))
        with pytest.raises(LimitExceeded) as refused, places.place("a"):
            pass
        assert refused.value.limit == "some_limit"
        inside.enter_context(places.place("b"))
        with pytest.raises(Unavailable), places.place("c"):
            pass
    for address in "aabb":
        with pytest.raises(KeyError), places.place(address):
            raise KeyError
    with places.place("a"), places.place("b"), places.place("c"):
        pass
