"""The text that search looks at: which text an event has, its normal form, its words and its n-grams.

Text is compared in one form: NFKC, casefolded, without characters that nobody sees, every stretch of white space one
space. A character of it is of one of four kinds:

    w   a letter, mark or digit of a script that puts something between its words
    d   one of a script that does not (Han, kana, Hangul, Thai, Lao, Khmer, Burmese, Tibetan ...)
    s   a symbol: emoji, currencies, mathematics
    -   everything else: spaces and punctuation

A *run* is a longest stretch of `w` or of `d`. What is looked up in the index:

- words: the runs of `w`, up to MAX_WORD characters;
- grams: of runs of `w` every three characters that follow each other, of runs of `d` every single character and every
  two, of symbols each one. A gram is a number of 32 bits, the CRC of its characters: two grams may share one, so what
  the index finds is compared with the text afterwards.

So any three letters that follow each other are found, any two Chinese characters, any emoji. What a user asks stands in
`search_query`. https://spec.matrix.org/v1.19/client-server-api/#server-side-search
"""

import html
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any
from zlib import crc32

from homeserver.domain.relations import reply_target

# What comes after so many characters of a text is not searched.
MAX_TEXT = 10_000
# Longer runs are no words: keys, hashes, pictures as text. Their grams are found.
MAX_WORD = 64

_ASCII_RUNS = re.compile("[a-z0-9]+")
_RUNS = re.compile("(?P<w>w+)|(?P<d>[d\U00020000-\U0003ffff]+)|(?P<s>[s\U00040000-\U0010ffff])")
# What nobody sees: joiners, marks of direction, variation selectors, tags.
_UNSEEN = re.compile(
    "[\u00ad\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff"
    "\uffa0\ufff9-\ufffb\U000e0000-\U000e0fff]+"
)
_CONTROLS = re.compile("[\0-\x1f\x7f-\x9f\ud800-\udfff]")
_TAGS = re.compile("<[^<>]*>")
_LINKS = re.compile('href="([^"<>]*)"')
# The blocks of the scripts that put nothing between words. Korean has spaces, but glues its particles to the words.
_DENSE = (
    (0x0E00, 0x0FFF),  # Thai, Lao, Tibetan
    (0x1000, 0x109F),  # Burmese
    (0x1100, 0x11FF),  # Hangul letters
    (0x1780, 0x17FF),  # Khmer
    (0x1950, 0x1AAF),  # Tai scripts, Buginese
    (0x1B00, 0x1B7F),  # Balinese
    (0x2E80, 0x2FDF),  # radicals
    (0x3005, 0x3007),
    (0x3021, 0x312F),  # kana, Bopomofo
    (0x3130, 0x318F),  # Hangul letters
    (0x31A0, 0x31FF),
    (0x3400, 0x4DBF),  # Han
    (0x4E00, 0x9FFF),
    (0xA980, 0xA9FF),  # Javanese, Burmese
    (0xAA60, 0xAADF),
    (0xAC00, 0xD7FF),  # Hangul syllables
    (0xF900, 0xFAFF),
    (0x1B000, 0x1B16F),  # kana
)
_QUOTES = str.maketrans({"\u2018": "'", "\u2019": "'", "\u02bc": "'", "\u201c": '"', "\u201d": '"', "\u201e": '"'})


class Key(IntEnum):
    """Where a text stands in its event; numbers as the index has them."""

    BODY = 0
    NAME = 1
    TOPIC = 2


KEYS: Mapping[str, Key] = {"content.body": Key.BODY, "content.name": Key.NAME, "content.topic": Key.TOPIC}
TYPES: Mapping[str, Key] = {"m.room.message": Key.BODY, "m.room.name": Key.NAME, "m.room.topic": Key.TOPIC}


@dataclass(frozen=True, slots=True)
class Searchable:
    """The text of an event as it stands there, and under which key."""

    key: Key
    text: str


def searchable(type: str, content: Mapping[str, Any]) -> Searchable | None:
    """What of an event is searched, if anything. Of an edit, give what it puts in its place (`m.new_content`)."""
    key = TYPES.get(type)
    if key is None:
        return None
    parts = {Key.BODY: _message, Key.NAME: _name, Key.TOPIC: _topic}[key](content)
    text = "\n".join(part for part in parts if part)
    return Searchable(key, text) if text else None


def _message(content: Mapping[str, Any]) -> Iterator[str]:
    body, formatted = _text(content, "body"), _text(content, "formatted_body")[: 4 * MAX_TEXT]
    if reply_target(content) is not None:
        body = _without_fallback(body)
    if not body.strip():
        # "body" is the fallback of the formatted text, so one of them is enough.
        body = html.unescape(_TAGS.sub(" ", formatted))
    yield body
    filename = _text(content, "filename")
    if filename not in body:
        yield filename
    for link in _LINKS.findall(formatted):
        address = html.unescape(link)
        # Mentions and permalinks are links as well, and nobody wrote them.
        if address not in body and not address.startswith("https://matrix.to/"):
            yield address


def _name(content: Mapping[str, Any]) -> Iterator[str]:
    yield _text(content, "name")


def _topic(content: Mapping[str, Any]) -> Iterator[str]:
    """ "content.topic as well as the body of the text/plain representation in content['m.topic']" """
    topic = _text(content, "topic")
    yield topic
    block = content.get("m.topic")
    representations = block.get("m.text") if isinstance(block, Mapping) else None
    for one in representations if isinstance(representations, list) else ():
        if isinstance(one, Mapping) and one.get("mimetype", "text/plain") == "text/plain":
            plain = _text(one, "body")
            if plain != topic:
                yield plain


def _text(content: Mapping[str, Any], member: str) -> str:
    value = content.get(member)
    return value if isinstance(value, str) else ""


def _without_fallback(body: str) -> str:
    """What older clients put before a reply: lines of the message that it answers, each after ">"."""
    lines = body.split("\n")
    quoted = 0
    while quoted < len(lines) and lines[quoted].startswith(">"):
        quoted += 1
    rest = "\n".join(lines[quoted:])
    return rest if rest.strip() else body


def normal(text: str) -> str:
    """The form in which texts are compared. Of a normal text it is the same text."""
    text = text[: 2 * MAX_TEXT]
    if text.isascii():
        text = text.lower()
    else:
        text = unicodedata.normalize("NFKC", _UNSEEN.sub("", text)).translate(_QUOTES).casefold()
        # Folding may have taken a text out of its form.
        text = unicodedata.normalize("NFKC", text)
    text = _CONTROLS.sub(" ", text)
    return " ".join(text.split())[:MAX_TEXT].rstrip()


def runs(text: str) -> list[tuple[str, str]]:
    """The runs of a normal text, in order, each with its kind."""
    if text.isascii():
        return [("w", run) for run in _ASCII_RUNS.findall(text)]
    kinds = text.translate(_KINDS)
    return [(found.lastgroup or "", text[found.start() : found.end()]) for found in _RUNS.finditer(kinds)]


def kind_of(character: str) -> str:
    """`w`, `d`, `s` or `-`."""
    code = ord(character)
    if code < len(_KINDS):
        return _KINDS[code]
    return "d" if code < 0x40000 else "s"


def words_of(text_runs: list[tuple[str, str]]) -> set[str]:
    """The words among the runs of a text."""
    return {run for kind, run in text_runs if kind == "w" and len(run) <= MAX_WORD}


def grams_of(text_runs: list[tuple[str, str]]) -> set[int]:
    """The grams of the runs of a text: signed numbers of 32 bits."""
    pieces: set[str] = set()
    for kind, run in text_runs:
        if kind == "w":
            pieces.update([run[at : at + 3] for at in range(len(run) - 2)])
        else:
            pieces.update(run)
            pieces.update([run[at : at + 2] for at in range(len(run) - 1)])
    return {crc32(piece.encode()) - 0x80000000 for piece in pieces}


def _kinds() -> str:
    """The kinds of the characters of the first two planes, by their numbers: what `str.translate` takes."""
    # What this Python's Unicode does not know is mostly an emoji.
    by_category = {**dict.fromkeys(("So", "Sc", "Sk", "Sm", "Co", "Cn"), "s"), **dict.fromkeys("LMN", "w")}
    kinds = ["-"] * 0x20000
    for code in range(len(kinds)):
        category = unicodedata.category(chr(code))
        kinds[code] = by_category.get(category[0]) or by_category.get(category) or "-"
    for code in range(0x80):
        kinds[code] = "w" if chr(code).isalnum() else "-"
    for first, last in _DENSE:
        kinds[first : last + 1] = ["d" if kind == "w" else kind for kind in kinds[first : last + 1]]
    return "".join(kinds)


_KINDS = _kinds()
