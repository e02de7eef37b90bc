"""Ways to switch a defence off, before anything of the server is imported: whoever imports it later gets what is left.

A dotted name is `package.module.function`, `package.module.Class.method` or `package.module.CONSTANT`.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


def find(dotted: str) -> tuple[Any, str]:
    """The module or class that holds the last part of a name, and that part. Raises ImportError, AttributeError."""
    parts = dotted.split(".")
    for count in range(len(parts) - 1, 0, -1):
        try:
            holder: Any = importlib.import_module(".".join(parts[:count]))
        except ModuleNotFoundError:
            continue
        for name in parts[count:-1]:
            holder = getattr(holder, name)
        getattr(holder, parts[-1])
        return holder, parts[-1]
    raise ImportError(f"{dotted} is not there")


@dataclass(frozen=True)
class Switch:
    """`defence` is the dotted name of what protects, `how` what becomes of it."""

    defence: str
    how: str
    replacement: Any = None
    limit: float | None = None

    def off(self) -> None:
        if self.limit is not None:
            self._set_limit()
        else:
            holder, name = find(self.defence)
            setattr(holder, name, self.replacement)

    def _set_limit(self) -> None:
        """A bound of a listener has this value from now on, whatever anybody asks for."""
        holder, name = find(self.defence)
        initialise = holder.__init__

        def forced(self_: Any, **wanted: Any) -> None:
            initialise(self_, **{**wanted, name: self.limit})

        holder.__init__ = forced


def nothing(defence: str) -> Switch:
    """The function does nothing."""
    return Switch(defence, "does nothing", _do_nothing)


def _do_nothing(*_: object, **__: object) -> None:
    return None


def instead(defence: str, replacement: Callable[..., Any]) -> Switch:
    """A weaker function stands in its place."""
    return Switch(defence, f"is {replacement.__name__}", replacement)


def bound(defence: str, value: int) -> Switch:
    """A constant is so high that it bounds nothing."""
    return Switch(defence, f"is {value}", value)


def limit(name: str, value: float) -> Switch:
    """A bound of `ServerLimits` is so wide that it never matters."""
    return Switch(f"homeserver.http.limits.ServerLimits.{name}", f"is {value:g}", limit=value)
