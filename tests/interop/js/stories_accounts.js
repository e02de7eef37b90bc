// Sessions, profiles, account data, presence: what belongs to a person and to no room.

import assert from "node:assert/strict";

import {
    PASSWORD,
    inRoom,
    meet,
    person,
    refused,
    registered,
    say,
    secondDevice,
    started,
    stranger,
    until,
} from "./people.js";

export async function registration_and_login() {
    const alice = await registered("alice");
    assert.ok((await stranger().loginFlows()).flows.some(({ type }) => type === "m.login.password"));
    const desk = await alice.whoami();
    assert.deepEqual([desk.user_id, desk.device_id], [alice.getUserId(), alice.getDeviceId()]);
    assert.equal(await alice.isUsernameAvailable(`${alice.getUserIdLocalpart()}-else`), true);
    assert.equal(await alice.isUsernameAvailable(alice.getUserIdLocalpart()), false);

    const pocket = await secondDevice(alice);
    assert.notEqual(pocket.getDeviceId(), alice.getDeviceId());
    await pocket.logout();
    await refused(pocket.whoami(), "M_UNKNOWN_TOKEN");
    const wrong = { type: "m.login.password", identifier: { type: "m.id.user", user: alice.getUserId() } };
    await refused(stranger().loginRequest({ ...wrong, password: "not hers" }), "M_FORBIDDEN");
    const user = alice.getUserId();
    const auth = { type: "m.login.password", identifier: { type: "m.id.user", user }, password: PASSWORD };
    await alice.setPassword(auth, "another one entirely");
    await refused(secondDevice(alice), "M_FORBIDDEN");
    assert.equal((await alice.whoami()).user_id, user);
}

export async function a_second_device_starts_from_nothing() {
    const alice = await person("alice");
    const bob = await person("bob");
    const room = await meet(alice, [bob], { topic: "Earl Grey" });
    const said = await say(bob, room, "Sugar?");
    const pocket = await started(await secondDevice(alice));
    const shown = await inRoom(pocket, room);
    assert.equal(shown.name, "Tea");
    assert.equal(shown.currentState.getStateEvents("m.room.topic", "").getContent().topic, "Earl Grey");
    assert.equal(shown.getLiveTimeline().getEvents().at(-1).getId(), said);
    assert.equal(shown.getJoinedMemberCount(), 2);
    assert.equal(shown.getCreator(), alice.getUserId());
    // What comes later reaches both devices.
    const answer = await say(alice, room, "No, thank you.");
    await until(() => shown.findEventById(answer), "the pocket hears what the desk said");
    assert.equal(pocket.getAccountData("m.push_rules") !== undefined, true);
}

export async function profiles() {
    const alice = await person("alice");
    const bob = await person("bob");
    const room = await meet(alice, [bob]);
    await bob.setDisplayName("Robert");
    await bob.setAvatarUrl("mxc://localhost/face");
    const profile = await alice.getProfileInfo(bob.getUserId());
    assert.deepEqual(profile, { displayname: "Robert", avatar_url: "mxc://localhost/face" });
    await until(() => {
        const member = alice.getRoom(room).getMember(bob.getUserId());
        return member?.name === "Robert" && member.getMxcAvatarUrl() === "mxc://localhost/face";
    }, "the new name and face reach the room");
}

export async function account_data_and_tags() {
    const alice = await person("alice");
    const pocket = await started(await secondDevice(alice));
    const room = await meet(alice, []);
    await inRoom(pocket, room);
    await alice.setAccountData("org.example.theme", { colour: "green" });
    const colour = () => pocket.getAccountData("org.example.theme")?.getContent().colour;
    await until(() => colour() === "green", "the other device hears");
    assert.deepEqual(await pocket.getAccountDataFromServer("org.example.theme"), { colour: "green" });
    await alice.setRoomAccountData(room, "org.example.notes", { text: "buy milk" });
    await until(() => pocket.getRoom(room).getAccountData("org.example.notes"), "data of the room comes too");
    await alice.setRoomTag(room, "m.favourite", { order: 0.25 });
    await until(() => pocket.getRoom(room).tags["m.favourite"]?.order === 0.25, "the tag comes");
    assert.deepEqual((await pocket.getRoomTags(room)).tags, { "m.favourite": { order: 0.25 } });
    await pocket.deleteRoomTag(room, "m.favourite");
    await until(() => !("m.favourite" in alice.getRoom(room).tags), "the tag goes");
}

export async function ignoring() {
    const alice = await person("alice");
    const bob = await person("bob");
    const carol = await person("carol");
    const room = await meet(alice, [bob, carol]);
    await alice.setIgnoredUsers([bob.getUserId()]);
    await until(() => alice.isUserIgnored(bob.getUserId()), "the list comes back by sync");
    const unheard = await say(bob, room, "Can you hear me?");
    const heard = await say(carol, room, "I can.");
    await until(() => alice.getRoom(room).findEventById(heard), "Carol is heard");
    assert.equal(alice.getRoom(room).findEventById(unheard), undefined);
}

export async function presence() {
    const alice = await person("alice");
    const bob = await person("bob");
    await meet(alice, [bob]);
    await bob.setPresence({ presence: "unavailable", status_msg: "Out for lunch" });
    await until(() => {
        const user = alice.getUser(bob.getUserId());
        return user?.presence === "unavailable" && user.presenceStatusMsg === "Out for lunch";
    }, "Alice sees that Bob is away");
    const status = await alice.getPresence(bob.getUserId());
    assert.deepEqual([status.presence, status.status_msg], ["unavailable", "Out for lunch"]);
}

export async function push_rules() {
    const alice = await person("alice");
    const bob = await person("bob");
    const room = await meet(alice, [bob]);
    assert.ok(alice.pushRules.global.override.some((rule) => rule.rule_id === ".m.rule.master"));
    const actions = ["notify", { set_tweak: "highlight" }];
    await alice.addPushRule("global", "content", "tea", { pattern: "tea", actions });
    const { event_id: said } = await bob.sendTextMessage(room, "Is there tea?");
    const event = await until(() => alice.getRoom(room).findEventById(said), "Alice hears");
    await until(() => alice.getRoom(room).getUnreadNotificationCount("highlight") === 1, "a highlight is counted");
    await until(() => alice.pushRules.global.content.some((rule) => rule.rule_id === "tea"), "the rule comes by sync");
    assert.equal(alice.getPushActionsForEvent(event, true).tweaks.highlight, true);
    await alice.setRoomMutePushRule("global", room, true);
    await until(() => alice.getRoomPushRule("global", room), "the room is muted");
    await alice.deletePushRule("global", "content", "tea");
    const quiet = await say(bob, room, "More tea?");
    await until(() => alice.getRoom(room).findEventById(quiet), "Alice hears in silence");
    assert.equal(alice.getRoom(room).getUnreadNotificationCount("highlight"), 1);
}
