"""The declared table of rate limits and its checks."""

from collections.abc import Mapping

import pytest

from clients.limits import EVERY, LIMITS, Limits, network_of, overridden
from homeserver.domain.errors import LimitExceeded
from homeserver.domain.throttle import Throttle, Throttles


class HandClock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.ms = 1_700_000_000_000

    def now_ms(self) -> int:
        return self.ms


def test_names_are_unique_and_rows_make_sense() -> None:
    """Every row has its own name, a burst and a rate."""
    assert len({limit.name for limit in LIMITS}) == len(LIMITS)
    assert all(limit.per_second > 0 and limit.burst >= 1 for limit in LIMITS)


def test_a_used_up_row_says_its_name_and_when_to_come_again() -> None:
    """After the burst comes M_LIMIT_EXCEEDED with retry_after_ms and the row's name; after that time it passes."""
    clock = HandClock()
    limits = Limits(clock)
    for _ in range(50):
        limits.take("messages", "@alice:x")
    with pytest.raises(LimitExceeded) as refused:
        limits.take("messages", "@alice:x")
    assert refused.value.errcode == "M_LIMIT_EXCEEDED"
    assert refused.value.extra == {"retry_after_ms": 100, "io.parley.limit": "messages"}
    limits.take("messages", "@bob:x")
    limits.take("profile", "@alice:x")
    clock.ms += refused.value.retry_after_ms
    limits.take("messages", "@alice:x")


def test_what_is_held_comes_back_unless_it_is_spent() -> None:
    """Whoever does nothing in the end has taken nothing; what is under way counts."""
    clock = HandClock()
    limits = Limits(clock, {"login_failures": {"burst": 2, "per_second": 1}})
    for _ in range(5):
        with limits.hold("login_failures", "@alice:x"):
            pass
    with pytest.raises(ZeroDivisionError), limits.hold("login_failures", "@alice:x"):
        raise ZeroDivisionError
    with limits.hold("login_failures", "@alice:x") as first, limits.hold("login_failures", "@alice:x"):
        first.spend()
        with pytest.raises(LimitExceeded, match="login_failures") as refused:
            limits.hold("login_failures", "@alice:x")
    assert refused.value.retry_after_ms == 1000
    with limits.hold("login_failures", "@alice:x") as hold:
        hold.spend()
    with pytest.raises(LimitExceeded, match="login_failures"):
        limits.hold("login_failures", "@alice:x")
    clock.ms += 1000
    with limits.hold("login_failures", "@alice:x"):
        pass


def test_what_another_row_refuses_is_given_back() -> None:
    """And nothing else: a request that fails otherwise has been made."""
    limits = Limits(HandClock(), {"messages": {"burst": 4}})
    for _ in range(5):
        with pytest.raises(LimitExceeded), limits.taking("messages", "@alice:x"):
            raise LimitExceeded("Too many", 1, "messages_room")
    with pytest.raises(ZeroDivisionError), limits.taking("messages", "@alice:x"):
        raise ZeroDivisionError
    with limits.taking("messages", "@alice:x"), limits.hold("messages", "@alice:x", cost=2):
        pass
    with limits.hold("messages", "@alice:x", cost=2) as hold:
        hold.spend()
    with pytest.raises(LimitExceeded):
        limits.taking("messages", "@alice:x")


class OfUsers:
    """Alice has a limit of her own on messages and none on joins, Bob none on anything that counts by user."""

    def __init__(self) -> None:
        self._of: dict[str, dict[str, Throttles | None]] = {
            "@alice:x": {"messages": Throttles(Throttle(1, 2), 1), "joins": None},
            "@bob:x": {EVERY: None},
        }

    def of(self, user_id: str) -> Mapping[str, Throttles | None] | None:
        return self._of.get(user_id)


def test_users_may_have_limits_of_their_own() -> None:
    """They hold instead of the table's, for the rows that they name."""
    clock = HandClock()
    limits = Limits(clock, users=OfUsers())
    for _ in range(1000):
        limits.take("joins", "@alice:x")
        limits.take("joins", "@bob:x")
        limits.take("messages", "@bob:x")
        limits.hold("general", "@bob:x").spend()
    limits.take("messages", "@alice:x", cost=10)
    with pytest.raises(LimitExceeded) as refused:
        limits.take("messages", "@alice:x")
    assert refused.value.retry_after_ms == 1000
    clock.ms += 1000
    limits.take("messages", "@alice:x")
    for name, user in (("profile", "@alice:x"), ("messages", "@carol:x"), ("login_failures", "@bob:x")):
        limits.take(name, user, cost=1000)
        with pytest.raises(LimitExceeded, match=name):
            limits.take(name, user)
    limits.take("general_address", "@bob:x", cost=1000)
    with pytest.raises(LimitExceeded):
        limits.take("general_address", "@bob:x")


def test_costs_above_the_burst_empty_the_bucket() -> None:
    """Inviting a thousand at once is allowed once, not never."""
    limits = Limits(HandClock())
    limits.take("invites", "@alice:x", cost=1000)
    with pytest.raises(LimitExceeded):
        limits.take("invites", "@alice:x")


def test_limits_can_be_off_altogether_or_by_row() -> None:
    """Switched off, nothing is refused; a row that is None is off alone."""
    for limits in (Limits(HandClock(), enabled=False), Limits(HandClock(), {"registration": None})):
        for _ in range(1000):
            limits.take("registration", "192.0.2.1")
            limits.hold("registration", "192.0.2.1").spend()
    with pytest.raises(LimitExceeded):
        for _ in range(1000):
            limits.take("profile", "@alice:x")


def test_rows_can_be_overridden() -> None:
    """Settings change the rate, the burst, or both, and leave the rest."""
    rows = {row.name: row for row in overridden(LIMITS, {"messages": {"per_second": 1.5}, "joins": {"burst": 7}})}
    assert (rows["messages"].per_second, rows["messages"].burst) == (1.5, 50)
    assert (rows["joins"].per_second, rows["joins"].burst, rows["joins"].scope) == (1, 7, "user")


@pytest.mark.parametrize(
    ("overrides", "complaint"),
    [
        ({"mesages": {"burst": 1}}, "mesages"),
        ({"messages": {"brust": 1}}, "brust"),
        ({"messages": {"burst": 0}}, "messages"),
        ({"messages": {"burst": 1.5}}, "messages"),
        ({"messages": {"per_second": 0}}, "messages"),
        ({"messages": {"per_second": float("nan")}}, "messages"),
        ({"messages": {"per_second": float("inf")}}, "messages"),
        ({"messages": {"burst": float("inf")}}, "messages"),
    ],
)
def test_mistaken_overrides_are_named(overrides: dict[str, dict[str, float]], complaint: str) -> None:
    """A typing error in the settings stops the start and says where it is."""
    with pytest.raises(ValueError, match=complaint):
        Limits(HandClock(), overrides)


def test_an_unknown_row_is_a_mistake_of_ours() -> None:
    """An endpoint that names no row fails its first test, even with limits off."""
    with pytest.raises(KeyError, match="mesages"):
        Limits(HandClock(), enabled=False).take("mesages", "@alice:x")


def test_an_ipv6_network_is_one_caller() -> None:
    """Addresses of one /64 share a bucket; an IPv4 address in IPv6 clothes is the IPv4 address."""
    assert network_of("2001:db8:1:2::1") == network_of("2001:db8:1:2:ffff::9") != network_of("2001:db8:1:3::1")
    assert network_of("::ffff:192.0.2.1") == network_of("192.0.2.1") == "192.0.2.1"
    assert network_of("::1") == "::/64"
    assert network_of("unix socket") == "unix socket"
    limits = Limits(HandClock(), {"registration": {"burst": 1}})
    limits.take("registration", "2001:db8::1")
    with pytest.raises(LimitExceeded):
        limits.take("registration", "2001:db8::2")


def test_the_table_of_buckets_is_bounded() -> None:
    """A flood of addresses does not grow memory without end."""
    limits = Limits(HandClock(), max_entries=10)
    for number in range(100):
        limits.take("general_address", f"10.0.0.{number}")
    limits.take("general_address", "10.0.0.99")
