"""What a server publishes about its signing keys: read, checked, and asked whether a key counted at some time.

Where an answer comes from, how long it is kept and whose word about it is believed are no business of this module
(`federation.keyring`).
https://spec.matrix.org/v1.19/server-server-api/#retrieving-server-keys
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeGuard

from signedjson.key import decode_verify_key_bytes
from signedjson.types import SigningKey, VerifyKey

from homeserver.domain.canonical import JSON_OBJECTS, MAX_INTEGER, canonical_json
from homeserver.domain.errors import BadRequest
from homeserver.domain.hashing import encode_base64
from homeserver.domain.identifiers import is_key_id
from homeserver.domain.signing import key_id_of, read_verify_key, sign_json, verify_json

# "Servers MUST use the lesser of this field and 7 days into the future when determining if a key is valid."
MAX_VALIDITY_MS = 7 * 24 * 3600 * 1000
MAX_ANSWER_BYTES = 64 * 1024
# Of one answer, current ones and old ones each.
MAX_KEYS = 100
# Of one server, over all its answers.
MAX_KNOWN_KEYS = 200


@dataclass(frozen=True, slots=True)
class ServerKey:
    """One key. Times are ms; `expired_ts` is None as long as the server uses the key."""

    key_id: str
    key: bytes
    valid_until_ts: int
    expired_ts: int | None = None

    @property
    def verify_key(self) -> VerifyKey:
        """To check signatures with; made anew each time."""
        return decode_verify_key_bytes(self.key_id, self.key)

    def counts_at(self, ts: int, *, enforce_validity: bool = True) -> bool:
        """Whether a signature of that time counts.

        Of an old key it does until the key expired, in every room version: "any keys that are known to have expired
        prior to the event's `origin_server_ts` are ignored". `valid_until_ts` "MUST be ignored in room versions 1, 2,
        3, and 4" (`enforce_validity` is false there).
        """
        if self.expired_ts is not None:
            return ts <= self.expired_ts
        return ts <= self.valid_until_ts or not enforce_validity


@dataclass(frozen=True, slots=True)
class KeyAnswer:
    """What a server answered, with no signatures but its own: fit to be passed on. Times are ms."""

    document: Mapping[str, Any]
    valid_until_ts: int
    fetched_ts: int

    def is_fresh(self, now_ms: int) -> bool:
        """Whether a notary need not ask again: it "should cache a response for half of its lifetime"."""
        return now_ms < (self.fetched_ts + self.valid_until_ts) // 2


@dataclass(frozen=True, slots=True)
class ServerKeys:
    """The keys of a server, and the answer in which they stand."""

    server_name: str
    keys: tuple[ServerKey, ...]
    answer: KeyAnswer


def read_server_keys(server_name: str, answer: object, now_ms: int) -> ServerKeys:
    """The keys of an answer of `GET /_matrix/key/v2/server`, or of one of those that a notary gives.

    Raises BadRequest unless it is about this server, is of reasonable size, and is signed by one of the keys that it
    says the server uses.
    """
    document = _document(server_name, answer)
    valid_until_ts = document.get("valid_until_ts")
    if not _is_time(valid_until_ts):
        raise _wrong("does not say until when it is valid")
    valid_until_ts = min(valid_until_ts, now_ms + MAX_VALIDITY_MS)
    current = {key_id: key for key_id, key, _ in _read_keys(document.get("verify_keys"))}
    if not any(verify_json(document, server_name, key, key_id) for key_id, key in current.items()):
        raise _wrong("is not signed by a key that it names")
    keys = {key_id: ServerKey(key_id, bytes(key), valid_until_ts) for key_id, key in current.items()}
    for key_id, key, entry in _read_keys(document.get("old_verify_keys", {})):
        expired_ts = entry.get("expired_ts")
        if _is_time(expired_ts):
            # An old key that expires in the future would escape the rule of the seven days.
            keys[key_id] = ServerKey(key_id, bytes(key), valid_until_ts, min(expired_ts, now_ms))
    return ServerKeys(server_name, tuple(keys.values()), KeyAnswer(document, valid_until_ts, now_ms))


def merge_keys(known: Iterable[ServerKey], told: Iterable[ServerKey], *, by_server: bool) -> list[ServerKey]:
    """The keys of a server after an answer: those that it left out stay known, for what they signed before.

    A key that expired stays expired. Only the server itself (`by_server`) can give an id to another key: what a notary
    passes on shall not take the place of what is known.
    """
    merged = {key.key_id: key for key in known}
    for key in told:
        old = merged.get(key.key_id)
        if old is not None and old.key == key.key:
            expired = [ts for ts in (old.expired_ts, key.expired_ts) if ts is not None]
            valid_until_ts = max(old.valid_until_ts, key.valid_until_ts)
            merged[key.key_id] = ServerKey(key.key_id, key.key, valid_until_ts, min(expired, default=None))
        elif old is None or by_server:
            merged[key.key_id] = key
    newest = sorted(merged.values(), key=lambda key: (key.expired_ts is None, key.expired_ts or key.valid_until_ts))
    return newest[-MAX_KNOWN_KEYS:]


def own_document(
    server_name: str, key: SigningKey, old_keys: Iterable[ServerKey], valid_until_ts: int
) -> dict[str, Any]:
    """Our own answer, signed: the key in use, and those that we used before."""
    answer = {
        "server_name": server_name,
        "valid_until_ts": valid_until_ts,
        "verify_keys": {key_id_of(key): {"key": encode_base64(bytes(key.verify_key))}},
        "old_verify_keys": {
            old.key_id: {"key": encode_base64(old.key), "expired_ts": old.expired_ts} for old in old_keys
        },
    }
    return sign_json(answer, server_name, key)


def _wrong(message: str) -> BadRequest:
    return BadRequest(f"What was told of a server's keys {message}", "M_BAD_JSON")


def _document(server_name: str, answer: object) -> dict[str, Any]:
    """The answer without what others added to it."""
    if not isinstance(answer, JSON_OBJECTS) or answer.get("server_name") != server_name:
        raise _wrong("is not about this server")
    signatures = answer.get("signatures")
    own = signatures.get(server_name) if isinstance(signatures, JSON_OBJECTS) else None
    if not isinstance(own, JSON_OBJECTS):
        raise _wrong("is not signed by the server")
    document = {key: value for key, value in answer.items() if key != "unsigned"} | {"signatures": {server_name: own}}
    if len(canonical_json(document)) > MAX_ANSWER_BYTES:
        raise _wrong("is too large")
    return document


def _is_time(obj: object) -> TypeGuard[int]:
    return isinstance(obj, int) and not isinstance(obj, bool) and 0 <= obj <= MAX_INTEGER


def _read_keys(obj: object) -> Iterator[tuple[str, VerifyKey, Mapping[str, Any]]]:
    """Id, key and whole entry of each key in a list of them; malformed ones and other algorithms are passed over."""
    if not isinstance(obj, JSON_OBJECTS) or len(obj) > MAX_KEYS:
        raise _wrong(f"has no list of at most {MAX_KEYS} keys")
    for key_id, entry in obj.items():
        if is_key_id(key_id) and isinstance(entry, JSON_OBJECTS) and isinstance(entry.get("key"), str):
            with suppress(BadRequest):
                yield key_id, read_verify_key(key_id, entry["key"]), entry
