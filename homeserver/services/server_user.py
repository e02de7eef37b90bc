"""The account with which the server itself speaks to its users. Nobody can register it, and nobody can log in to it."""

LOCALPART = "notices"


def server_user(server_name: str) -> str:
    """The user id of that account."""
    return f"@{LOCALPART}:{server_name}"
