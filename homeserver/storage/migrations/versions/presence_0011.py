"""What users are said to be: online, unavailable or offline."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.create_table(
        "presence",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("presence", sa.Text(), nullable=False, comment="online, unavailable or offline, as it was told last"),
        sa.Column("currently_active", sa.Boolean(), nullable=False),
        sa.Column("status_msg", sa.Text(), nullable=True),
        sa.Column("last_active_ts", sa.BigInteger(), nullable=False, comment="ms; 0: not known"),
        sa.Column("position", sa.BigInteger(), nullable=False, comment="at which it was told"),
        sa.Column("rooms", postgresql.ARRAY(sa.BigInteger()), nullable=False, comment="in which it was told"),
        sa.PrimaryKeyConstraint("user_id", name=op.f("presence_pkey")),
        postgresql_with={"fillfactor": "70"},
    )
