"""Advertising copy that a night wrote and inspection accepted."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

SCHEMA = "nightshift"


def upgrade() -> None:
    op.create_table(
        "ad_copy",
        sa.Column("sample_id", sa.Text, primary_key=True),
        sa.Column("item_id", sa.Text, nullable=False),
        sa.Column("segment", sa.Text),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("night", sa.Text, nullable=False),
        sa.Column("model", sa.Text),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        schema=SCHEMA,
    )
    op.create_index("ad_copy_item_id", "ad_copy", ["item_id"], schema=SCHEMA)
