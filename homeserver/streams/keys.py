"""The keys under which publications are filed and waited for.

A key is a short string: who or what a publication touches.
"""


def user_key(user_id: str) -> str:
    return "u" + user_id


def device_key(user_id: str, device_id: str) -> str:
    return "d" + user_id + "|" + device_id


def room_key(room: int) -> str:
    """`room` is the room's internal number."""
    return f"r{room}"


def room_of(key: str) -> int | None:
    """The room's internal number; None if the key is not that of a room."""
    return int(key[1:]) if key.startswith("r") else None
