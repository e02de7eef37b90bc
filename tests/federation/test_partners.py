"""With which servers the operator lets us talk."""

import pytest

from federation.partners import Partners


def test_all_by_default() -> None:
    """Unless federation is off."""
    assert Partners().allows("one.test")
    assert not Partners(enabled=False).allows("one.test")
    assert not Partners(False, ["one.test"]).allows("one.test")


@pytest.mark.parametrize(
    "name", ["evil.test", "EVIL.test", "evil.test:8448", "a.bad.test", "a.b.bad.test:1", "1.2.3.4", "[::1]:2"]
)
def test_denied(name: str) -> None:
    """Whatever the case, the port, the depth."""
    assert not Partners(deny=["Evil.test", "*.bad.test", "1.2.3.4", "[::1]"]).allows(name)


@pytest.mark.parametrize("name", ["one.test", "bad.test", "not-evil.test", "a.evil.test", "xbad.test"])
def test_not_denied(name: str) -> None:
    """A pattern is no more than it says."""
    assert Partners(deny=["evil.test", "*.bad.test"]).allows(name)


def test_allowed() -> None:
    """Only those; and to be denied counts more."""
    partners = Partners(allow=["one.test", "*.two.test"], deny=["bad.two.test"])
    names = ["one.test", "one.test:1", "a.two.test", "two.test", "three.test", "bad.two.test"]
    assert [partners.allows(name) for name in names] == [True, True, True, False, False, False]
