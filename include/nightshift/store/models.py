"""The default schema behind the contract views: what a shop has that brings no tables of its own.

Everything lies in the Postgres schema `nightshift`. `tests/store/test_schema.py` compares these
models with what the migrations make.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    DateTime,
    Index,
    LargeBinary,
    MetaData,
    Numeric,
    Text,
)
from sqlalchemy.dialects.postgresql import JSONB, REAL
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from nightshift.store.engine import SCHEMA

TIME = DateTime(timezone=True)


class Base(DeclarativeBase):
    metadata = MetaData(schema=SCHEMA)
    type_annotation_map = {str: Text, datetime: TIME, float: Numeric}  # noqa: RUF012 SQLAlchemy's


class Shop(Base):
    """One row: what the shop is."""

    __tablename__ = "shop"
    one: Mapped[bool] = mapped_column(primary_key=True, server_default="true")
    name: Mapped[str]
    description: Mapped[str]
    repeats: Mapped[bool]
    """May an item that a user already bought be recommended again?"""
    target_kinds: Mapped[list[str]] = mapped_column(ARRAY(Text))
    currency: Mapped[str | None]
    __table_args__ = (CheckConstraint("one", name="shop_has_one_row"),)


class Item(Base):
    __tablename__ = "items"
    item_id: Mapped[str] = mapped_column(primary_key=True)
    title: Mapped[str | None]
    description: Mapped[str | None]
    category: Mapped[str | None]
    brand: Mapped[str | None]
    price: Mapped[float | None]
    currency: Mapped[str | None]
    listed_at: Mapped[datetime | None]
    """NULL: always; a risk of looking ahead, which collect counts."""


class User(Base):
    __tablename__ = "users"
    user_id: Mapped[str] = mapped_column(primary_key=True)
    segment: Mapped[str | None]


class Event(Base):
    """One user-item fact. Partitioned by month: see `nightshift.store.partitions`."""

    __tablename__ = "events"
    event_id: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[str]
    item_id: Mapped[str]
    kind: Mapped[str]
    occurred_at: Mapped[datetime] = mapped_column(primary_key=True)
    recorded_at: Mapped[datetime | None]
    """When the store learnt of it; NULL: at once."""
    value: Mapped[float | None]
    quantity: Mapped[float | None]
    session_id: Mapped[str | None]
    __table_args__ = (
        Index("events_occurred_at", "occurred_at", postgresql_using="brin"),
        {"postgresql_partition_by": "RANGE (occurred_at)"},
    )


class Search(Base):
    __tablename__ = "searches"
    search_id: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[str | None]
    query: Mapped[str]
    item_id: Mapped[str | None]
    grade: Mapped[float | None]
    occurred_at: Mapped[datetime | None]


class Review(Base):
    __tablename__ = "reviews"
    review_id: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[str | None]
    item_id: Mapped[str]
    rating: Mapped[float | None]
    text: Mapped[str | None]
    occurred_at: Mapped[datetime | None]


class PseudonymKey(Base):
    """One row: the key of the pseudonyms, NULL when the settings carry it."""

    __tablename__ = "pseudonym_key"
    one: Mapped[bool] = mapped_column(primary_key=True, server_default="true")
    key: Mapped[bytes | None] = mapped_column(LargeBinary)
    key_id: Mapped[str]
    """What tells keys apart without giving one away."""
    __table_args__ = (CheckConstraint("one", name="pseudonym_key_has_one_row"),)


class Pseudonym(Base):
    """Who is who. It stays in the store; `score` joins back here."""

    __tablename__ = "pseudonyms"
    user_id: Mapped[str] = mapped_column(primary_key=True)
    user_key: Mapped[str] = mapped_column(unique=True)


class _Recommended:
    user_id: Mapped[str] = mapped_column(primary_key=True)
    rank: Mapped[int] = mapped_column(primary_key=True)
    item_id: Mapped[str]
    score: Mapped[Any] = mapped_column(REAL)
    because: Mapped[list[str] | None] = mapped_column(ARRAY(Text))
    """Items of the user's own history that carried it, the most first; NULL: nobody asked."""
    words: Mapped[list[str] | None] = mapped_column(ARRAY(Text))
    """What the item's text has in common with theirs."""
    shares: Mapped[dict[str, float] | None] = mapped_column(JSONB)
    """Share of each term of the score in what sets the item above the mean one."""


class Recommendation(_Recommended, Base):
    """What is live: rank 1 is best."""

    __tablename__ = "recommendations"


class RecommendationStaging(_Recommended, Base):
    """What is being written; swapped with the live rows in one transaction."""

    __tablename__ = "recommendations_staging"


class AdCopy(Base):
    """What is live of the lines that sell an item; swapped with the recommendations."""

    __tablename__ = "ad_copy"
    sample_id: Mapped[str] = mapped_column(primary_key=True)
    item_id: Mapped[str]
    segment: Mapped[str | None]
    """Whose taste it is written for; NULL: everybody's."""
    text: Mapped[str]
    night: Mapped[str]
    """The night that made it."""
    model: Mapped[str | None]
    """The language model that wrote it."""
    made_at: Mapped[datetime]
    """When it first was live."""
    __table_args__ = (Index("ad_copy_item_id", "item_id"),)


class Publication(Base):
    """One row: which night and which model the live recommendations stem from."""

    __tablename__ = "publication"
    one: Mapped[bool] = mapped_column(primary_key=True, server_default="true")
    as_of: Mapped[datetime]
    """The live rows know events before this time; it only moves forward."""
    model: Mapped[str]
    users: Mapped[int] = mapped_column(BigInteger)
    published_at: Mapped[datetime]
    __table_args__ = (CheckConstraint("one", name="publication_has_one_row"),)
