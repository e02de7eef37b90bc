// Who has read what: receipts, read markers, unread counts; and who types.

import assert from "node:assert/strict";

import { inRoom, meet, person, say, secondDevice, shown, started, until } from "./people.js";

export async function receipts() {
    const alice = await person("alice");
    const bob = await person("bob");
    const room = await meet(alice, [bob]);
    const said = await say(alice, room, "Are you there?");
    await until(() => bob.getRoom(room).getUnreadNotificationCount() === 1, "Bob has one unread");
    const own = await shown(alice, room, said);
    await bob.sendReadReceipt(await shown(bob, room, said));
    await until(() => alice.getRoom(room).getUsersReadUpTo(own).includes(bob.getUserId()), "Alice sees that Bob read");
    await until(() => bob.getRoom(room).getUnreadNotificationCount() === 0, "nothing is unread");
    assert.equal(alice.getRoom(room).getEventReadUpTo(bob.getUserId(), true), said);
    assert.equal(alice.getRoom(room).hasUserReadEvent(bob.getUserId(), said), true);
    // The receipt is there for a device that comes later.
    const pocket = await started(await secondDevice(alice));
    await inRoom(pocket, room);
    assert.equal(pocket.getRoom(room).getEventReadUpTo(bob.getUserId(), true), said);
}

export async function private_receipts() {
    const alice = await person("alice");
    const bob = await person("bob");
    const room = await meet(alice, [bob]);
    const pocket = await started(await secondDevice(bob));
    const said = await say(alice, room, "Read this");
    await until(() => pocket.getRoom(room).getUnreadNotificationCount() === 1, "one is unread");
    await bob.sendReadReceipt(await shown(bob, room, said), "m.read.private");
    await until(() => pocket.getRoom(room).getUnreadNotificationCount() === 0, "his other device knows");
    assert.equal(pocket.getRoom(room).getEventReadUpTo(bob.getUserId()), said);
    // What Alice hears afterwards comes after the receipt, which she did not hear of.
    await shown(alice, room, await say(bob, room, "Quiet"));
    assert.equal(alice.getRoom(room).getReadReceiptForUserId(bob.getUserId(), true, "m.read.private"), null);
    assert.equal(alice.getRoom(room).getReadReceiptForUserId(bob.getUserId(), true), null);
}

export async function read_markers() {
    const alice = await person("alice");
    const bob = await person("bob");
    const room = await meet(alice, [bob]);
    const pocket = await started(await secondDevice(bob));
    const first = await say(alice, room, "one");
    const second = await say(alice, room, "two");
    await bob.setRoomReadMarkers(room, first, await shown(bob, room, second));
    const marker = () => pocket.getRoom(room).getAccountData("m.fully_read")?.getContent().event_id;
    await until(() => marker() === first, "the marker comes to the other device");
    await until(() => alice.getRoom(room).getEventReadUpTo(bob.getUserId(), true) === second, "Alice has the receipt");
    await until(() => pocket.getRoom(room).getUnreadNotificationCount() === 0, "nothing is unread");
}

export async function typing() {
    const alice = await person("alice");
    const bob = await person("bob");
    const room = await meet(alice, [bob]);
    const isTyping = () => alice.getRoom(room).getMember(bob.getUserId())?.typing;
    await until(() => isTyping() === false, "Alice knows Bob, who is silent");
    await bob.sendTyping(room, true, 30_000);
    await until(() => isTyping() === true, "Alice sees that Bob types");
    await bob.sendTyping(room, false, 0);
    await until(() => isTyping() === false, "Alice sees that he stopped");
}
