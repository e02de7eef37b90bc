"""The text that search looks at: its normal form, its words and grams, and the query that is compared with it."""

import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeserver.domain.errors import BadRequest
from homeserver.domain.search_query import MAX_GRAMS, MAX_WORDS, highlights, parse_query
from homeserver.domain.search_text import MAX_TEXT, Key, grams_of, kind_of, normal, runs, searchable, words_of

# Latin, Cyrillic, Han and kana, Arabic, Devanagari, Thai, Hangul, emoji, and what stands between words.
ALPHABETS = (
    "abcdefgABCéßİ",
    "абвгдеЖЗЁ",
    "会议今天日本語カナ々",
    "مرحباكيف١٢",
    "नमस्तेकैसेहैं",
    "สวัสดีครับ",
    "안녕하세요",
    "😀🎉👍🏽❤️",
    " \n.,!-_/'\"()¿«»…\u200b\u00a0",
    "0123456789½①",
)
texts = st.lists(st.one_of([st.text(alphabet, min_size=1, max_size=6) for alphabet in ALPHABETS]), max_size=12).map(
    "".join
)


@given(st.one_of(st.text(max_size=60), texts))
def test_normal_form_is_stable(text: str) -> None:
    """The normal form of a normal form is the same, without spaces at its ends or beside each other."""
    form = normal(text)
    assert normal(form) == form
    assert form == " ".join(form.split())


@given(texts)
def test_how_something_is_written_does_not_matter(text: str) -> None:
    """Case, composition, width and invisible characters make no difference."""
    forms = [text.upper(), unicodedata.normalize("NFD", text), unicodedata.normalize("NFKC", text)]
    assert normal("\u200d".join(text)) == normal(text)
    assert {normal(form.lower()) for form in forms} == {normal(text.upper().lower())}


@given(texts)
def test_runs_cover_letters_and_symbols(text: str) -> None:
    """Every letter, digit, mark and symbol is in a run of its kind, in order; nothing else is."""
    form = normal(text)
    told = [(kind, character) for kind, run in runs(form) for character in run]
    assert told == [(kind_of(character), character) for character in form if kind_of(character) != "-"]


@given(texts, st.integers(0, 30), st.integers(1, 6))
def test_index_misses_nothing(text: str, begin: int, length: int) -> None:
    """Whatever part of a text is asked for, what the index is asked for is there, and the comparison agrees."""
    form = normal(text)
    part = form[begin : begin + length].strip(' "*')
    query = parse_query(part)
    if not query.parts or " " in part or '"' in part:
        return
    text_runs = runs(form)
    if part in form and not query.parts[0].whole:
        assert query.matches(form)
    if query.matches(form):
        assert set(query.grams) <= grams_of(text_runs)
        assert set(query.words) <= words_of(text_runs)
        assert part in form


@given(st.one_of(st.text(max_size=400), texts))
def test_any_term_can_be_parsed(term: str) -> None:
    """A term asks for something bounded, or for nothing; what has no letter or symbol asks for nothing."""
    query = parse_query(term)
    assert len(query.grams) <= MAX_GRAMS and len(query.words) <= MAX_WORDS and len(query.named) <= MAX_WORDS
    assert query.is_empty or query.grams or query.words
    assert all("'" not in word and "\\" not in word and "\0" not in word for word in (*query.words, *query.named))
    if not any(kind_of(character) != "-" for character in normal(term)):
        assert query.is_empty


@pytest.mark.parametrize(
    ("text", "term", "matches"),
    [
        ("The Cat sat", "cat", True),
        ("concatenate", "cat", True),
        ("concatenate", '"cat"', False),
        ("the cat's", '"cat"', True),
        ("the\n  cat sat", '"the cat"', True),
        ("go on", "go", True),
        ("going on", "go", False),
        ("c++ and c#", "c++", True),
        ("abc++", "c++", False),
        ("abc++", "bc++", False),
        ("abc++", "abc++", True),
        ("straße", "STRASSE", True),
        ("ｆｕｌｌ ｗｉｄｔｈ", "full width", True),
        ("\u201cquoted\u201d", "quoted", True),
        ("it\u2019s", "it's", True),
        ("会议纪要", "会 要", True),
        ("会议纪要", "会要", False),
        ("日本go言語", "go", True),
        ("cafe\u0301", "café", True),
        ("one two", "two one", True),
        ("one two", '"two one"', False),
        ("5 € each", "€", True),
        ("nothing here", "", False),
    ],
)
def test_what_matches(text: str, term: str, matches: bool) -> None:
    """Parts anywhere, short ones and quoted ones as whole words, all of them."""
    query = parse_query(term)
    assert (not query.is_empty and query.matches(normal(text))) is matches


@pytest.mark.parametrize("term", ["x" * 1001, " ".join(f"w{n}" for n in range(101))])
def test_long_terms_are_refused(term: str) -> None:
    """Nobody types that."""
    with pytest.raises(BadRequest):
        parse_query(term)


HTML = {"body": "<b>", "mimetype": "text/html"}
PLAIN = {"body": "same", "mimetype": "text/plain"}
MENTION = "https://matrix.to/#/@a:b"
REPLY = {"m.relates_to": {"m.in_reply_to": {"event_id": "$x"}}}


@pytest.mark.parametrize(
    ("type", "content", "text"),
    [
        ("m.room.message", {"body": "hello"}, "hello"),
        ("m.room.message", {"body": "a.jpg", "filename": "a.jpg"}, "a.jpg"),
        ("m.room.message", {"body": "my cat", "filename": "a.jpg"}, "my cat\na.jpg"),
        ("m.room.message", {"body": " ", "formatted_body": "<b>a</b> &lt; <i>b</i>"}, " a  <  b "),
        ("m.room.message", {"body": "see", "formatted_body": '<a href="https://x/?a&amp;b">see</a>'}, "see\nhttps://x/?a&b"),
        ("m.room.message", {"body": "Ann", "formatted_body": f'<a href="{MENTION}">Ann</a>'}, "Ann"),
        ("m.room.message", {"body": "> <@a:b> hi\n> you\n\nhello", **REPLY}, "\nhello"),
        ("m.room.message", {"body": "> hi\nhello"}, "> hi\nhello"),
        ("m.room.message", {"body": 7, "formatted_body": ["x"], "filename": {}}, None),
        ("m.room.message", {}, None),
        ("m.room.name", {"name": "Lounge", "body": "x"}, "Lounge"),
        ("m.room.topic", {"topic": "old", "m.topic": {"m.text": [{"body": "new"}, HTML]}}, "old\nnew"),
        ("m.room.topic", {"topic": "same", "m.topic": {"m.text": [PLAIN, 7]}}, "same"),
        ("m.room.topic", {"topic": None, "m.topic": 7}, None),
        ("m.room.encrypted", {"body": "hello"}, None),
        ("m.reaction", {"body": "hello"}, None),
    ],
)  # fmt: skip
def test_text_of_events(type: str, content: dict[str, Any], text: str | None) -> None:
    """Which text of an event is searched."""
    found = searchable(type, content)
    assert (None if found is None else found.text) == text
    if found is not None:
        assert found.key == {"m.room.message": Key.BODY, "m.room.name": Key.NAME, "m.room.topic": Key.TOPIC}[type]


def test_long_texts_are_cut() -> None:
    """What comes after so many characters is not searched, and costs nothing."""
    form = normal("\ufdfa" * 65_000)
    assert len(form) <= MAX_TEXT
    assert len(normal("word " * 20_000)) <= MAX_TEXT


def test_what_is_marked() -> None:
    """The parts as they are typed, and as the text writes them where that is otherwise."""
    query = parse_query('"the cat" straße 会议')
    assert highlights(query, ["The CAT lives in the STRASSE"]) == ["the", "cat", "strasse", "会议"]
    assert highlights(query, ["ｔｈｅ cat, Straße"]) == ["the", "cat", "strasse", "会议", "ｔｈｅ"]
    assert len(highlights(parse_query("a b"), [" ".join(f"ａ{n}" for n in range(1000))])) <= 50
