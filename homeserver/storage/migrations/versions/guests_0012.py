"""Which accounts are guests: made without a password, and with few rights."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.add_column(
        "users",
        sa.Column("guest", sa.Boolean(), server_default="false", nullable=False, comment="no password; may do little"),
    )
