"""Servers that do not answer."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "destinations",
        sa.Column("server_name", sa.Text(), nullable=False, comment="a server that does not answer; no row: it does"),
        sa.Column("since_ts", sa.BigInteger(), nullable=False, comment="ms; when an attempt failed first"),
        sa.Column("failed_ts", sa.BigInteger(), nullable=False, comment="ms; when an attempt failed last"),
        sa.Column("retry_ts", sa.BigInteger(), nullable=False, comment="ms; no attempt before this"),
        sa.Column(
            "pause_ms",
            sa.BigInteger(),
            nullable=False,
            comment="the pause after the last failure; doubles with the next",
        ),
        sa.PrimaryKeyConstraint("server_name", name=op.f("destinations_pkey")),
    )
    op.create_index(op.f("destinations_failed_ts"), "destinations", ["failed_ts"], unique=False)
