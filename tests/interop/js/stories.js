// Every story, by its name: tests/interop/test_js_sdk.py makes one test of each, for each kind of database.

import * as accounts from "./stories_accounts.js";
import * as members from "./stories_members.js";
import * as reading from "./stories_reading.js";
import * as rooms from "./stories_rooms.js";
import * as search from "./stories_search.js";
import * as talk from "./stories_talk.js";
import * as threads from "./stories_threads.js";

export const stories = { ...accounts, ...members, ...reading, ...rooms, ...search, ...talk, ...threads };
