"""Messages to search among: made-up words of four scripts, as frequent as words are, and some that are planted.

The same seed gives the same messages. Every planted text stands in one message of 200, as the target of the issue says.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate

EVERY = 200
WORDS = 20_000
SYLLABLES = {
    "latin": ("ba", "ne", "ki", "tor", "lan", "es", "mi", "dro", "wen", "hal", "u", "ist", "ga", "pre", "ing", "con"),
    "cyrillic": ("ва", "не", "ки", "про", "ст", "ра", "ени", "та", "ло", "мы"),
}
# As many as a newspaper needs.
HAN = [chr(0x4E00 + number) for number in range(3_000)]


@dataclass(frozen=True)
class Planted:
    """A text in one message of EVERY, and terms that find it: whole, and a part of it."""

    text: str
    terms: tuple[str, ...]


PLANTED = (
    Planted("zeppelin", ("zeppelin", "eppel", '"zeppelin"')),
    Planted("颱風", ("颱風",)),
    Planted("https://files.example/minutes/2024-q3.pdf", ("minutes/2024-q3", "2024-q3.pdf")),
    Planted("qi", ("qi",)),
)


def make_messages(count: int, seed: int = 1) -> Iterator[str]:
    """Texts of 2 to 25 words; one of 20 is Chinese, one of ten Russian."""
    choose = random.Random(seed)
    words = {script: _vocabulary(choose, script) for script in SYLLABLES}
    frequencies = list(accumulate(1 / (rank + 3) for rank in range(WORDS)))
    of_characters = frequencies[: len(HAN)]
    for number in range(count):
        length = min(25, 2 + int(choose.expovariate(1 / 8)))
        kind = choose.random()
        if kind < 0.05:
            text = "".join(choose.choices(HAN, cum_weights=of_characters, k=2 * length))
        else:
            script = "cyrillic" if kind < 0.15 else "latin"
            text = " ".join(choose.choices(words[script], cum_weights=frequencies, k=length))
        for at, planted in enumerate(PLANTED):
            if (number + 37 * at) % EVERY == 0:
                text = f"{text} {planted.text}"
        yield text


def common_word(seed: int = 1) -> str:
    """The most frequent word, which stands in every third message or so."""
    return _vocabulary(random.Random(seed), "latin")[0]


def _vocabulary(choose: random.Random, script: str) -> list[str]:
    found: dict[str, None] = {}
    while len(found) < WORDS:
        found["".join(choose.choices(SYLLABLES[script], k=choose.choice((1, 2, 2, 3, 3, 4, 5))))] = None
    return list(found)
