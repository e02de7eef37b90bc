"""What somebody searches for: the parsed search term, what it asks of the index, and whether a text matches.

A term is split at spaces, and every part must match, anywhere in the text:

    report      somewhere in it, also within a word: "reports", "misreport"
    "the cat"   these whole words, one after the other
    go          too short for the index (`search_text`): as a whole word
    会议        two characters, or one, of a script without spaces: somewhere in it
    a/b.pdf     punctuation counts, but it alone finds nothing

Stars at the ends of a part are left out: everything is found within words. The index is asked for what every match must
have; what it finds is compared with the text (`Query.matches`).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from homeserver.domain.errors import BadRequest
from homeserver.domain.search_text import MAX_WORD, grams_of, kind_of, normal, runs

MAX_CHARACTERS = 1_000
MAX_PARTS = 100
# The index is asked for so many grams and words at most.
MAX_GRAMS, MAX_WORDS = 48, 16
MAX_HIGHLIGHTS = 50

_PARTS = re.compile('"([^"]*)"|([^\\s"]+)')


@dataclass(frozen=True, slots=True)
class Part:
    """`text` is in normal form. `whole`: it begins and ends where words do."""

    text: str
    whole: bool

    def is_in(self, text: str) -> bool:
        """Whether a normal text holds it."""
        if not self.whole:
            return self.text in text
        at = text.find(self.text)
        while at >= 0:
            if _is_edge(text, at) and _is_edge(text, at + len(self.text)):
                return True
            at = text.find(self.text, at + 1)
        return False


@dataclass(frozen=True, slots=True)
class Query:
    """`grams` and `words`: a text that matches has all of them. `named`: the words that make it more likely the one."""

    parts: tuple[Part, ...]
    grams: tuple[int, ...]
    words: tuple[str, ...]
    named: tuple[str, ...]

    @property
    def is_empty(self) -> bool:
        """It can find nothing."""
        return not self.parts

    def matches(self, text: str) -> bool:
        """Whether a normal text holds all parts."""
        return all(part.is_in(text) for part in self.parts)


def parse_query(term: str) -> Query:
    """Raises BadRequest for a term that is too long."""
    if len(term) > MAX_CHARACTERS:
        raise BadRequest(f"search_term has more than {MAX_CHARACTERS} characters")
    parts: dict[Part, None] = {}
    grams: dict[int, None] = {}
    words: dict[str, None] = {}
    named: dict[str, None] = {}
    for quoted, bare in _PARTS.findall(normal(term)):
        text = quoted.strip() or bare.strip("*")
        text_runs = runs(text)
        if not text_runs:
            continue
        found = sorted(grams_of(text_runs))
        part = Part(text, bool(quoted) or not found)
        parts[part] = None
        grams.update(dict.fromkeys(found))
        own_words = [run for kind, run in text_runs if kind == "w" and len(run) <= MAX_WORD]
        named.update(dict.fromkeys(own_words))
        if part.whole:
            words.update(dict.fromkeys(own_words))
    if len(parts) > MAX_PARTS:
        raise BadRequest(f"search_term has more than {MAX_PARTS} words")
    return Query(
        tuple(parts), tuple(_spread(list(grams), MAX_GRAMS)), tuple(words)[:MAX_WORDS], tuple(named)[:MAX_WORDS]
    )


def highlights(query: Query, texts: Iterable[str]) -> list[str]:
    """What a client should mark in these texts, which are as they stand in their events: the parts, and how they are
    written there if that is otherwise than in their normal form."""
    wanted = list(dict.fromkeys(piece for part in query.parts for piece in part.text.split()))
    marked = dict.fromkeys(wanted)
    for text in texts:
        folded = text.casefold()
        missing = [piece for piece in wanted if piece not in folded]
        if missing and len(marked) < MAX_HIGHLIGHTS:
            for written in text.split():
                form = normal(written)
                if any(piece in form for piece in missing):
                    marked[written] = None
    return list(marked)[:MAX_HIGHLIGHTS]


def _is_edge(text: str, at: int) -> bool:
    """Whether no word goes on across this place."""
    return at == 0 or at == len(text) or kind_of(text[at - 1]) != "w" or kind_of(text[at]) != "w"


def _spread(entries: list[int], most: int) -> list[int]:
    """Some of the entries, from everywhere in the list."""
    if len(entries) <= most:
        return entries
    return [entries[at * len(entries) // most] for at in range(most)]
