"""matrix-js-sdk, which Element Web and many others are made of, against a real server, with either kind of database.

The stories are told in JavaScript, in `tests/interop/js`, each by a Node of its own that ends with 0 if all went well.
A story fails too if the SDK asks for something that the server does not know, or if the server logs an error.
https://matrix-org.github.io/matrix-js-sdk/
"""

import asyncio
import re
from pathlib import Path

import pytest

from tests.builders.node import install_packages, node
from tests.builders.process import ServerProcess

JS = Path(__file__).parent / "js"
STORIES = [
    name
    for path in sorted(JS.glob("stories_*.js"))
    for name in re.findall(r"^export async function (\w+)\(\) {$", path.read_text(), re.MULTILINE)
]
LONGEST_SECONDS = 180.0


@pytest.fixture(scope="session")
def sdk() -> None:
    """What package-lock.json names is installed."""
    install_packages(JS)


async def run(*arguments: str) -> tuple[int | None, str, str]:
    """Status, output and complaints of `tell.js`."""
    process = await asyncio.create_subprocess_exec(
        node(), "tell.js", *arguments, cwd=JS, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        output, complaints = await asyncio.wait_for(process.communicate(), LONGEST_SECONDS)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, output.decode(), complaints.decode()


@pytest.mark.usefixtures("sdk")
async def test_every_story_is_told() -> None:
    """What `tell.js` can tell is what stands in this file's list, each name once."""
    status, output, complaints = await run()
    assert (status, complaints) == (0, "")
    assert sorted(output.split()) == sorted(STORIES)


@pytest.mark.usefixtures("sdk")
@pytest.mark.parametrize("story", STORIES)
async def test_story(server: ServerProcess, story: str) -> None:
    """As its function in `tests/interop/js` tells it."""
    status, _, complaints = await run(server.url, story)
    assert status == 0, complaints
