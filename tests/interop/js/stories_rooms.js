// Rooms as things: spaces, summaries, aliases, the directory, upgrades.

import assert from "node:assert/strict";

import { RoomHierarchy } from "matrix-js-sdk/lib/room-hierarchy.js";

import { inRoom, meet, person, refused, say, shown, until } from "./people.js";

async function adopt(client, space, child, content = {}) {
    await client.sendStateEvent(space, "m.space.child", { via: ["localhost"], ...content }, child);
}

export async function spaces() {
    const alice = await person("alice");
    const bob = await person("bob");
    const { room_id: space } = await alice.createRoom({
        preset: "public_chat",
        name: "The house",
        creation_content: { type: "m.space" },
        power_level_content_override: { events_default: 100 },
    });
    const { room_id: floor } = await alice.createRoom({
        preset: "public_chat",
        name: "First floor",
        creation_content: { type: "m.space" },
    });
    const kitchen = await meet(alice, [], { name: "Kitchen", topic: "What is cooking" });
    const cellar = await meet(alice, [], { name: "Cellar", preset: "private_chat" });
    await adopt(alice, space, kitchen, { suggested: true, order: "b" });
    await adopt(alice, space, floor, { order: "a" });
    await adopt(alice, space, cellar);
    const attic = await meet(alice, [], { name: "Attic" });
    await adopt(alice, floor, attic);

    await bob.joinRoom(space);
    const shownSpace = await inRoom(bob, space);
    assert.deepEqual([shownSpace.isSpaceRoom(), shownSpace.getType()], [true, "m.space"]);
    const hierarchy = new RoomHierarchy(shownSpace, 2);
    while (hierarchy.canLoadMore) {
        const before = hierarchy.rooms?.length ?? 0;
        await hierarchy.load();
        assert.ok(hierarchy.rooms.length > before, "every page has a room");
    }
    // Depth first, by `order`; the cellar is not Bob's to see.
    assert.deepEqual(hierarchy.rooms.map((room) => room.name), ["The house", "First floor", "Attic", "Kitchen"]);
    assert.equal(hierarchy.isSuggested(space, kitchen), true);
    assert.equal(hierarchy.rooms[3].topic, "What is cooking");
    assert.equal(hierarchy.rooms[3].num_joined_members, 1);
    const shallow = await bob.getRoomHierarchy(space, 50, 1, true);
    assert.deepEqual(shallow.rooms.map((room) => room.name), ["The house", "Kitchen"]);
}

export async function summaries() {
    const alice = await person("alice");
    const bob = await person("bob");
    const room = await meet(alice, [], { name: "Kitchen", topic: "What is cooking" });
    const summary = await bob.getRoomSummary(room);
    assert.equal(summary.room_id, room);
    assert.deepEqual([summary.name, summary.topic, summary.num_joined_members], ["Kitchen", "What is cooking", 1]);
    assert.equal(summary.join_rule, "public");
    assert.ok(summary.room_version);
    assert.equal((await alice.getRoomSummary(room)).membership, "join");
    const hidden = await meet(alice, [], { preset: "private_chat" });
    await refused(bob.getRoomSummary(hidden), "M_NOT_FOUND");
}

export async function aliases_and_the_directory() {
    const alice = await person("alice");
    const bob = await person("bob");
    const word = `kitchen-${process.pid}-${Date.now()}`;
    const alias = `#${word}:localhost`;
    const room = await meet(alice, [], { name: word, room_alias_name: word, visibility: "public", topic: "Cooking" });
    assert.equal((await bob.getRoomIdForAlias(alias)).room_id, room);
    assert.equal(alice.getRoom(room).getCanonicalAlias(), alias);
    await alice.createAlias(`#${word}-too:localhost`, room);
    assert.deepEqual((await alice.getLocalAliases(room)).aliases.sort(), [`#${word}-too:localhost`, alias].sort());
    const content = { alias, alt_aliases: [`#${word}-too:localhost`] };
    await alice.sendStateEvent(room, "m.room.canonical_alias", content, "");
    await until(() => alice.getRoom(room).getAltAliases().length === 1, "the second name is known");

    const wanted = { limit: 5, filter: { generic_search_term: word } };
    const listed = await bob.publicRooms(wanted);
    assert.deepEqual(listed.chunk.map((entry) => [entry.room_id, entry.name, entry.topic]), [[room, word, "Cooking"]]);
    assert.ok(listed.total_room_count_estimate >= 1);
    await bob.joinRoom(alias);
    await inRoom(bob, room);
    await refused(bob.deleteAlias(alias), "M_FORBIDDEN");
    await alice.deleteAlias(`#${word}-too:localhost`);
    await refused(bob.getRoomIdForAlias(`#${word}-too:localhost`), "M_NOT_FOUND");
    await alice.setRoomDirectoryVisibility(room, "private");
    assert.equal((await alice.getRoomDirectoryVisibility(room)).visibility, "private");
    assert.deepEqual((await bob.publicRooms(wanted)).chunk, []);
}

export async function the_pages_of_the_directory() {
    const alice = await person("alice");
    const word = `page-${process.pid}-${Date.now()}`;
    const names = [];
    for (let number = 0; number < 5; number += 1) {
        names.push(`${word} ${number}`);
        await alice.createRoom({ preset: "public_chat", visibility: "public", name: names.at(-1) });
    }
    const found = [];
    let since;
    do {
        const page = await alice.publicRooms({ limit: 2, since, filter: { generic_search_term: word } });
        assert.ok(page.chunk.length <= 2);
        found.push(...page.chunk.map((room) => room.name));
        since = page.next_batch;
    } while (since);
    assert.deepEqual(found.sort(), names);
}

export async function following_an_upgrade() {
    const alice = await person("alice");
    const bob = await person("bob");
    const old = await meet(alice, [bob], { room_version: "10", topic: "Earl Grey" });
    await say(alice, old, "We move");
    const versions = (await alice.getCapabilities())["m.room_versions"];
    const version = versions.default;
    assert.equal(versions.available[version], "stable");
    const { replacement_room: replacement } = await alice.upgradeRoom(old, version);
    const tombstone = await until(
        () => bob.getRoom(old).currentState.getStateEvents("m.room.tombstone", ""),
        "Bob sees the tombstone",
    );
    assert.equal(tombstone.getContent().replacement_room, replacement);
    assert.equal(bob.getRoom(old).maySendMessage(), false);
    await bob.joinRoom(replacement, { viaServers: ["localhost"] });
    const room = await inRoom(bob, replacement);
    assert.equal(room.getVersion(), version);
    assert.equal(room.findPredecessor().roomId, old);
    assert.equal(room.currentState.getStateEvents("m.room.topic", "").getContent().topic, "Earl Grey");
    assert.equal(room.name, "Tea");
    assert.deepEqual(bob.getRoomUpgradeHistory(replacement, true).map((one) => one.roomId), [old, replacement]);
    const said = await say(bob, replacement, "Nice here");
    await shown(alice, replacement, said);
    // Only the newest one is listed.
    const visible = bob.getVisibleRooms().map((one) => one.roomId);
    assert.equal(visible.includes(replacement) && !visible.includes(old), true);
}
