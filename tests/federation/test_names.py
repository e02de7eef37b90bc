"""Server discovery: which look-up comes next, and where it ends."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.names import (
    Service,
    ServicesNeeded,
    Step,
    WellKnownNeeded,
    Whereabouts,
    discover,
    in_order,
    is_host,
    split_name,
)


def services_of(step: Step, label: str, host: str) -> ServicesNeeded:
    assert isinstance(step, ServicesNeeded)
    assert (step.name, step.host) == (f"{label}._tcp.{host}", host)
    return step


@pytest.mark.parametrize(
    ("name", "address", "port"),
    [
        ("1.2.3.4", "1.2.3.4", 8448),
        ("1.2.3.4:77", "1.2.3.4", 77),
        ("[2001:db8::1]", "2001:db8::1", 8448),
        ("[2001:db8::1]:77", "2001:db8::1", 77),
        ("one.test:443", "one.test", 443),
        ("chat:8448", "chat", 8448),
    ],
)
def test_what_needs_no_look_up(name: str, address: str, port: int) -> None:
    """Steps 1 and 2, and the same of a delegated name: the Host header is the name as it is written."""
    found = Whereabouts(((address, port),), address, name)
    assert discover(name) == found
    assert WellKnownNeeded("other.test").answered(name) == found


def test_service_records_of_the_name() -> None:
    """Steps 4 and 5: the hosts come from the records, the name stays."""
    step = discover("one.test")
    assert step == WellKnownNeeded("one.test")
    first = services_of(step.answered(None), "_matrix-fed", "one.test")
    records = [Service(1, 1, 443, "a.host.test"), Service(2, 1, 444, "b.host.test")]
    found = Whereabouts((("a.host.test", 443), ("b.host.test", 444)), "one.test", "one.test")
    assert first.answered(records) == found
    second = services_of(first.answered([]), "_matrix", "one.test")
    assert second.answered(records) == found


def test_nothing_but_the_name() -> None:
    """Step 6."""
    step: Step = WellKnownNeeded("one.test").answered(None)
    for _ in range(2):
        assert isinstance(step, ServicesNeeded)
        step = step.answered([])
    assert step == Whereabouts((("one.test", 8448),), "one.test", "one.test")


def test_a_delegated_name_without_port() -> None:
    """Steps 3.3 to 3.5: its service records, and it is not asked whom it delegates to."""
    first = services_of(WellKnownNeeded("one.test").answered("two.test"), "_matrix-fed", "two.test")
    assert first.answered([Service(1, 1, 443, "host.test")]) == Whereabouts(
        (("host.test", 443),), "two.test", "two.test"
    )
    last = services_of(first.answered([]), "_matrix", "two.test").answered([])
    assert last == Whereabouts((("two.test", 8448),), "two.test", "two.test")


@pytest.mark.parametrize("delegated", ["", "two test", "https://two.test", "two.test:port", "two.test:99999", ":8448"])
def test_a_delegation_to_no_server_name(delegated: str) -> None:
    """As if there were none."""
    assert WellKnownNeeded("one.test").answered(delegated) == WellKnownNeeded("one.test").answered(None)


def test_a_service_that_is_decidedly_not_available() -> None:
    """A record whose target is the root: nobody is to be asked, not even at port 8448."""
    step = WellKnownNeeded("one.test").answered(None)
    assert isinstance(step, ServicesNeeded)
    assert step.answered([Service(0, 0, 0, "")]) == Whereabouts((), "one.test", "one.test")


def test_no_more_records_than_anybody_tries() -> None:
    """A stranger chooses how many there are."""
    step = WellKnownNeeded("one.test").answered(None)
    assert isinstance(step, ServicesNeeded)
    found = step.answered([Service(1, 1, 443, f"host-{number}.test") for number in range(1000)])
    assert isinstance(found, Whereabouts)
    assert len(found.places) == 8


RECORDS = st.builds(Service, st.integers(0, 3), st.integers(0, 5), st.just(1), st.text("ab", max_size=2))


@given(st.lists(RECORDS), st.data())
def test_the_order_of_records(records: list[Service], data: st.DataObject) -> None:
    """All of them, by priority."""
    ordered = in_order(records, lambda most: data.draw(st.integers(0, most)))
    assert Counter(ordered) == Counter(records)
    assert [record.priority for record in ordered] == sorted(record.priority for record in records)


def test_the_heavier_record_comes_first_more_often() -> None:
    """In proportion to the weights; a weight of nothing is rare, and happens."""
    records = [Service(1, 60, 1, "a"), Service(1, 20, 1, "b"), Service(1, 0, 1, "c")]

    def first(number: int) -> str:
        return in_order(records, lambda most: min(number, most))[0].host

    firsts = Counter(map(first, range(81)))
    assert firsts == {"a": 60, "b": 20, "c": 1}


def test_parts_of_a_name() -> None:
    """Colons of an address are none of a port."""
    names = ["one.test", "one.test:1", "[::1]", "[::1]:2", "1.2.3.4:3"]
    assert [split_name(name) for name in names] == [
        ("one.test", None),
        ("one.test", 1),
        ("[::1]", None),
        ("[::1]", 2),
        ("1.2.3.4", 3),
    ]


def test_what_dns_can_hold() -> None:
    """Names that are longer are server names, and nowhere."""
    assert is_host("a" * 63 + ".test")
    assert not any(map(is_host, ["", "a..b", "a" * 64, ".".join(["abcdefghi"] * 26), "bücher.test"]))
