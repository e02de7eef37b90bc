"""Rate limits of single users."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    op.create_table(
        "user_limits",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column(
            "name",
            sa.Text(),
            nullable=False,
            comment="of a row of the table of limits; *: every row that counts by user",
        ),
        sa.Column("per_second", sa.Double(), nullable=True, comment="NULL: no limit"),
        sa.Column("burst", sa.Integer(), nullable=True, comment="how many at once; NULL: no limit"),
        sa.PrimaryKeyConstraint("user_id", "name", name=op.f("user_limits_pkey")),
    )
