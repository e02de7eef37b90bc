// Threads, which matrix-js-sdk keeps beside the room's timeline: their list, roots, receipts and counts.

import assert from "node:assert/strict";

import { inRoom, meet, person, say, secondDevice, shown, started, texts, until } from "./people.js";

// As an app does: whoever answers opens the thread first, which the SDK wants to know before anything is sent into it.
async function open(client, room, root) {
    const event = await shown(client, room, root);
    const known = client.getRoom(room);
    known.getThread(root) ?? known.createThread(root, event, [event], true);
    return thread(client, room, root);
}

async function reply(client, room, root, text) {
    await open(client, room, root);
    return (await client.sendTextMessage(room, root, text)).event_id;
}

/** The thread as the client has it, once it has read it from the server. */
function thread(client, room, root) {
    return until(() => {
        const found = client.getRoom(room).getThread(root);
        return found?.initialEventsFetched && found;
    }, `${client.getUserId()} has the thread`);
}

export async function a_thread() {
    const alice = await person("alice");
    const bob = await person("bob");
    const room = await meet(alice, [bob]);
    const root = await say(alice, room, "Who brings what?");
    await shown(bob, room, root);
    const cake = await reply(bob, room, root, "Cake");
    const seen = await thread(alice, room, root);
    await until(() => seen.length === 1 && seen.replyToEvent?.getId() === cake, "the thread has its answer");
    assert.equal(seen.hasCurrentUserParticipated, true); // "sent the root"
    const tea = await reply(alice, room, root, "Tea");
    const bobs = await thread(bob, room, root);
    await until(() => bobs.length === 2 && bobs.replyToEvent?.getId() === tea, "Bob sees the second one");
    assert.deepEqual(texts(bobs.events), ["Who brings what?", "Cake", "Tea"]);
    // Answers stand in the thread and not in the room.
    const main = bob.getRoom(room).getLiveTimeline().getEvents().map((event) => event.getId());
    assert.equal(main.includes(root), true);
    assert.equal(main.includes(cake) || main.includes(tea), false);
    // One that is taken back is not counted.
    await bob.redactEvent(room, cake);
    await until(() => seen.length === 1, "the redacted answer is not counted");
}

export async function the_list_of_threads() {
    const alice = await person("alice");
    const bob = await person("bob");
    const room = await meet(alice, [bob]);
    const older = await say(alice, room, "first");
    const newer = await say(bob, room, "second");
    const plain = await say(bob, room, "no thread");
    await reply(bob, room, newer, "to the second");
    await reply(alice, room, older, "to the first");
    await reply(alice, room, older, "to the first again");
    const pocket = await started(await secondDevice(bob), { initialSyncLimit: 1 });
    const known = await inRoom(pocket, room);
    const [all, mine] = await known.createThreadsTimelineSets();
    await known.fetchRoomThreads();
    const roots = (set) => set.getLiveTimeline().getEvents().map((event) => event.getId());
    // The one with the latest answer is the last.
    assert.deepEqual(roots(all), [newer, older]);
    assert.deepEqual(roots(mine), [newer]);
    assert.equal(known.getThread(plain), null);
    const read = await thread(pocket, room, older);
    await until(() => read.length === 2, "the thread knows its length");
    assert.equal(read.rootEvent.getContent().body, "first");
    assert.equal(read.hasCurrentUserParticipated, false);
    await until(() => texts(read.events).length === 3, "its answers are read");
    assert.deepEqual(texts(read.events), ["first", "to the first", "to the first again"]);
}

export async function paging_in_a_thread() {
    const alice = await person("alice");
    const room = await meet(alice, []);
    const root = await say(alice, room, "A long story");
    const said = Array.from({ length: 45 }, (_, number) => `chapter ${number}`);
    for (const text of said) {
        await reply(alice, room, root, text);
    }
    const pocket = await started(await secondDevice(alice), { initialSyncLimit: 3 });
    await inRoom(pocket, room);
    const long = await thread(pocket, room, root);
    assert.equal(long.length, said.length);
    assert.equal(texts(long.events).at(-1), said.at(-1));
    for (let page = 0; page < said.length; page += 1) {
        if (!(await pocket.paginateEventTimeline(long.liveTimeline, { backwards: true, limit: 10 }))) {
            break;
        }
    }
    assert.deepEqual(texts(long.events), ["A long story", ...said]);
}

export async function counts_and_receipts_of_threads() {
    const alice = await person("alice");
    const bob = await person("bob");
    const room = await meet(alice, [bob]);
    const root = await say(alice, room, "Who brings what?");
    await shown(bob, room, root);
    await bob.sendReadReceipt(await shown(bob, room, root));
    await reply(bob, room, root, "Cake");
    const first = await reply(alice, room, root, "Tea");
    await reply(alice, room, root, `Sugar, ${bob.getUserId()}?`);
    const mention = await alice.sendMessage(room, root, {
        msgtype: "m.text",
        body: "And milk?",
        "m.mentions": { user_ids: [bob.getUserId()] },
    });
    const counts = (client) => [
        client.getRoom(room).getRoomUnreadNotificationCount(),
        client.getRoom(room).getThreadUnreadNotificationCount(root),
        client.getRoom(room).getThreadUnreadNotificationCount(root, "highlight"),
    ];
    const settled = (client, wanted) =>
        until(() => counts(client).join() === wanted.join(), `the counts are ${wanted.join()}`);
    const pocket = await started(await secondDevice(bob));
    await inRoom(pocket, room);
    await settled(pocket, [0, 3, 1]);
    await settled(bob, [0, 3, 1]);
    // A receipt in the thread reads the thread up to there, on all devices, and nothing of the room.
    const main = await say(alice, room, "Elsewhere");
    await settled(pocket, [1, 3, 1]);
    const bobs = await thread(bob, room, root);
    await bob.sendReadReceipt(await until(() => bobs.findEventById(first), "the first is there"));
    await settled(pocket, [1, 2, 1]);
    const pockets = await thread(pocket, room, root);
    await until(() => pockets.getEventReadUpTo(bob.getUserId()) === first, "the receipt is the thread's");
    await bob.sendReadReceipt(await until(() => bobs.findEventById(mention.event_id), "the mention is there"));
    await settled(pocket, [1, 0, 0]);
    await bob.sendReadReceipt(await shown(bob, room, main));
    await settled(pocket, [0, 0, 0]);
    // Alice is told which of the two is which.
    const alices = await thread(alice, room, root);
    await until(() => alices.getEventReadUpTo(bob.getUserId(), true) === mention.event_id, "Alice sees one");
    await until(() => alice.getRoom(room).getEventReadUpTo(bob.getUserId(), true) === main, "and the other");
    // A receipt without a thread reads everything.
    await reply(alice, room, root, "Anybody?");
    const last = await say(alice, room, "Hello?");
    await settled(pocket, [1, 1, 0]);
    await bob.sendReadReceipt(await shown(bob, room, last), "m.read", true);
    await settled(pocket, [0, 0, 0]);
}

export async function edits_and_reactions_in_a_thread() {
    const alice = await person("alice");
    const bob = await person("bob");
    const room = await meet(alice, [bob]);
    const root = await say(alice, room, "Who brings what?");
    await shown(bob, room, root);
    const cake = await reply(bob, room, root, "Cak");
    await bob.sendMessage(room, {
        msgtype: "m.text",
        body: "* Cake",
        "m.new_content": { msgtype: "m.text", body: "Cake" },
        "m.relates_to": { rel_type: "m.replace", event_id: cake },
    });
    await open(alice, room, root);
    const relation = { rel_type: "m.annotation", event_id: cake, key: "🎂" };
    await alice.sendEvent(room, "m.reaction", { "m.relates_to": relation });
    const pocket = await started(await secondDevice(alice));
    await inRoom(pocket, room);
    const seen = await thread(pocket, room, root);
    assert.equal(seen.length, 1);
    const event = await until(() => seen.findEventById(cake), "the answer is there");
    await until(() => event.getContent().body === "Cake", "with its edit");
    const tally = () => seen.timelineSet.relations.getChildEventsForEvent(cake, "m.annotation", "m.reaction");
    await until(() => tally()?.getSortedAnnotationsByKey()?.[0]?.[0] === "🎂", "and with its reaction");
}
