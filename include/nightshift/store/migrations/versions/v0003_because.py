"""Why an item is recommended, beside the recommendation."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0003"
down_revision = "0002"

SCHEMA = "nightshift"


def upgrade() -> None:
    for table in ("recommendations", "recommendations_staging"):
        op.add_column(table, sa.Column("because", sa.ARRAY(sa.Text)), schema=SCHEMA)
        op.add_column(table, sa.Column("words", sa.ARRAY(sa.Text)), schema=SCHEMA)
        op.add_column(table, sa.Column("shares", JSONB), schema=SCHEMA)
