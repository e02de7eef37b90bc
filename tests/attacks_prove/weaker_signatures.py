"""What a server without the defence would make of signatures, keys and server ACLs."""

from collections.abc import Iterable, Mapping
from typing import Any


def always(*_: object, **__: object) -> bool:
    """For whatever says that something is right."""
    return True


def of_the_sender_alone(version: object, pdu: Mapping[str, Any]) -> set[str]:
    """For `required_signers`."""
    return {pdu["sender"].partition(":")[2]}


def whatever_is_newer(known: Iterable[Any], told: Iterable[Any], *, by_server: bool) -> list[Any]:
    """For `merge_keys`."""
    return list(({key.key_id: key for key in known} | {key.key_id: key for key in told}).values())


class OneByOne:
    """For `Globs`: each glob is tried, a star first without and then with the next character. It would take for ever,
    which is told after a while."""

    weight = 1

    def __init__(self, globs: Iterable[str]) -> None:
        self._globs = [glob.lower() for glob in globs]

    def match(self, text: str) -> bool:
        self._steps = 0
        return any(self._match(glob, text) for glob in self._globs)

    def _match(self, glob: str, text: str) -> bool:
        self._steps += 1
        if self._steps > 100_000:
            raise TimeoutError("this does not end")
        if not glob:
            return not text
        if glob[0] == "*":
            return self._match(glob[1:], text) or (text != "" and self._match(glob, text[1:]))
        return text != "" and glob[0] in ("?", text[0]) and self._match(glob[1:], text[1:])
