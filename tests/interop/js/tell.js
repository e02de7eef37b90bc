// Tells one story: `node tell.js URL STORY`. The status is 0 if it went well; else standard error says what did not.
// Without a story it prints the names of all.

import * as people from "./people.js";
import { stories } from "./stories.js";

const [, , url, name] = process.argv;

async function tell(story) {
    try {
        await story();
        people.checkRefusals();
        return 0;
    } catch (error) {
        process.stderr.write(`${name}: ${error.stack}\n${people.explanation()}\n`);
        return 1;
    } finally {
        people.part();
    }
}

if (url === undefined) {
    process.stdout.write(`${Object.keys(stories).join("\n")}\n`);
} else if (!(name in stories)) {
    process.stderr.write(`there is no story ${name}\n`);
    process.exit(2);
} else {
    // The SDK leaves timers behind.
    process.exit(await tell(stories[name]));
}
