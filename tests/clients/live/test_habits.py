"""A frame that is known by its text says just what its JSON says.

docs/reference/websocket.md
"""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.live.frames import Malformed, read_frame
from clients.live.habits import MAX_BYTES, MAX_SHAPES, Ask, Habit, Shapes

TOKEN = "0a1b2c3d.417.0"

plain = st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters='"\\'), min_size=1, max_size=20
)
anything = st.text(max_size=8) | plain
members = st.dictionaries(
    st.sampled_from(("timeout", "filter", "set_presence", "use_state_after", "since2", "id", "x")),
    anything | st.integers(-5, 5) | st.dictionaries(plain, anything, max_size=2) | st.lists(anything, max_size=2),
    max_size=4,
)


def write(id: str, since: Any, rest: dict[str, Any], *, turned: bool, indent: int | None, ascii: bool) -> bytes:
    """A sync frame; `turned`: the sync stands before the id."""
    wanted = {**rest, "since": since} if turned else {"since": since, **rest}
    frame: dict[str, Any] = {"sync": wanted, "id": id} if turned else {"id": id, "sync": wanted}
    return json.dumps(frame, indent=indent, ensure_ascii=ascii).encode()


def learned(message: bytes) -> Habit:
    """The habit of a socket that asked with this frame and got a good answer."""
    frame = read_frame(message)
    habit = Habit()
    habit.shape = Shapes().of(Ask(message, frame["id"], frame["sync"]))
    return habit


layouts = st.fixed_dictionaries(
    {"turned": st.booleans(), "indent": st.none() | st.integers(0, 2), "ascii": st.booleans()}
)


@given(plain, plain, plain, plain, members, layouts)
def test_the_next_frame_of_a_kind_is_known(
    id: str, since: str, next_id: str, next_since: str, rest: dict[str, Any], layout: dict[str, Any]
) -> None:
    """Whatever else it asks for, and however it is written: the id and the token are found."""
    habit = learned(write(id, since, rest, **layout))
    message = write(next_id, next_since, rest, **layout)
    read = habit.read(message)
    if habit.shape is None:
        # The id or the token stands there twice.
        text = write(id, since, rest, **layout).decode()
        assert id == since or text.count(f'"{id}"') > 1 or text.count(f'"{since}"') > 1
        return
    assert read == (next_id, next_since)
    assert habit.ask(message, *read).wanted == read_frame(message)["sync"]


@given(plain, plain, members, anything, anything, members, layouts, layouts)
def test_what_is_known_is_what_the_json_says(
    id: str,
    since: str,
    rest: dict[str, Any],
    next_id: str,
    next_since: str,
    next_rest: dict[str, Any],
    layout: dict[str, Any],
    next_layout: dict[str, Any],
) -> None:
    """Frames of other kinds are not known, and none is taken for what it is not."""
    habit = learned(write(id, since, rest, **layout))
    message = write(next_id, next_since, next_rest, **next_layout)
    read = habit.read(message)
    if read is not None:
        frame = read_frame(message)
        assert frame == {"id": read[0], "sync": {**rest, "since": read[1]}}
        assert habit.ask(message, *read).wanted == frame["sync"]


@given(plain, st.binary(max_size=24), st.integers(0, 60), st.integers(0, 6))
def test_no_broken_frame_is_known(id: str, noise: bytes, where: int, dropped: int) -> None:
    """Whatever is put into the text or taken out of it: what is known still, is such a frame."""
    message = write(id, TOKEN, {"timeout": 30_000}, turned=False, indent=None, ascii=True)
    habit = learned(message)
    broken = message[:where] + noise + message[where + dropped :]
    read = habit.read(broken)
    if read is not None:
        assert read_frame(broken) == {"id": read[0], "sync": {"since": read[1], "timeout": 30_000}}


@pytest.mark.parametrize(
    "message",
    [
        b'{"id":"s","sync":{"since":"a","filter":"a"}}',
        b'{"id":"a","sync":{"since":"a"}}',
        b'{"id":"id","sync":{"since":"a"}}',
        b'{"id":"sync","sync":{"since":"a"}}',
        b'{"id":"s","sync":{"since":"\\u0061","filter":"a"}}',
        b'{"id":"\\u0073","sync":{"since":"a","filter":"s"}}',
        b'{"id":"s","sync":{"since":"a b"}}',
        b'{"id":"s","sync":{"since":""}}',
        b'{"id":"s","sync":{"since":7}}',
        b'{"id":"s","sync":{"filter":"a"}}',
        b'{"id":"s","more":1,"sync":{"since":"a"}}',
        b'{"id":"s","sync":{"since":"a","filter":"' + b"x" * MAX_BYTES + b'"}}',
    ],
)
def test_what_cannot_be_known_by_its_text(message: bytes) -> None:
    """Such a frame is read as JSON each time."""
    assert learned(message).shape is None


@pytest.mark.parametrize(
    "message",
    [
        b'{"id":"s2","sync":{"since":"b","timeout":1}}',
        b'{"id":"s2","sync":{"since":"b","timeout":0 }}',
        b'{"id":"s\\"2","sync":{"since":"b","timeout":0}}',
        b'{"id":"","sync":{"since":"b","timeout":0}}',
        b'{"id":"\xff","sync":{"since":"b","timeout":0}}',
        b'{"id":"' + b"s" * 65 + b'","sync":{"since":"b","timeout":0}}',
        b'{"id":"s2","sync":{"since":"b","since":"c","timeout":0}}',
        b'{"id":"s2","sync":{"since":"b","timeout":0}}\n',
        b"",
    ],
)
def test_what_is_not_like_the_one_before(message: bytes) -> None:
    habit = learned(b'{"id":"s1","sync":{"since":"a","timeout":0}}')
    assert habit.shape is not None
    assert habit.read(message) is None


def test_one_shape_for_all_of_a_kind_and_not_too_many() -> None:
    shapes = Shapes()

    def of(id: str, since: str, timeout: int) -> Any:
        wanted = {"since": since, "timeout": timeout}
        return shapes.of(Ask(json.dumps({"id": id, "sync": wanted}).encode(), id, wanted))

    first = of("a", "1.1", 0)
    assert of("b", "2.2", 0) is first
    for timeout in range(1, MAX_SHAPES + 1):
        assert of("a", "1.1", timeout) is not first
    again = of("c", "3.3", 0)
    assert again is not first
    assert again.wanted == first.wanted == {"timeout": 0}


def test_nothing_is_a_habit_at_first() -> None:
    assert Habit().read(b'{"id":"s","sync":{"since":"a"}}') is None
    with pytest.raises(Malformed):
        read_frame(b'{"id":"s","sync":{"since":"a"}')
