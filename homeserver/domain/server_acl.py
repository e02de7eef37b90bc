"""Which servers a room lets in: the content of `m.room.server_acl`, compiled once, then asked per server.

It decides nothing about events: "Server ACLs do not restrict the events relative to the room DAG". Which event stands
in the room, and what is refused, is known elsewhere (`federation.acl`).

Anybody with the power to can write the lists, so the globs must not be able to cost much. All globs of a list are one
automaton without backtracking, simulated with the bits of one integer: a step for each character of the server name,
whatever the globs are.
https://spec.matrix.org/v1.19/client-server-api/#mroomserver_acl
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

# Server names as `is_server_name` takes them, folded and without port. A glob that asks for more never matches.
_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789-.[]:"
_FOUR_NUMBERS = re.compile(r"[0-9]+(?:\.[0-9]+){3}")


def host_of(server_name: str) -> str:
    """A server name without its port: "the suspect server's port number must not be considered"."""
    head, bracket, _ = server_name.partition("]")
    return head + bracket if bracket else server_name.partition(":")[0]


class Globs:
    """Any of some globs (`*`: any characters, `?`: one), without regard to case.

    Each glob is a row of states, one before each of its characters and one behind the last; a star is a state that may
    stay. `_moves` says, for each character of a text, which states it leads on from; `_stays` which states it leaves.
    """

    __slots__ = ("_begin", "_elsewhere", "_end", "_moves", "_stays", "weight")

    def __init__(self, globs: Iterable[str]) -> None:
        moves: dict[str, list[int]] = {character: [] for character in "?" + _ALPHABET}
        begin, stays, end = [], [], []
        state = 0
        for glob in globs:
            begin.append(state)
            for character in glob.lower():
                if character == "*":
                    stays.append(state)
                    continue
                if character in moves:
                    moves[character].append(state)
                state += 1
            end.append(state)
            state += 1
        self._begin, self._stays, self._end = (_bits(states, state) for states in (begin, stays, end))
        anything = moves.pop("?")
        self._elsewhere = _bits(anything, state)
        self._moves = {character: _bits([*states, *anything], state) for character, states in moves.items() if states}
        # Bytes, roughly.
        self.weight = (len(self._moves) + 4) * (state // 8 + 64)

    def match(self, text: str) -> bool:
        """Whether one of them matches the whole of `text`, a folded host."""
        states = self._begin
        for character in text:
            leading = states & self._moves.get(character, self._elsewhere)
            states = leading << 1 | states & self._stays
            if not states:
                return False
        return bool(states & self._end)


def _bits(places: Iterable[int], length: int) -> int:
    """The number with these bits set."""
    octets = bytearray(length // 8 + 1)
    for place in places:
        octets[place >> 3] |= 1 << (place & 7)
    return int.from_bytes(octets, "little")


class ServerAcl:
    """The rules of one `m.room.server_acl` event. Whatever its content is, it has a meaning."""

    __slots__ = ("_allow", "_allow_ip_literals", "_deny")

    def __init__(self, content: Mapping[str, Any]) -> None:
        # "Defaults to `true` if missing or otherwise not a boolean."
        self._allow_ip_literals = content.get("allow_ip_literals") is not False
        self._allow, self._deny = (Globs(_texts(content.get(name))) for name in ("allow", "deny"))

    @property
    def weight(self) -> int:
        """Bytes that it takes in memory, roughly."""
        return self._allow.weight + self._deny.weight

    def allows(self, server_name: str) -> bool:
        """Whether a server, whose name is one, may take part."""
        host = host_of(server_name).lower()
        if not self._allow_ip_literals and (host.startswith("[") or _FOUR_NUMBERS.fullmatch(host)):
            return False
        return not self._deny.match(host) and self._allow.match(host)


def _texts(obj: object) -> Iterable[str]:
    return [one for one in obj if isinstance(one, str)] if isinstance(obj, list | tuple) else []
