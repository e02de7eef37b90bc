"""What an operator types when search misses something: `parley rebuild-search`, beside a running server."""

import hashlib
import hmac

import psycopg2

from tests.builders.process import ServerProcess
from tests.builders.waiting import until
from tests.conformance.client import MatrixClient, v3
from tests.stories.test_register_user import parley

PATH = "/_parley/admin/v1/search/rebuild"


async def finds(client: MatrixClient, term: str) -> list[str]:
    asked = {"search_categories": {"room_events": {"search_term": term, "order_by": "recent"}}}
    found = (await client.call("POST", v3("search"), asked))["search_categories"]["room_events"]
    return [one["result"]["event_id"] for one in found["results"]]


def lose_the_index(server: ServerProcess) -> None:
    connection = psycopg2.connect(host=str(server.data / "socket"), user="parley", dbname="parley")
    with connection, connection.cursor() as cursor:
        cursor.execute("DELETE FROM search")
    connection.close()


async def test_an_index_that_the_operator_has_built_again(server: ServerProcess) -> None:
    """What had got lost is found again, and so is what is said meanwhile."""
    async with MatrixClient(server.url) as alice:
        await alice.register("rebuilder")
        room = await alice.create_room()
        sent = [await alice.send(room, f"pangolin {number}") for number in range(3)]

        async def are_found() -> bool:
            return await finds(alice, "pangolin") == sent[::-1]

        await until(are_found)
        lose_the_index(server)
        assert await finds(alice, "pangolin") == []
        where = ("--data", str(server.data), "--listen", f"127.0.0.1:{server.port}")
        status, output, errors = await parley("rebuild-search", *where)
        assert (status, errors) == (0, "")
        assert output.startswith("The index of search is built again")
        sent.append(await alice.send(room, "one more pangolin"))
        await until(are_found)


async def test_nobody_else_has_it_built(server: ServerProcess) -> None:
    """A rebuild is work: without the secret there is none, and a nonce is good for one."""
    secret = (server.data / "registration.secret").read_text().strip()
    async with MatrixClient(server.url) as client:
        nonce = (await client.call("GET", PATH, token=""))["nonce"]
        wrong = {"nonce": nonce, "mac": mac("not the secret", nonce)}
        assert (await client.call("POST", PATH, wrong, token="", expect=403))["errcode"] == "M_FORBIDDEN"
        right = {"nonce": nonce, "mac": mac(secret, nonce)}
        assert await client.call("POST", PATH, right, token="") == {}
        await client.call("POST", PATH, right, token="", expect=400)


def mac(secret: str, nonce: str) -> str:
    return hmac.new(secret.encode(), f"{nonce}\0rebuild-search".encode(), hashlib.sha1).hexdigest()
