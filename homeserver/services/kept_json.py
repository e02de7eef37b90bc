"""What clients give us to keep, as JSON text: account data, filters, profile fields, push rules.

Events are not kept this way: those of old rooms may hold integers of any size, whose every digit is hashed.
"""

import orjson

from homeserver.domain.canonical import canonical_json
from homeserver.domain.errors import BadRequest


def kept_json(value: object) -> str:
    """Raises BadRequest for an integer beyond the range of a double: most readers of JSON, ours too, cannot read it."""
    encoded = canonical_json(value)
    try:
        orjson.loads(encoded)
    except orjson.JSONDecodeError as error:
        raise BadRequest("A number is beyond what JSON readers can hold", "M_BAD_JSON") from error
    return encoded.decode()
