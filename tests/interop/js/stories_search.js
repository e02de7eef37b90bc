// Search, as the SDK asks for it and shows it.

import assert from "node:assert/strict";

import { meet, person, say, until } from "./people.js";

/** Found so many, once the index, which follows the events, has them all. */
function found(client, term, count, filter) {
    return until(async () => {
        const results = await client.searchRoomEvents({ term, filter });
        return results.count === count && results;
    }, `${count} events are found`);
}

export async function searching() {
    const alice = await person("alice");
    const bob = await person("bob");
    const room = await meet(alice, [bob]);
    const other = await meet(alice, []);
    await say(alice, room, "before the word");
    const said = await say(alice, room, "The marmalade is in the kitchen");
    await say(alice, room, "after the word");
    await say(alice, other, "more marmalade, which Bob may not see");
    const { results, highlights } = await found(bob, "marmalade", 1);
    const [result] = results;
    assert.equal(result.context.getEvent().getId(), said);
    assert.deepEqual(
        result.context.getTimeline().map((event) => event.getContent().body),
        ["before the word", "The marmalade is in the kitchen", "after the word"],
    );
    assert.ok(highlights.includes("marmalade"));
    assert.equal(result.context.getEvent().sender?.userId, alice.getUserId());
    await found(alice, "marmalade", 2);
    await found(alice, "marmalade", 1, { rooms: [other] });
    await alice.redactEvent(room, said);
    await found(bob, "marmalade", 0);
}

export async function paging_through_a_search() {
    const alice = await person("alice");
    const room = await meet(alice, []);
    for (let number = 0; number < 25; number += 1) {
        await say(alice, room, `biscuit number ${number}`);
    }
    const results = await found(alice, "biscuit", 25);
    while (results.next_batch) {
        const before = results.results.length;
        await alice.backPaginateRoomEventsSearch(results);
        assert.ok(results.results.length > before, "every page has a result");
    }
    const numbers = results.results.map((one) => one.context.getEvent().getContent().body.split(" ").at(-1));
    assert.deepEqual(numbers, Array.from({ length: 25 }, (_, number) => String(24 - number)));
}
