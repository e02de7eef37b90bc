"""What we send to other servers: which of them are in which room, and who has not taken everything yet."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

SERVER = "substr(user_id, strpos(user_id, ':') + 1)"


def upgrade() -> None:
    op.create_table(
        "room_servers",
        sa.Column("room", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("server", sa.Text(), nullable=False, comment="not this one"),
        sa.Column("joined", sa.Integer(), nullable=False, comment="its joined users; 0: the room concerned it once"),
        sa.PrimaryKeyConstraint("room", "server", name=op.f("room_servers_pkey")),
    )
    op.create_index("room_servers_server", "room_servers", ["server", "room"])
    op.create_table(
        "room_server_changes",
        sa.Column("room", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("server", sa.Text(), nullable=False),
        sa.Column(
            "change",
            sa.SmallInteger(),
            nullable=False,
            comment="1: its first user joined; -1: its last one left; 0: it is told of this event all the same",
        ),
        sa.PrimaryKeyConstraint("room", "position", "server", name=op.f("room_server_changes_pkey")),
    )
    op.create_index("room_server_changes_server", "room_server_changes", ["server", "room", "position"])
    op.create_table(
        "unsent",
        sa.Column(
            "server", sa.Text(), nullable=False, comment="has not taken everything; no row: the followers' cursors hold"
        ),
        sa.Column("position", sa.BigInteger(), nullable=False, comment="it has the events up to here"),
        sa.Column("receipts", sa.BigInteger(), nullable=False, comment="and the receipts up to here"),
        sa.PrimaryKeyConstraint("server", name=op.f("unsent_pkey")),
    )
    op.execute(
        f"INSERT INTO room_servers (room, server, joined) SELECT room, {SERVER}, count(*) FROM memberships"
        " WHERE membership = 'join' AND NOT local GROUP BY 1, 2"
    )
