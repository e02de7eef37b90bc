// People with matrix-js-sdk: each is a client as an app would make it, with threads and lazy-loaded members on.
//
// What the server refused is kept in `refusals`: a story may expect one, but an app that asks for something the server
// does not know, or an error of the server itself, fails the story (`checkRefusals`).

import assert from "node:assert/strict";
import { setTimeout as pause } from "node:timers/promises";

import * as sdk from "matrix-js-sdk";
import { logger as everybodysLogger } from "matrix-js-sdk/lib/logger.js";

export const PASSWORD = "correct horse";
// Far above what a busy machine needs: it bounds a story that would hang, and measures nothing.
const PATIENCE = 30_000;
// What the SDK asks every server for, though it is in no version of the spec: where calls are relayed.
const UNSPECIFIED = ["/_matrix/client/unstable/org.matrix.msc4143/rtc/transports"];

const [, , url] = process.argv;
const people = [];
const refusals = [];
const complaints = [];

// What belongs to no client is said here, and it is much; loggers made of this one take over how it speaks.
everybodysLogger.methodFactory = () => () => {};
everybodysLogger.rebuild();

const logger = {
    trace() {},
    debug() {},
    info() {},
    warn: (...words) => complaints.push(words.map(String).join(" ")),
    error: (...words) => complaints.push(words.map((word) => word?.stack ?? String(word)).join(" ")),
    getChild: () => logger,
};

// What the server did not answer with success.
async function watchedFetch(address, options) {
    const response = await fetch(address, options);
    if (response.status >= 400) {
        const body = await response.clone().text();
        refusals.push({ status: response.status, method: options?.method ?? "GET", url: String(address), body });
    }
    return response;
}

/** Waits until `condition()`, which may be async, is true, and returns what it returned. */
export async function until(condition, what) {
    const deadline = Date.now() + PATIENCE;
    for (;;) {
        const found = await condition();
        if (found) {
            return found;
        }
        if (Date.now() > deadline) {
            throw new assert.AssertionError({ message: `did not happen within ${PATIENCE} ms: ${what}` });
        }
        await pause(10);
    }
}

/** A client without a session. */
export function stranger(options = {}) {
    const client = sdk.createClient({
        baseUrl: url,
        fetchFn: watchedFetch,
        logger,
        timelineSupport: true,
        disableVoip: true,
        ...options,
    });
    people.push(client);
    return client;
}

/** Registers `name`, with a number that no other story has, and returns the client, which does not sync yet. */
export async function registered(name) {
    const answer = await stranger().registerRequest({
        username: `${name}-${process.pid}-${people.length}`,
        password: PASSWORD,
        initial_device_display_name: `${name}'s desk`,
        auth: { type: "m.login.dummy" },
    });
    return stranger({ accessToken: answer.access_token, userId: answer.user_id, deviceId: answer.device_id });
}

/** Starts to sync, and returns when the client has everything. */
export async function started(client, options = {}) {
    await client.startClient({
        lazyLoadMembers: true,
        threadSupport: true,
        pendingEventOrdering: sdk.PendingEventOrdering.Detached,
        initialSyncLimit: 20,
        ...options,
    });
    await until(() => client.isInitialSyncComplete() && client.getSyncState() === "SYNCING", "the first sync is done");
    return client;
}

/** Registered, and syncing. */
export async function person(name, options = {}) {
    return started(await registered(name), options);
}

/** A second device of the same person, with another session. */
export async function secondDevice(client) {
    const login = await stranger().loginRequest({
        type: "m.login.password",
        identifier: { type: "m.id.user", user: client.getUserId() },
        password: PASSWORD,
    });
    return stranger({ accessToken: login.access_token, userId: login.user_id, deviceId: login.device_id });
}

/** The room as the client knows it, once it has that membership there. */
export function inRoom(client, roomId, membership = "join") {
    return until(() => {
        const room = client.getRoom(roomId);
        return room?.getMyMembership() === membership && room;
    }, `${client.getUserId()} sees ${membership} in ${roomId}`);
}

/** A room of the first with all others in it; each of them sees it. Returns its id. */
export async function meet(host, guests, options = {}) {
    const { room_id: roomId } = await host.createRoom({ preset: "public_chat", name: "Tea", ...options });
    await inRoom(host, roomId);
    for (const guest of guests) {
        await guest.joinRoom(roomId);
        await inRoom(guest, roomId);
    }
    return roomId;
}

/** What the client shows of that event, once it has it. */
export function shown(client, roomId, eventId) {
    return until(() => client.getRoom(roomId)?.findEventById(eventId), `${client.getUserId()} sees ${eventId}`);
}

/** Says a text and returns the event id. */
export async function say(client, roomId, text) {
    return (await client.sendTextMessage(roomId, text)).event_id;
}

/** The texts of messages, in the order of `events`. */
export function texts(events) {
    return events.filter((event) => event.getType() === "m.room.message").map((event) => event.getContent().body);
}

/** Asserts that the server refuses, with that error code. */
export async function refused(promise, errcode) {
    await assert.rejects(promise, (error) => error.errcode === errcode || assert.fail(`${error} is not ${errcode}`));
}

/** Everybody goes home. */
export function part() {
    for (const client of people) {
        client.stopClient();
    }
}

/** Fails if the server did not know what the SDK asked for, or broke. */
export function checkRefusals() {
    const wrong = refusals.filter(
        ({ status, body, url: address }) =>
            status >= 500 || (body.includes("M_UNRECOGNIZED") && !UNSPECIFIED.includes(new URL(address).pathname)),
    );
    assert.deepEqual(wrong, [], "the server does not know what the SDK asks for, or broke");
}

/** What may explain a failure: the refusals, and what the SDK complained of. */
export function explanation() {
    return [
        "refused:",
        ...refusals.map(({ status, method, url: address, body }) => `  ${method} ${address}: ${status} ${body}`),
        "matrix-js-sdk said:",
        ...[...new Set(complaints)].map((text) => `  ${text}`),
    ].join("\n");
}
