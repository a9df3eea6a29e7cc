"""The shop's tables, pseudonyms, recommendations, and the five contract views.

A view that is there already is a shop's own, over its own tables: it stays.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import REAL

revision = "0001"
down_revision = None

SCHEMA = "nightshift"
TIME = sa.DateTime(timezone=True)

VIEWS = {
    "items_v": """
        select item_id, title, description, category, brand, price, currency, listed_at
        from nightshift.items""",
    "users_v": "select user_id, segment from nightshift.users",
    "events_v": """
        select event_id, user_id, item_id, kind, occurred_at, recorded_at, value, quantity,
               session_id
        from nightshift.events""",
    "searches_v": """
        select user_id, query, item_id, grade, occurred_at from nightshift.searches""",
    "reviews_v": """
        select user_id, item_id, rating, text, occurred_at from nightshift.reviews""",
}


def _text(name: str, *, null: bool = True) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=null)


def _key(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, primary_key=True)


def _one_row() -> sa.Column[bool]:
    return sa.Column("one", sa.Boolean, primary_key=True, server_default="true")


def _recommendations(name: str) -> None:
    op.create_table(
        name,
        _key("user_id"),
        sa.Column("rank", sa.Integer, primary_key=True, autoincrement=False),
        _text("item_id", null=False),
        sa.Column("score", REAL, nullable=False),
        schema=SCHEMA,
    )


def upgrade() -> None:
    op.create_table(
        "shop",
        _one_row(),
        _text("name", null=False),
        _text("description", null=False),
        sa.Column("repeats", sa.Boolean, nullable=False),
        sa.Column("target_kinds", sa.ARRAY(sa.Text), nullable=False),
        _text("currency"),
        sa.CheckConstraint("one", name="shop_has_one_row"),
        schema=SCHEMA,
    )
    op.create_table(
        "items",
        _key("item_id"),
        *(_text(name) for name in ("title", "description", "category", "brand")),
        sa.Column("price", sa.Numeric),
        _text("currency"),
        sa.Column("listed_at", TIME),
        schema=SCHEMA,
    )
    op.create_table("users", _key("user_id"), _text("segment"), schema=SCHEMA)
    op.create_table(
        "events",
        _key("event_id"),
        *(_text(name, null=False) for name in ("user_id", "item_id", "kind")),
        sa.Column("occurred_at", TIME, primary_key=True),
        sa.Column("recorded_at", TIME),
        sa.Column("value", sa.Numeric),
        sa.Column("quantity", sa.Numeric),
        _text("session_id"),
        schema=SCHEMA,
        postgresql_partition_by="RANGE (occurred_at)",
    )
    # Rows come in order of time: a few kilobytes of ranges find a day as well as a B-tree.
    op.create_index(
        "events_occurred_at", "events", ["occurred_at"], schema=SCHEMA, postgresql_using="brin"
    )
    op.create_table(
        "searches",
        _key("search_id"),
        _text("user_id"),
        _text("query", null=False),
        _text("item_id"),
        sa.Column("grade", sa.Numeric),
        sa.Column("occurred_at", TIME),
        schema=SCHEMA,
    )
    op.create_table(
        "reviews",
        _key("review_id"),
        _text("user_id"),
        _text("item_id", null=False),
        sa.Column("rating", sa.Numeric),
        _text("text"),
        sa.Column("occurred_at", TIME),
        schema=SCHEMA,
    )
    op.create_table(
        "pseudonym_key",
        _one_row(),
        sa.Column("key", sa.LargeBinary),
        _text("key_id", null=False),
        sa.CheckConstraint("one", name="pseudonym_key_has_one_row"),
        schema=SCHEMA,
    )
    op.create_table(
        "pseudonyms",
        _key("user_id"),
        sa.Column("user_key", sa.Text, nullable=False, unique=True),
        schema=SCHEMA,
    )
    _recommendations("recommendations")
    _recommendations("recommendations_staging")
    op.create_table(
        "publication",
        _one_row(),
        sa.Column("as_of", TIME, nullable=False),
        _text("model", null=False),
        sa.Column("users", sa.BigInteger, nullable=False),
        sa.Column("published_at", TIME, nullable=False),
        sa.CheckConstraint("one", name="publication_has_one_row"),
        schema=SCHEMA,
    )
    bind = op.get_bind()
    for name, query in VIEWS.items():
        if bind.scalar(sa.text("select to_regclass(:name)"), {"name": f"{SCHEMA}.{name}"}) is None:
            op.execute(f"create view {SCHEMA}.{name} as {query}")
