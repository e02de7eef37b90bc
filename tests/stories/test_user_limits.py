"""An operator gives a bot wider limits: what was set is there again when the server has started anew."""

from tests.builders.process import ServerProcess
from tests.conformance.client import MatrixClient
from tests.stories.test_register_user import PASSWORD, register_user

PATH = "/_synapse/admin/v1/users/@bot:localhost/override_ratelimit"


async def test_limits_of_a_bot_outlast_the_server(own_server: ServerProcess) -> None:
    """Made by the operator with a command, an administrator sets them; after a restart they are told as before."""
    assert (await register_user(own_server, "ada", "--admin"))[0] == 0
    async with MatrixClient(own_server.url) as ada, MatrixClient(own_server.url) as bot:
        await ada.login("ada", PASSWORD)
        await bot.register("bot")
        told = await ada.call("POST", PATH, {"messages_per_second": 50, "burst_count": 200})
        await bot.call("GET", PATH, expect=403)
    assert await own_server.stop() == 0
    await own_server.start()
    async with MatrixClient(own_server.url) as ada:
        await ada.login("ada", PASSWORD)
        assert await ada.call("GET", PATH) == told
        assert await ada.call("DELETE", PATH) == {}
        assert await ada.call("GET", PATH) == {}
