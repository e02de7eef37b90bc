"""With which servers the operator lets this one talk: all, none, those of a list, or all but those of a list.

Lists name hosts, without regard to case and port, since whoever owns a host owns its ports: `example.org`, or
`*.example.org` for every host below it. It counts in both directions.
"""

from collections.abc import Sequence

from federation.names import split_name


class Partners:
    """`allow`: if it is not empty, only these. `deny`: never these, allowed or not."""

    def __init__(self, enabled: bool = True, allow: Sequence[str] = (), deny: Sequence[str] = ()) -> None:
        self._enabled = enabled
        self._allow = frozenset(name.lower() for name in allow)
        self._deny = frozenset(name.lower() for name in deny)

    def allows(self, server_name: str) -> bool:
        """Whether we call this server, and answer it. `server_name` is one (`is_server_name`)."""
        if not self._enabled:
            return False
        patterns = _patterns(split_name(server_name)[0].lower())
        return self._deny.isdisjoint(patterns) and (not self._allow or not self._allow.isdisjoint(patterns))


def _patterns(host: str) -> set[str]:
    """Everything that a list may say to mean this host."""
    labels = host.split(".")
    return {host, *("*." + ".".join(labels[count:]) for count in range(1, len(labels)))}
