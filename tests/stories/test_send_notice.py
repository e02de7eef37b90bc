"""What an operator has to say to the users of a running server: `parley send-notice`."""

from tests.builders.process import ServerProcess
from tests.conformance.client import MatrixClient
from tests.stories.test_register_user import parley


async def send_notice(server: ServerProcess, *arguments: str) -> tuple[int, str, str]:
    """With the secret of the server's data directory."""
    return await parley("send-notice", "--data", str(server.data), "--listen", f"127.0.0.1:{server.port}", *arguments)


async def test_a_notice_to_one_and_to_all(own_server: ServerProcess) -> None:
    """Both read it in their rooms of notices; a limit that was reached is pinned there until it is withdrawn."""
    async with MatrixClient(own_server.url) as anna, MatrixClient(own_server.url) as boris:
        for client, name in ((anna, "anna"), (boris, "boris")):
            await client.register(name)
        assert await send_notice(own_server, "Only for you", "--to", "anna") == (0, "Sent to 1 user.\n", "")
        limit = ("--limit-reached", "monthly_active_user", "--contact", "mailto:admin@example.org")
        assert await send_notice(own_server, "Too many of us", "--all", *limit) == (0, "Sent to 2 users.\n", "")
        texts, rooms = [], []
        for client in (anna, boris):
            (room,) = (await client.sync())["rooms"]["invite"]
            rooms.append(await client.join(room))
            page = await client.messages(room, filter={"types": ["m.room.message"]})
            texts.append([event["content"]["body"] for event in page["chunk"]])
        assert texts == [["Too many of us", "Only for you"], ["Too many of us"]]
        assert len((await anna.state(rooms[0], "m.room.pinned_events"))["pinned"]) == 1
        assert await send_notice(own_server, "--withdraw", "--all") == (0, "Withdrawn from 2 users.\n", "")
        assert (await anna.state(rooms[0], "m.room.pinned_events"))["pinned"] == []


async def test_notices_that_go_nowhere(server: ServerProcess) -> None:
    """To nobody, to somebody unknown, about half of a limit: each is said in a sentence."""
    for arguments, reason in (
        (("--to", "nobody"), "Give either a text"),
        (("Hello", "--withdraw", "--all"), "Give either a text"),
        (("Hello", "--to", "nobody"), "There is no user @nobody:localhost here (M_NOT_FOUND)"),
        (("Hello", "--all", "--contact", "mailto:admin@example.org"), "M_MISSING_PARAM"),
    ):
        status, output, errors = await send_notice(server, *arguments)
        assert (status, output) == (1, "")
        assert reason in errors
    assert (await send_notice(server, "Hello"))[0] == 2
