// What is said in a room: sending with its local echo, paging, edits, reactions, redactions.

import assert from "node:assert/strict";

import { EventStatus, EventTimeline, TimelineWindow } from "matrix-js-sdk";

import { inRoom, meet, person, refused, say, secondDevice, shown, started, texts, until } from "./people.js";

const HISTORY = 60;

/** Reads on until there is no more. */
async function pageAll(window, direction) {
    for (let pages = 0; window.canPaginate(direction); pages += 1) {
        assert.ok(pages < HISTORY, "paging ends");
        await window.paginate(direction, 20);
    }
}

export async function sending_with_local_echo() {
    const alice = await person("alice");
    const bob = await person("bob");
    const room = await meet(alice, [bob]);
    const timeline = alice.getRoom(room).getLiveTimeline();
    const sending = alice.sendTextMessage(room, "Good morning");
    const [echo] = alice.getRoom(room).getPendingEvents();
    assert.deepEqual([echo.getContent().body, echo.isSending()], ["Good morning", true]);
    const { event_id: eventId } = await sending;
    // The event from sync takes the place of the echo, by its transaction id: it is there once.
    await until(() => alice.getRoom(room).findEventById(eventId)?.status === null, "the echo is replaced");
    const own = timeline.getEvents().filter((event) => event.getContent().body === "Good morning");
    assert.deepEqual(own.map((event) => event.getId()), [eventId]);
    assert.equal(own[0], echo);
    assert.deepEqual(alice.getRoom(room).getPendingEvents(), []);
    assert.ok(echo.getUnsigned().transaction_id);
    const heard = await shown(bob, room, eventId);
    assert.equal(heard.getUnsigned().transaction_id, undefined);
    assert.equal(heard.sender.userId, alice.getUserId());

    const levels = alice.getRoom(room).currentState.getStateEvents("m.room.power_levels", "").getContent();
    await alice.sendStateEvent(room, "m.room.power_levels", { ...levels, events_default: 50 }, "");
    await until(() => !bob.getRoom(room).maySendMessage(), "Bob's client sees that he may not speak");
    await refused(bob.sendTextMessage(room, "May I?"), "M_FORBIDDEN");
    assert.equal(bob.getRoom(room).getPendingEvents()[0].status, EventStatus.NOT_SENT);
}

export async function paging_back_to_the_beginning() {
    const alice = await person("alice");
    const bob = await person("bob");
    const room = await meet(alice, [bob]);
    const said = Array.from({ length: HISTORY }, (_, number) => `line ${number}`);
    for (const text of said) {
        await say(alice, room, text);
    }
    const pocket = await started(await secondDevice(bob), { initialSyncLimit: 10 });
    const timeline = (await inRoom(pocket, room)).getLiveTimeline();
    assert.deepEqual(texts(timeline.getEvents()), said.slice(-10));
    let pages = 0;
    while (await pocket.paginateEventTimeline(timeline, { backwards: true, limit: 20 })) {
        pages += 1;
        assert.ok(pages <= HISTORY, "paging ends");
    }
    const events = timeline.getEvents();
    assert.deepEqual(texts(events), said);
    assert.equal(events[0].getType(), "m.room.create");
    assert.equal(new Set(events.map((event) => event.getId())).size, events.length);
    assert.equal(timeline.getPaginationToken(EventTimeline.BACKWARDS), null);
    // What comes meanwhile is put at the other end.
    const last = await say(alice, room, "the last");
    await shown(pocket, room, last);
    assert.deepEqual(texts(timeline.getEvents()), [...said, "the last"]);
}

export async function jumping_into_the_middle() {
    const alice = await person("alice");
    const room = await meet(alice, []);
    const ids = [];
    for (let number = 0; number < HISTORY; number += 1) {
        ids.push(await say(alice, room, `line ${number}`));
    }
    const pocket = await started(await secondDevice(alice), { initialSyncLimit: 5 });
    const window = new TimelineWindow(pocket, (await inRoom(pocket, room)).getUnfilteredTimelineSet());
    await window.load(ids[30], 10);
    const around = texts(window.getEvents());
    assert.ok(around.includes("line 30") && around.length <= 11, around.join());
    // Paged forwards, the window meets the live timeline and joins it.
    await pageAll(window, EventTimeline.FORWARDS);
    assert.equal(texts(window.getEvents()).at(-1), `line ${HISTORY - 1}`);
    await pageAll(window, EventTimeline.BACKWARDS);
    assert.deepEqual(texts(window.getEvents()), ids.map((_, number) => `line ${number}`));
    const { event_id: first } = await pocket.timestampToEvent(room, 0, "f");
    assert.equal((await pocket.fetchRoomEvent(room, first)).type, "m.room.create");
}

export async function a_gap_after_being_away() {
    const alice = await person("alice");
    const bob = await person("bob");
    const room = await meet(alice, [bob]);
    const before = await say(alice, room, "before");
    await shown(bob, room, before);
    bob.stopClient();
    const missed = Array.from({ length: 40 }, (_, number) => `missed ${number}`);
    for (const text of missed) {
        await say(alice, room, text);
    }
    await started(bob, { initialSyncLimit: 5 });
    const newest = () => texts(bob.getRoom(room).getLiveTimeline().getEvents());
    await until(() => newest().at(-1) === "missed 39", "Bob hears the newest");
    assert.deepEqual(newest(), missed.slice(-5));
    // Paged back over the gap, the new timeline meets the one from before.
    const window = new TimelineWindow(bob, bob.getRoom(room).getUnfilteredTimelineSet());
    await window.load(undefined, 10);
    await pageAll(window, EventTimeline.BACKWARDS);
    assert.deepEqual(texts(window.getEvents()), ["before", ...missed]);
    assert.equal(new Set(window.getEvents().map((event) => event.getId())).size, window.getEvents().length);
}

function edit(target, text) {
    const replacement = { msgtype: "m.text", body: text };
    const relation = { rel_type: "m.replace", event_id: target };
    return { ...replacement, body: `* ${text}`, "m.new_content": replacement, "m.relates_to": relation };
}

export async function edits() {
    const alice = await person("alice");
    const bob = await person("bob");
    const room = await meet(alice, [bob]);
    const said = await say(alice, room, "Good mornign");
    const heard = await shown(bob, room, said);
    await alice.sendMessage(room, edit(said, "Good morning"));
    const { event_id: last } = await alice.sendMessage(room, edit(said, "Good morning, Bob"));
    await until(() => heard.getContent().body === "Good morning, Bob", "Bob's client shows the edited text");
    assert.equal(heard.replacingEventId(), last);
    assert.equal(heard.getOriginalContent().body, "Good mornign");
    // Who is not the author edits nothing.
    const { event_id: foreign } = await bob.sendMessage(room, edit(said, "Good night"));
    await shown(bob, room, foreign);
    // A device that did not see the edits is told of the newest with the event, and finds them when it reads on.
    const pocket = await started(await secondDevice(bob), { initialSyncLimit: 1 });
    const window = new TimelineWindow(pocket, (await inRoom(pocket, room)).getUnfilteredTimelineSet());
    await window.load(said, 5);
    const event = window.getEvents().find((one) => one.getId() === said);
    assert.equal(event.replacingEventId(), last);
    assert.equal(event.getServerAggregatedRelation("m.replace").content["m.new_content"].body, "Good morning, Bob");
    await pageAll(window, EventTimeline.FORWARDS);
    await until(() => event.getContent().body === "Good morning, Bob", "the edit is applied");
    const { events } = await pocket.relations(room, said, "m.replace", "m.room.message");
    assert.equal(events.length, 2);
}

function react(client, room, target, key) {
    const relation = { rel_type: "m.annotation", event_id: target, key };
    return client.sendEvent(room, "m.reaction", { "m.relates_to": relation });
}

export async function reactions() {
    const alice = await person("alice");
    const bob = await person("bob");
    const room = await meet(alice, [bob]);
    const said = await say(alice, room, "Cake?");
    await shown(bob, room, said);
    const { event_id: thumb } = await react(bob, room, said, "👍");
    await react(alice, room, said, "👍");
    await react(bob, room, said, "🎉");
    await refused(react(bob, room, said, "👍"), "M_DUPLICATE_ANNOTATION");
    bob.cancelPendingEvent(bob.getRoom(room).getPendingEvents()[0]);
    const tally = (client) =>
        (client.getRoom(room).relations.getChildEventsForEvent(said, "m.annotation", "m.reaction")
            ?.getSortedAnnotationsByKey() ?? []).map(([key, events]) => [key, events.size]);
    const settled = (client, wanted) =>
        until(() => JSON.stringify(tally(client)) === JSON.stringify(wanted), `the tally is ${JSON.stringify(wanted)}`);
    await settled(alice, [["👍", 2], ["🎉", 1]]);
    await bob.redactEvent(room, thumb);
    await settled(alice, [["👍", 1], ["🎉", 1]]);
    const { events } = await bob.relations(room, said, "m.annotation", "m.reaction");
    assert.deepEqual(events.map((event) => event.getRelation().key).sort(), ["🎉", "👍"].sort());
}

export async function redaction() {
    const alice = await person("alice");
    const bob = await person("bob");
    const room = await meet(alice, [bob]);
    const said = await say(alice, room, "Oops");
    const heard = await shown(bob, room, said);
    await refused(bob.redactEvent(room, said), "M_FORBIDDEN");
    await alice.redactEvent(room, said, undefined, { reason: "a slip" });
    await until(() => heard.isRedacted(), "Bob's client takes it away");
    assert.deepEqual(heard.getContent(), {});
    const pocket = await started(await secondDevice(bob));
    const event = (await inRoom(pocket, room)).findEventById(said);
    assert.equal(event.isRedacted(), true);
    assert.equal(event.getUnsigned().redacted_because.content.reason, "a slip");
    assert.equal(event.getRedactionEvent().sender, alice.getUserId());
}

export async function replies_and_mentions() {
    const alice = await person("alice");
    const bob = await person("bob");
    const carol = await person("carol");
    const room = await meet(alice, [bob, carol]);
    assert.equal(alice.supportsIntentionalMentions(), true);
    const said = await say(bob, room, "Who comes?");
    await shown(alice, room, said);
    const { event_id: reply } = await alice.sendMessage(room, {
        msgtype: "m.text",
        body: "Bob and I.",
        "m.mentions": { user_ids: [bob.getUserId()] },
        "m.relates_to": { "m.in_reply_to": { event_id: said } },
    });
    assert.equal((await shown(bob, room, reply)).replyEventId, said);
    await until(() => bob.getRoom(room).getUnreadNotificationCount("highlight") === 1, "Bob is mentioned");
    await shown(carol, room, reply);
    assert.equal(carol.getRoom(room).getUnreadNotificationCount("highlight"), 0);
}
