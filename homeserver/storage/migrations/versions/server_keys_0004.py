"""The signing keys of other servers."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "server_keys",
        sa.Column("server_name", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False, comment="ed25519:a_1"),
        sa.Column("key", sa.LargeBinary(), nullable=False, comment="32 bytes"),
        sa.Column(
            "valid_until_ts",
            sa.BigInteger(),
            nullable=False,
            comment="ms; at most seven days after it was last told",
        ),
        sa.Column(
            "expired_ts",
            sa.BigInteger(),
            nullable=True,
            comment="ms; since when the server does not use it any more; NULL: it does",
        ),
        sa.PrimaryKeyConstraint("server_name", "key_id", name=op.f("server_keys_pkey")),
    )
    op.create_table(
        "server_key_answers",
        sa.Column("server_name", sa.Text(), nullable=False),
        sa.Column(
            "document", sa.Text(), nullable=False, comment="JSON: its newest answer, with its own signatures alone"
        ),
        sa.Column("valid_until_ts", sa.BigInteger(), nullable=False, comment="ms; as it counts for its keys"),
        sa.Column("fetched_ts", sa.BigInteger(), nullable=False, comment="ms"),
        sa.PrimaryKeyConstraint("server_name", name=op.f("server_key_answers_pkey")),
    )
