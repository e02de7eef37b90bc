"""Relations of events that were there before the table of relations was."""

from pathlib import Path

import orjson
from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, text

from homeserver.storage import upgrade
from homeserver.storage.database import open_engine
from tests.builders.cluster import Cluster

EVENT = text(
    "INSERT INTO events (number, event_id, room, position, anchor, depth, origin_server_ts, type, key, sender, prev,"
    " auth, ordinals, client, wire) VALUES (:number, :event_id, 1, :number, :anchor, 1, 5, :type, :key, '@a:b', '{}',"
    " '{}', '{}', :client, '')"
)


def migrate(engine: Engine, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(upgrade.__file__).parent / "migrations"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def test_relations_of_older_events_are_found(cluster: Cluster) -> None:
    """Of those that are visible and match the schema; threads begin to count then."""
    url = cluster.new_empty_database()
    engine = open_engine(url)
    migrate(engine, "0004")
    contents = [
        ("m.room.message", None, {"m.relates_to": {"rel_type": "m.thread", "event_id": "$root"}}),
        ("m.reaction", None, {"m.relates_to": {"rel_type": "m.annotation", "event_id": "$root", "key": "+"}}),
        ("m.x", None, {"m.relates_to": {"rel_type": "m.replace", "event_id": "$e1", "key": 1}, "m.new_content": {}}),
        ("m.x", 7, {"m.relates_to": {"rel_type": "m.replace", "event_id": "$e1"}, "m.new_content": {}}),
        ("m.room.message", None, {"m.relates_to": {"rel_type": "m.thread", "event_id": "$root"}}),
        ("m.x", None, {"m.relates_to": {"rel_type": 1, "event_id": "$root"}}),
        ("m.x", None, {"m.relates_to": {"rel_type": "m.thread", "event_id": "root"}}),
        ("m.x", None, {"m.relates_to": {"m.in_reply_to": {"event_id": "$root"}}}),
        ("m.x", None, {"m.relates_to": "nonsense", "body": '"m.relates_to":{'}),
    ]
    with engine.begin() as connection:
        for number, (type, key, content) in enumerate(contents, 1):
            client = orjson.dumps({"content": content, "type": type}).decode()[1:-1]
            values = {"number": number, "event_id": f"$e{number}", "anchor": number, "type": type, "key": key}
            connection.execute(EVENT, {**values, "client": client})
        connection.execute(text("UPDATE events SET anchor = NULL, position = NULL WHERE number = 5"))
    migrate(engine, "head")
    with engine.connect() as connection:
        columns = "event, event_id, relates_to, rel_type, key, type, ts, anchor, rank, may_replace"
        relations = connection.execute(text(f"SELECT {columns} FROM relations ORDER BY event")).all()
        threads = connection.execute(text("SELECT root, anchor, ordinals, latest_anchor FROM threads")).all()
    engine.dispose()
    cluster.drop(url)
    assert [tuple(row) for row in relations] == [
        (1, "$e1", "$root", "m.thread", None, "m.room.message", 5, 1, 0, False),
        (2, "$e2", "$root", "m.annotation", "+", "m.reaction", 5, 2, 0, False),
        (3, "$e3", "$e1", "m.replace", None, "m.x", 5, 3, 0, True),
        (4, "$e4", "$e1", "m.replace", None, "m.x", 5, 4, 0, False),
    ]
    assert [tuple(row) for row in threads] == [("$root", 1, [], 1)]
