// Who is in a room: invitations, knocks, leaving, bans, and lists of members that are loaded when they are needed.

import assert from "node:assert/strict";

import { inRoom, meet, person, refused, registered, say, secondDevice, shown, started, until } from "./people.js";

export async function invitations() {
    const alice = await person("alice");
    const bob = await person("bob");
    const room = await meet(alice, [], { preset: "private_chat", name: "Tea", is_direct: true });
    await alice.invite(room, bob.getUserId(), { reason: "Earl Grey" });
    const invited = await inRoom(bob, room, "invite");
    assert.equal(invited.name, "Tea");
    assert.equal(invited.getDMInviter(), undefined);
    const own = invited.getMember(bob.getUserId());
    assert.equal(own.events.member.getSender(), alice.getUserId());
    assert.equal(own.events.member.getContent().reason, "Earl Grey");
    await until(() => alice.getRoom(room).getInvitedMemberCount() === 1, "Alice sees one invited");
    await bob.leave(room);
    await inRoom(bob, room, "leave");
    await refused(bob.joinRoom(room), "M_FORBIDDEN");
    await until(() => alice.getRoom(room).getMember(bob.getUserId()).membership === "leave", "Alice sees it");
    await alice.invite(room, bob.getUserId());
    await inRoom(bob, room, "invite");
    await bob.joinRoom(room);
    await inRoom(bob, room);
    await until(() => alice.getRoom(room).getJoinedMemberCount() === 2, "both are in");
    const said = await say(bob, room, "Here I am");
    await shown(alice, room, said);
}

export async function a_direct_message() {
    const alice = await person("alice");
    const bob = await person("bob");
    const { room_id: room } = await alice.createRoom({
        preset: "trusted_private_chat",
        is_direct: true,
        invite: [bob.getUserId()],
    });
    const invited = await inRoom(bob, room, "invite");
    assert.equal(invited.getDMInviter(), alice.getUserId());
    await bob.joinRoom(room);
    await inRoom(bob, room);
    // It has no name of its own: it is called after the other one.
    await alice.setDisplayName("Alice");
    await bob.setDisplayName("Bob");
    await until(() => alice.getRoom(room)?.name === "Bob", "it is called after Bob");
    await until(() => bob.getRoom(room).name === "Alice", "and, for him, after Alice");
    assert.equal(alice.getRoom(room).guessDMUserId(), bob.getUserId());
}

export async function knocking() {
    const alice = await person("alice");
    const bob = await person("bob");
    const carol = await person("carol");
    const rule = { type: "m.room.join_rules", state_key: "", content: { join_rule: "knock" } };
    const room = await meet(alice, [], { preset: "private_chat", initial_state: [rule] });
    for (const stranger of [bob, carol]) {
        await refused(stranger.joinRoom(room), "M_FORBIDDEN");
        await stranger.knockRoom(room, { reason: "May I come in?" });
        await inRoom(stranger, room, "knock");
    }
    const knock = await until(() => {
        const members = alice.getRoom(room).getMembersWithMembership("knock");
        return members.length === 2 && members.find((member) => member.userId === bob.getUserId());
    }, "Alice sees who knocks");
    assert.equal(knock.events.member.getContent().reason, "May I come in?");
    assert.equal(bob.getRoom(room).name, "Tea");
    await alice.invite(room, bob.getUserId());
    await inRoom(bob, room, "invite");
    await bob.joinRoom(room);
    await inRoom(bob, room);
    await alice.kick(room, carol.getUserId(), "no room");
    await inRoom(carol, room, "leave");
}

export async function leaving_and_bans() {
    const alice = await person("alice");
    const bob = await person("bob");
    const room = await meet(alice, [bob]);
    await alice.kick(room, bob.getUserId(), "noise");
    const left = await inRoom(bob, room, "leave");
    const own = () => left.getMember(bob.getUserId()).events.member;
    assert.deepEqual([own().getSender(), own().getContent().reason], [alice.getUserId(), "noise"]);
    await bob.joinRoom(room);
    await inRoom(bob, room);
    await alice.ban(room, bob.getUserId(), "more noise");
    await inRoom(bob, room, "ban");
    await refused(bob.joinRoom(room), "M_FORBIDDEN");
    await alice.unban(room, bob.getUserId());
    await until(() => alice.getRoom(room).getMember(bob.getUserId()).membership === "leave", "he is let off");
    await bob.joinRoom(room);
    await inRoom(bob, room);
    await bob.leave(room);
    await inRoom(bob, room, "leave");
    await bob.forget(room);
    assert.equal(bob.getRoom(room), null);
    const pocket = await started(await secondDevice(bob));
    assert.equal(pocket.getRoom(room), null);
}

export async function lazy_loaded_members() {
    const alice = await person("alice");
    const crowd = [];
    for (let number = 0; number < 8; number += 1) {
        crowd.push(await registered(`guest${number}`));
    }
    const room = await meet(alice, []);
    for (const guest of crowd) {
        await guest.joinRoom(room);
    }
    await say(crowd[0], room, "I am the one who speaks");
    for (let number = 0; number < 4; number += 1) {
        await say(alice, room, `line ${number}`);
    }
    const pocket = await started(await secondDevice(alice), { initialSyncLimit: 3 });
    const shownRoom = await inRoom(pocket, room);
    assert.equal(shownRoom.membersLoaded(), false);
    assert.equal(shownRoom.getJoinedMemberCount(), 9);
    const before = shownRoom.getMembers().length;
    assert.ok(before < 9, `only those who are needed are told: ${before}`);
    // Who is in view comes with what they said.
    await pocket.paginateEventTimeline(shownRoom.getLiveTimeline(), { backwards: true, limit: 2 });
    assert.equal(shownRoom.getMember(crowd[0].getUserId())?.membership, "join");
    await shownRoom.loadMembersIfNeeded();
    assert.equal(shownRoom.getJoinedMembers().length, 9);
    assert.equal(Object.keys((await pocket.getJoinedRoomMembers(room)).joined).length, 9);
    // Somebody who was never told of speaks up: their member event comes along.
    const desk = await started(await secondDevice(alice), { initialSyncLimit: 1 });
    const desksRoom = await inRoom(desk, room);
    assert.equal(desksRoom.getMember(crowd[5].getUserId()), null);
    const said = await say(crowd[5], room, "Hello");
    assert.equal((await shown(desk, room, said)).sender.membership, "join");
}

export async function state_changes_of_others() {
    const alice = await person("alice");
    const bob = await person("bob");
    const room = await meet(alice, [bob]);
    await alice.setRoomName(room, "Coffee");
    await until(() => bob.getRoom(room).name === "Coffee", "the new name");
    await alice.setRoomTopic(room, "Espresso");
    const topic = () => bob.getRoom(room).currentState.getStateEvents("m.room.topic", "")?.getContent().topic;
    await until(() => topic() === "Espresso", "the new topic");
    await alice.setPowerLevel(room, bob.getUserId(), 50);
    await until(() => bob.getRoom(room).getMember(bob.getUserId()).powerLevel === 50, "Bob became a moderator");
    await bob.setRoomName(room, "Cocoa");
    await until(() => alice.getRoom(room).name === "Cocoa", "and may now name the room");
    assert.equal((await bob.getStateEvent(room, "m.room.name", "")).name, "Cocoa");
    const state = await bob.roomState(room);
    assert.ok(state.some((event) => event.type === "m.room.create" && event.state_key === ""));
    const grasping = { users: { [bob.getUserId()]: 100 } };
    await refused(bob.sendStateEvent(room, "m.room.power_levels", grasping, ""), "M_FORBIDDEN");
}
