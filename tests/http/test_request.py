"""What endpoints read from a query."""

from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeserver.domain.errors import BadRequest
from homeserver.http.body import Body
from homeserver.http.limits import ServerLimits
from homeserver.http.request import Request


class Nobody:
    """A connection that remembers whether it was told that somebody has authenticated."""

    known = False

    def authenticated(self) -> None:
        self.known = True

    def expect_body(self) -> None:
        raise AssertionError("there is no body")

    def body_arrived(self) -> None:
        raise AssertionError("there is no body")

    def send_continue(self) -> None:
        raise AssertionError("there is no body")


class NoBytes:
    def is_eof(self) -> bool:
        return True

    def read_nowait(self, n: int = -1) -> bytes:
        return b""

    async def readany(self) -> bytes:
        return b""


def asked(query: str, connection: Nobody | None = None) -> Request:
    connection = connection or Nobody()
    body = Body(NoBytes(), {}, connection, ServerLimits())
    return Request("GET", f"/path?{query}", {}, body, connection, "127.0.0.1", "1")


texts = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]))


@given(st.lists(st.tuples(texts.filter(bool), texts)))
def test_queries_come_back_as_they_were_encoded(pairs: list[tuple[str, str]]) -> None:
    """Every value of every name, in order; the first one is what `text` gives."""
    request = asked(urlencode(pairs))
    for name, _ in pairs:
        values = [value for other, value in pairs if other == name]
        assert request.query[name] == values
        assert request.text(name) == values[0]


def test_path_and_target_are_kept_as_sent() -> None:
    """Federation signs the request target byte for byte."""
    request = asked("a=%2F&b")
    assert request.target == "/path?a=%2F&b"
    assert request.path == "/path"
    assert request.text("a") == "/"
    assert request.text("b") == ""


def test_absent_parameters_have_their_defaults() -> None:
    """Each reader has a default, or says that the parameter is required."""
    request = asked("")
    assert request.text("x") is None
    assert request.text("x", "y") == "y"
    assert request.integer("x", 7) == 7
    assert request.integer("x", None) is None
    assert request.boolean("x", True) is True
    assert request.choice("x", ("a", "b"), "a") == "a"
    with pytest.raises(BadRequest) as caught:
        request.required("x")
    assert caught.value.errcode == "M_MISSING_PARAM"


def test_present_parameters_are_read() -> None:
    """As numbers, truth values and choices."""
    request = asked("n=12&m=-3&t=true&f=false&c=b&big=999999")
    assert request.integer("n", 0) == 12
    assert request.integer("m", 0, minimum=-10) == -3
    assert request.integer("big", 10, maximum=100) == 100
    assert request.boolean("t", False) is True
    assert request.boolean("f", True) is False
    assert request.choice("c", ("a", "b"), None) == "b"
    assert request.required("c") == "b"


@pytest.mark.parametrize(
    "value", ["", "x", "1.5", "1e3", "%20" + "1", "0x10", "1_000", "٣", "9" * 17, "9" * 5000, "-1"]
)
def test_numbers_that_are_none_are_refused(value: str) -> None:
    """Only plain decimal digits count, and too small is refused."""
    with pytest.raises(BadRequest):
        asked(f"n={value}").integer("n", 0)


@pytest.mark.parametrize("value", ["", "1", "True", "yes"])
def test_truth_values_that_are_none_are_refused(value: str) -> None:
    """The spec's booleans are `true` and `false`."""
    with pytest.raises(BadRequest):
        asked(f"t={value}").boolean("t", False)


def test_choices_that_do_not_exist_are_refused() -> None:
    """The message says what would be right."""
    with pytest.raises(BadRequest, match="one of b, f"):
        asked("dir=x").choice("dir", ("b", "f"), "b")


@pytest.mark.parametrize("query", ["a=%ff", "%ff=a", "a=%00", "a=\udcff"])
def test_queries_that_are_no_text_are_refused(query: str) -> None:
    """400 for what is not UTF-8 and for U+0000."""
    with pytest.raises(BadRequest):
        asked(query).text("a")


def test_a_context_makes_the_connection_known() -> None:
    """A door that sets the context has authenticated the client, so its connection is anonymous no more."""
    connection = Nobody()
    request = asked("", connection)
    assert request.context is None
    assert not connection.known
    request.context = "@alice:example.org"
    assert request.context == "@alice:example.org"
    assert connection.known


async def test_an_absent_body_is_an_empty_object_where_that_is_allowed() -> None:
    """ "/logout takes an empty request body"; elsewhere it is no JSON."""
    assert await asked("").json_object_or_empty() == {}
    with pytest.raises(BadRequest) as caught:
        await asked("").json_object()
    assert caught.value.errcode == "M_NOT_JSON"
