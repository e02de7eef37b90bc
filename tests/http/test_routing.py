"""How a path finds its route."""

import contextlib
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeserver.domain.errors import BadRequest, NotFound
from homeserver.http.answers import Answer
from homeserver.http.errors import MethodNotAllowed
from homeserver.http.request import Request
from homeserver.http.routing import Route, Router


async def nothing(request: Request) -> Answer:
    return Answer()


ROUTES = [
    Route("GET", "/_matrix/client/versions", nothing),
    Route("GET", "/rooms/{room_id}/state/{event_type}", nothing),
    Route("PUT", "/rooms/{room_id}/state/{event_type}", nothing),
    Route("GET", "/rooms/{room_id}/state/{event_type}/", nothing),
    Route("GET", "/rooms/{room_id}/state/{event_type}/{state_key}", nothing),
    Route("GET", "/rooms/{room_id}/state", nothing),
    Route("GET", "/keys/{key}", nothing),
    Route("POST", "/keys/changes", nothing),
    Route("GET", "/keys/changes/all", nothing),
    Route("GET", "/", nothing),
]
ROUTER = Router(ROUTES)

texts = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), min_size=1)


@given(texts, texts)
def test_parameters_come_back_as_they_were_encoded(room_id: str, event_type: str) -> None:
    """Any identifier travels in a path when each of its bytes that could mean something is percent-encoded."""
    path = f"/rooms/{quote(room_id, safe='')}/state/{quote(event_type, safe='')}"
    route, parameters = ROUTER.find("PUT", path)
    assert route is ROUTES[2]
    assert parameters == {"room_id": room_id, "event_type": event_type}


@given(st.text())
def test_any_path_finds_a_route_or_a_request_error(path: str) -> None:
    """Whatever stands in a request line is a match, a 404, a 405 or a 400."""
    with contextlib.suppress(NotFound, MethodNotAllowed, BadRequest):
        ROUTER.find("GET", path)


@pytest.mark.parametrize(
    ("method", "path", "index"),
    [
        ("GET", "/_matrix/client/versions", 0),
        ("HEAD", "/_matrix/client/versions", 0),
        ("GET", "/rooms/!a/state/m.room.name", 1),
        ("GET", "/rooms/!a/state/m.room.name/", 3),
        ("GET", "/rooms/!a/state/m.room.member/@a:b", 4),
        ("GET", "/rooms/!a/state", 5),
        ("GET", "/keys/changes", 6),
        ("POST", "/keys/changes", 7),
        ("GET", "/keys/changes/all", 8),
        ("GET", "/", 9),
    ],
)
def test_which_route_is_found(method: str, path: str, index: int) -> None:
    """Literals win over parameters where the method fits; an empty last segment is a route of its own."""
    assert ROUTER.find(method, path)[0] is ROUTES[index]


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/_matrix/client/versions/",
        "/_matrix/client",
        "/rooms//state",
        "/rooms/!a/state//",
        "/rooms/!a/b/state",
        "//_matrix/client/versions",
        "*",
        "",
        "/keys/changes%2Fall/x",
    ],
)
def test_unknown_paths_are_unrecognized(path: str) -> None:
    """404 M_UNRECOGNIZED for what no route declares; a parameter is never empty."""
    with pytest.raises(NotFound) as caught:
        ROUTER.find("GET", path)
    assert caught.value.errcode == "M_UNRECOGNIZED"


def test_known_path_with_another_method_says_what_is_allowed() -> None:
    """405 M_UNRECOGNIZED, with the methods of every route that the path could be."""
    with pytest.raises(MethodNotAllowed) as caught:
        ROUTER.find("DELETE", "/keys/changes")
    assert caught.value.errcode == "M_UNRECOGNIZED"
    assert caught.value.allow == "GET, HEAD, OPTIONS, POST"


def test_encoded_slash_is_part_of_the_identifier() -> None:
    """A path is split before it is decoded."""
    _, parameters = ROUTER.find("GET", "/rooms/%21a%2Fb/state/x%2F..%2Fy/%2F")
    assert parameters == {"room_id": "!a/b", "event_type": "x/../y", "state_key": "/"}


@pytest.mark.parametrize("segment", ["%ff", "%c3%28", "%ed%a0%80", "a%00b", "\udcff"])
def test_parameters_that_are_no_text_are_refused(segment: str) -> None:
    """400 for bytes that are not UTF-8, and for U+0000, which no database text holds."""
    with pytest.raises(BadRequest):
        ROUTER.find("GET", f"/keys/{segment}")


def test_percent_signs_that_encode_nothing_stay() -> None:
    """Clients that forget to encode a percent sign are understood."""
    assert ROUTER.find("GET", "/keys/100%")[1] == {"key": "100%"}


@pytest.mark.parametrize("paths", [["/a", "/a"], ["/{x}", "/{y}"], ["a"], ["/a{x}"], ["/{x}/{x}"], ["/%41"]])
def test_a_table_that_cannot_work_is_refused_at_the_start(paths: list[str]) -> None:
    """Two routes for the same requests, or a path that no request can have, are our own mistakes."""
    with pytest.raises(ValueError, match=r"route|path|parameter|Two"):
        Router([Route("GET", path, nothing) for path in paths])


def test_the_order_of_declaration_does_not_matter() -> None:
    """The tree is the same however the list is sorted."""
    backwards = Router(reversed(ROUTES))
    for method, path in [("GET", "/keys/changes"), ("POST", "/keys/changes"), ("GET", "/rooms/!a/state/x/y")]:
        assert backwards.find(method, path)[0] is ROUTER.find(method, path)[0]
