"""Searching over HTTP: what is found, in which form, and that nobody finds what they may not see."""

from typing import Any

import pytest

from tests.builders.search import index_everything
from tests.clients.conftest import Served
from tests.conformance.client import MatrixClient, v3


class Searcher:
    """Asks for one client, and brings the index up to date before."""

    def __init__(self, served: Served, client: MatrixClient) -> None:
        self._served = served
        self._client = client

    async def __call__(self, term: str, next_batch: str | None = None, **criteria: Any) -> dict[str, Any]:
        """`room_events` of the answer."""
        await index_everything(self._served.house.database)
        body = {"search_categories": {"room_events": {"search_term": term, **criteria}}}
        answer = await self._client.call("POST", v3("search"), body, query={"next_batch": next_batch})
        events: dict[str, Any] = answer["search_categories"]["room_events"]
        return events

    async def ids(self, term: str, **criteria: Any) -> list[str]:
        """The events that are found, newest first."""
        found = await self(term, order_by="recent", **criteria)
        return [result["result"]["event_id"] for result in found["results"]]


@pytest.fixture
async def search(served: Served, alice: MatrixClient) -> Searcher:
    return Searcher(served, alice)


async def test_words_and_parts_of_words(alice: MatrixClient, search: Searcher) -> None:
    """Any three letters in a row, short words whole, two Chinese characters, addresses, files, emoji, phrases."""
    room = await alice.create_room()
    texts = {
        "hello": "Hello, how are things going?",
        "link": "look at https://example.org/reports/a-b.html, please",
        "chinese": "今天下午开会议，请大家准备。",
        "go": "we go home",
        "emoji": "done 🎉🎉",
        "shout": "WHAT A DAY",
    }
    sent = {name: await alice.send(room, text) for name, text in texts.items()}
    sent["file"] = await alice.send(
        room, {"msgtype": "m.file", "body": "see this", "filename": "quarterly_report_2024.pdf", "url": "mxc://x/y"}
    )
    expected = {
        "hello": ["hello"], "HELLO": ["hello"], "ell": ["hello"], "hings": ["hello"], "hello things": ["hello"],
        "hello missing": [], "example.org/rep": ["link"], "a-b.html": ["link"], "会议": ["chinese"], "议": ["chinese"],
        "大家准备": ["chinese"], "go": ["go"], "oi": [], "🎉": ["emoji"], "what a": ["shout"], '"a day"': ["shout"],
        '"day a"': [], "2024.pdf": ["file"], "report": ["file", "link"], "quarterly_rep": ["file"],
        "rep*": ["file", "link"], '"report"': ["file"],
    }  # fmt: skip

    for term, names in expected.items():
        assert await search.ids(term) == [sent[name] for name in names], term


async def test_form_of_an_answer(alice: MatrixClient, bob: MatrixClient, search: Searcher) -> None:
    """Results with their context and the profiles of the time, groups, the state of the rooms, and what to mark."""
    room = await alice.create_room(preset="public_chat", name="Lounge")
    await bob.join(room)
    await alice.call("PUT", v3("profile", alice.user_id, "displayname"), {"displayname": "Alice"})
    for text in ("one", "two", "the needle is here", "three", "four"):
        last = await alice.send(room, text)
    found = await search(
        "needle",
        event_context={"before_limit": 1, "after_limit": 1, "include_profile": True},
        groupings={"group_by": [{"key": "room_id"}, {"key": "sender"}]},
        include_state=True,
    )

    assert found["count"] == 1 and found["highlights"] == ["needle"] and "next_batch" not in found
    [result] = found["results"]
    event_id = result["result"]["event_id"]
    assert result["rank"] > 0
    assert result["result"]["content"]["body"] == "the needle is here" and result["result"]["room_id"] == room
    context = result["context"]
    assert [event["content"]["body"] for event in context["events_before"]] == ["two"]
    assert [event["content"]["body"] for event in context["events_after"]] == ["three"]
    assert context["profile_info"] == {alice.user_id: {"displayname": "Alice"}}
    older = await alice.messages(room, context["start"], limit=1)
    newer = await alice.messages(room, context["end"], dir="f")
    assert older["chunk"][0]["content"]["body"] == "one" and newer["chunk"][-1]["event_id"] == last
    assert found["groups"]["room_id"] == {room: {"order": 0, "results": [event_id]}}
    assert found["groups"]["sender"] == {alice.user_id: {"order": 0, "results": [event_id]}}
    state = {(event["type"], event["state_key"]): event["content"] for event in found["state"][room]}
    assert state["m.room.name", ""] == {"name": "Lounge"} and ("m.room.member", bob.user_id) in state


async def test_no_category_and_no_result(search: Searcher, alice: MatrixClient) -> None:
    """Who asks for nothing gets nothing; so does who asks for what nobody said, or for punctuation."""
    nothing = {"count": 0, "highlights": [], "results": []}
    for term in ("nothing of that sort", "", "   ", "***", "?!", "\0", '""'):
        found = await search(term)
        assert {key: found[key] for key in nothing} == nothing, term
    assert await alice.call("POST", v3("search"), {"search_categories": {}}) == {"search_categories": {}}


async def test_pages(alice: MatrixClient, search: Searcher) -> None:
    """Whatever the order and the size of a page, each match comes once; groups have pages of their own."""
    rooms = [await alice.create_room() for _ in range(2)]
    sent = [await alice.send(rooms[n % 2], f"fish number {n}{' fish' * (n % 3)}") for n in range(17)]
    for order in ("recent", "rank"):
        told: list[str] = []
        page = await search("fish", order_by=order, filter={"limit": 5})
        counts = [page["count"]]
        told += [result["result"]["event_id"] for result in page["results"]]
        while "next_batch" in page:
            await alice.send(rooms[0], "another fish that swims by")
            page = await search("fish", page["next_batch"], order_by=order, filter={"limit": 5})
            counts.append(page["count"])
            told += [result["result"]["event_id"] for result in page["results"]]
        assert sorted(told) == sorted(sent) and set(counts) == {len(sent)}
        if order == "recent":
            assert told == sent[::-1]
            sent += await search.ids("swims", filter={"limit": 100})

    groupings = {"group_by": [{"key": "room_id"}]}
    page = await search("number", order_by="recent", groupings=groupings, filter={"limit": 4})
    token = page["groups"]["room_id"][rooms[1]]["next_batch"]
    rest = await search("number", token, order_by="recent", groupings=groupings, filter={"limit": 100})
    assert list(rest["groups"]["room_id"]) == [rooms[1]]
    assert len(rest["results"]) == 8 - len(page["groups"]["room_id"][rooms[1]]["results"])


async def test_rank_puts_words_first(alice: MatrixClient, search: Searcher) -> None:
    """The word itself goes before words that begin with it, and these before those that hold it."""
    room = await alice.create_room()
    sent = [await alice.send(room, text) for text in ("cat", "catalogue", "a location", "concatenated")]
    found = await search("cat")
    ranks = [result["rank"] for result in found["results"]]

    assert [result["result"]["event_id"] for result in found["results"]] == [sent[0], sent[1], sent[3], sent[2]]
    assert ranks == sorted(ranks, reverse=True) and ranks[0] > ranks[1] > ranks[2] == ranks[3] == 0


async def test_keys_and_filters(alice: MatrixClient, bob: MatrixClient, search: Searcher) -> None:
    """Bodies, names and topics can be told apart; rooms, senders, types and files can be chosen."""
    room = await alice.create_room(preset="public_chat", name="heron house", topic="where the heron nests")
    other = await alice.create_room()
    await bob.join(room)
    said = await alice.send(room, "a heron!")
    answered = await bob.send(room, "what heron?")
    elsewhere = await alice.send(other, "no heron here")
    file = await alice.send(room, {"msgtype": "m.image", "body": "heron.jpg", "url": "mxc://x/y"})

    def of(events: list[str], *wanted: str) -> bool:
        return events == list(wanted)

    everywhere = await search.ids("heron")
    assert len(everywhere) == 6
    assert len(await search.ids("heron", keys=["content.name"])) == 1
    assert len(await search.ids("heron", keys=["content.topic", "content.name"])) == 2
    assert of(await search.ids("heron", keys=["content.body"]), file, elsewhere, answered, said)
    assert of(await search.ids("heron", filter={"rooms": [other]}), elsewhere)
    assert elsewhere not in await search.ids("heron", filter={"not_rooms": [other]})
    assert of(await search.ids("heron", filter={"senders": [bob.user_id]}), answered)
    senders = [bob.user_id, alice.user_id]
    assert await search.ids("heron", filter={"senders": senders}) == everywhere
    assert await search.ids("heron", filter={"not_senders": senders}) == []
    assert len(await search.ids("heron", filter={"types": ["m.room.name"]})) == 1
    assert of(await search.ids("heron", filter={"contains_url": True}), file)
    assert file not in await search.ids("heron", filter={"contains_url": False})
    assert await search.ids("heron", filter={"rooms": []}) == await search.ids("heron", filter={"senders": []}) == []
    assert await search.ids("heron", keys=[]) == []


async def test_latest_edit_is_what_is_found(alice: MatrixClient, search: Searcher) -> None:
    """A message is found by what it says now, itself and not its edit; without that edit, by what it said before."""
    room = await alice.create_room()
    sent = await alice.send(room, "the first wording")
    edits = [await edit(alice, room, sent, text) for text in ("the second wording", "the third wording")]
    assert await search.ids("third") == [sent] and await search.ids("wording") == [sent]
    assert await search.ids("first") == await search.ids("second") == []

    await redact(alice, room, edits[1])
    assert await search.ids("second") == [sent] and await search.ids("third") == []
    await redact(alice, room, edits[0])
    assert await search.ids("first") == [sent] and await search.ids("second") == []
    await redact(alice, room, sent)
    assert await search.ids("wording") == []


async def edit(client: MatrixClient, room: str, event_id: str, text: str) -> str:
    return await client.send(
        room,
        {
            "msgtype": "m.text",
            "body": f"* {text}",
            "m.new_content": {"msgtype": "m.text", "body": text},
            "m.relates_to": {"rel_type": "m.replace", "event_id": event_id},
        },
    )


async def redact(client: MatrixClient, room: str, event_id: str) -> None:
    await client.call("PUT", v3("rooms", room, "redact", event_id, f"redact {event_id}"))


async def test_edits_by_others_count_for_nothing(alice: MatrixClient, bob: MatrixClient, search: Searcher) -> None:
    """Nobody makes somebody else's message be found by other words."""
    room = await alice.create_room(preset="public_chat")
    await bob.join(room)
    sent = await alice.send(room, "honest words")
    await edit(bob, room, sent, "slander")

    assert await search.ids("honest") == [sent]
    assert await search.ids("slander") == []


async def test_attack_42_redacted_is_not_found(alice: MatrixClient, search: Searcher, served: Served) -> None:
    """What was redacted is not found, whether the index has heard of it yet or not."""
    room = await alice.create_room()
    sent = await alice.send(room, "regrettable remark")
    assert await search.ids("regrettable") == [sent]
    await redact(alice, room, sent)
    body = {"search_categories": {"room_events": {"search_term": "regrettable"}}}
    at_once = await alice.call("POST", v3("search"), body)

    assert at_once["search_categories"]["room_events"]["results"] == []
    assert await search.ids("regrettable") == []
    rows = await served.house.database.read(lambda store: store.transaction.text("SELECT words::text FROM search"))
    assert not [row for row in rows if "regrettable" in row[0]]


async def test_encrypted_is_not_found(alice: MatrixClient, search: Searcher) -> None:
    """Nothing of an encrypted event is in the index."""
    room = await alice.create_room()
    await alice.send(room, {"algorithm": "m.megolm.v1.aes-sha2", "ciphertext": "ciphered"}, kind="m.room.encrypted")

    assert await search.ids("ciphered") == await search.ids("megolm") == []


async def test_attack_41_strangers_find_nothing(alice: MatrixClient, bob: MatrixClient, served: Served) -> None:
    """Only rooms in which somebody is or was are searched, not those to which they are merely invited."""
    room = await alice.create_room(preset="public_chat", initial_state=[visibility("world_readable")])
    await alice.send(room, "secret meeting place")
    theirs = Searcher(served, bob)
    for filter in ({}, {"rooms": [room]}):
        found = await theirs("secret", filter=filter, include_state=True)
        assert found["results"] == [] and found["count"] == 0 and not found.get("state")
    await alice.invite(room, bob.user_id)
    assert await theirs.ids("secret") == []
    await bob.join(room)
    assert len(await theirs.ids("secret")) == 1


def visibility(value: str) -> dict[str, Any]:
    return {"type": "m.room.history_visibility", "state_key": "", "content": {"history_visibility": value}}


async def test_attack_41_hidden_history_is_not_found(alice: MatrixClient, bob: MatrixClient, served: Served) -> None:
    """Whoever left finds what was there until then; in a room that keeps its history, nothing from before joining,
    and neither number nor token tells that there is something."""
    room = await alice.create_room(preset="public_chat", initial_state=[visibility("joined")])
    early = [await alice.send(room, f"badger {n}") for n in range(3)]
    await bob.join(room)
    middle = [await alice.send(room, f"badger {n}") for n in range(3, 5)]
    await bob.leave(room)
    late = [await alice.send(room, f"badger {n}") for n in range(5, 8)]
    theirs, everything = Searcher(served, bob), Searcher(served, alice)

    found = await theirs("badger", order_by="recent", filter={"limit": 2})
    assert [result["result"]["event_id"] for result in found["results"]] == middle[::-1]
    assert found["count"] == 2 and "next_batch" not in found
    await bob.join(room)
    newest = await alice.send(room, "badger 8")
    found = await theirs("badger", order_by="recent")
    assert [result["result"]["event_id"] for result in found["results"]] == [newest, *middle[::-1]]
    assert found["count"] == 3
    assert await everything.ids("badger") == [newest, *late[::-1], *middle[::-1], *early[::-1]]
    await bob.leave(room)
    await bob.call("POST", v3("rooms", room, "forget"))
    assert await theirs.ids("badger") == []


async def test_edit_after_leaving_is_not_found(alice: MatrixClient, bob: MatrixClient, served: Served) -> None:
    """Whoever left must not learn what a message says now, nor how many messages say it."""
    room = await alice.create_room(preset="public_chat")
    await bob.join(room)
    sent = await alice.send(room, "the harmless version")
    await bob.leave(room)
    await edit(alice, room, sent, "the confidential version")
    found = await Searcher(served, bob)("confidential")

    assert found["results"] == [] and found["count"] == 0


async def test_ignored_senders_are_not_found(alice: MatrixClient, bob: MatrixClient, search: Searcher) -> None:
    """Neither as results nor around them."""
    room = await alice.create_room(preset="public_chat")
    await bob.join(room)
    await bob.send(room, "spam and eggs")
    sent = await alice.send(room, "stop that spam")
    ignored: dict[str, Any] = {"ignored_users": {bob.user_id: {}}}
    await alice.call("PUT", v3("user", alice.user_id, "account_data", "m.ignored_user_list"), ignored)
    found = await search("spam", event_context={})

    assert [result["result"]["event_id"] for result in found["results"]] == [sent]
    around = found["results"][0]["context"]["events_before"]
    assert all(event["sender"] != bob.user_id for event in around if event["type"] == "m.room.message")


async def test_bundled_aggregations_come_along(alice: MatrixClient, search: Searcher) -> None:
    """A result carries its newest edit, as anywhere else."""
    room = await alice.create_room()
    sent = await alice.send(room, "with a mistake")
    await edit(alice, room, sent, "without any mistake")
    [result] = (await search("any"))["results"]

    replaced = result["result"]["unsigned"]["m.relations"]["m.replace"]
    assert replaced["content"]["m.new_content"]["body"] == "without any mistake"


@pytest.mark.parametrize(
    ("criteria", "errcode"),
    [
        ({}, "M_MISSING_PARAM"),
        ({"search_term": 7}, "M_BAD_JSON"),
        ({"search_term": "x" * 1001}, "M_INVALID_PARAM"),
        ({"search_term": " ".join(f"w{n}" for n in range(101))}, "M_INVALID_PARAM"),
        ({"search_term": "x", "order_by": "best"}, "M_INVALID_PARAM"),
        ({"search_term": "x", "keys": ["content.formatted_body"]}, "M_INVALID_PARAM"),
        ({"search_term": "x", "keys": "content.body"}, "M_BAD_JSON"),
        ({"search_term": "x", "filter": []}, "M_BAD_JSON"),
        ({"search_term": "x", "event_context": {"before_limit": -1}}, "M_INVALID_PARAM"),
        ({"search_term": "x", "event_context": {"after_limit": "5"}}, "M_BAD_JSON"),
        ({"search_term": "x", "groupings": {"group_by": [{"key": "type"}]}}, "M_INVALID_PARAM"),
        ({"search_term": "x", "groupings": {"group_by": ["room_id"]}}, "M_INVALID_PARAM"),
        ({"search_term": "x", "include_state": "yes"}, "M_BAD_JSON"),
    ],
)
async def test_what_makes_no_sense_is_refused(alice: MatrixClient, criteria: dict[str, Any], errcode: str) -> None:
    """With a word that says what is wrong."""
    refused = await alice.ask("POST", v3("search"), {"search_categories": {"room_events": criteria}})
    assert refused.status == 400 and refused.body["errcode"] == errcode, refused.body


@pytest.mark.parametrize(
    "token",
    ["x", "t", "t.1.2.3.4.5", "t.1.2.3.4.5.6.7", "q.1.2.3.4.5.6", "t.1.9999999999.3.4.5.6", "t.1.2.3.4.5.-6",
     "r.1.2.3.4.5.6.type.eA", "r.1.2.3.4.5.6.sender.!", "r.1.2.3.4.5.6.sender._w", "t.１.2.3.4.5.6", "t.1.2.3.4.5.6\0"],
)  # fmt: skip
async def test_foreign_tokens_are_refused(alice: MatrixClient, token: str) -> None:
    """What cannot have come from here leads nowhere."""
    body = {"search_categories": {"room_events": {"search_term": "x"}}}
    refused = await alice.ask("POST", v3("search"), body, query={"next_batch": token})
    assert refused.status == 400, refused.body


HOSTILE = (
    "a" * 1000,
    "aaa " * 250,
    " ".join(f"{n:x}" for n in range(100)),
    " ".join(f"word{n:x}" for n in range(100)),
    "*" * 1000,
    '"' * 999,
    '"' + "a b " * 200 + '"',
    "\0" * 100 + "spam\0",
    "' | 'x':* & !('y' <-> \\'z\\') -- ;DROP TABLE search",
    "%s %(x)s {0} $1 ${x}",
    "\u202e\u200d\ufeff\u2066",
    "\ufdfa" * 1000,
    "😀" * 1000,
    "的" * 1000,
    "e" + "\u0301" * 999,
    "ﬃ" * 1000,
)


async def test_hostile_terms_are_answered(alice: MatrixClient, search: Searcher) -> None:
    """Whatever is asked, in whatever way, is answered, and finds no more and no less than it should."""
    room = await alice.create_room()
    long = await alice.send(room, " ".join(f"word{n:x}" for n in range(5_000)) + " a" * 5_000)
    texts = [await alice.send(room, term[:900]) for term in HOSTILE]
    for term in HOSTILE:
        for criteria in ({}, {"keys": ["content.name"]}, {"event_context": {"before_limit": 10**30}}):
            await search(term, **criteria)
    assert await search.ids(HOSTILE[3]) == [texts[3], long]
    assert await search.ids("spam") == [texts[7]]
    assert await search.ids("drop table search") == [texts[8]]
    assert await search.ids("%(x)s") == [texts[9]]


async def test_half_a_character_is_no_json(alice: MatrixClient) -> None:
    """A surrogate without its other half stands in no text."""
    body = b'{"search_categories":{"room_events":{"search_term":"x\\ud800"}}}'
    assert (await alice.ask("POST", v3("search"), body)).status == 400
