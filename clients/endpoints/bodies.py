"""Members of a JSON body, checked: what is missing is M_MISSING_PARAM, what has another type M_BAD_JSON."""

from collections.abc import Mapping
from typing import Any

from homeserver.domain.errors import BadRequest


def text(body: Mapping[str, Any], key: str) -> str | None:
    """A string that may be left out, or be null."""
    value = body.get(key)
    if value is not None and not isinstance(value, str):
        raise BadRequest(f"{key} must be a string", "M_BAD_JSON")
    return value


def required_text(body: Mapping[str, Any], key: str) -> str:
    value = text(body, key)
    if value is None:
        raise BadRequest(f"{key} is missing", "M_MISSING_PARAM")
    return value


def flag(body: Mapping[str, Any], key: str, default: bool) -> bool:
    """A boolean that may be left out, or be null."""
    value = body.get(key)
    if value is not None and not isinstance(value, bool):
        raise BadRequest(f"{key} must be true or false", "M_BAD_JSON")
    return default if value is None else value
