"""User ids leave the store as keyed pseudonyms; the key and the mapping stay in it.

`user_key` is the first 20 hex digits (80 bits) of HMAC-SHA256(key, user id), computed by Postgres:
ids that only the store has seen never travel to be hashed. (Bellare, Canetti & Krawczyk, 1996.)
"""

from __future__ import annotations

import hashlib
import logging
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import Connection, text

if TYPE_CHECKING:
    from nightshift.settings import Settings

KEY_DIGITS = 20
_BLOCK = 64  # of SHA-256, in bytes

log = logging.getLogger("nightshift.store")


@dataclass(frozen=True, slots=True)
class Keyring:
    """The key, ready for SQL."""

    key_id: str
    """Tells keys apart without giving one away."""
    inner: str
    """Hex of key ⊕ ipad, and below of key ⊕ opad."""
    outer: str

    @classmethod
    def of(cls, key: bytes) -> Keyring:
        block = (hashlib.sha256(key).digest() if len(key) > _BLOCK else key).ljust(_BLOCK, b"\0")
        return cls(
            hashlib.sha256(b"nightshift key id" + key).hexdigest()[:16],
            bytes(byte ^ 0x36 for byte in block).hex(),
            bytes(byte ^ 0x5C for byte in block).hex(),
        )

    @property
    def binds(self) -> dict[str, str]:
        """Values of the parameters in `hmac_sql`."""
        return {"inner": self.inner, "outer": self.outer}

    def __repr__(self) -> str:
        return f"Keyring({self.key_id})"


def hmac_sql(column: str) -> str:
    """The SQL expression of a column's pseudonym; needs `Keyring.binds`."""
    inner = f"sha256(decode(:inner, 'hex') || convert_to({column}, 'UTF8'))"
    return f"left(encode(sha256(decode(:outer, 'hex') || {inner}), 'hex'), {KEY_DIGITS})"


def keyring(connection: Connection, settings: Settings) -> Keyring:
    """The store's key: of the settings, else the stored one, made at random when there is none.

    A key other than the one that the mapping was made with empties the mapping: old pseudonyms
    lead nowhere from then on.
    """
    row = connection.execute(text("select key, key_id from nightshift.pseudonym_key")).first()
    given = settings.store.pseudonym_key
    if given is None and row is not None and row.key is not None:
        return Keyring.of(bytes(row.key))
    key = secrets.token_bytes(32) if given is None else given.get_secret_value().encode()
    ring = Keyring.of(key)
    if row is not None and row.key_id == ring.key_id:
        return ring
    if row is not None:
        log.warning("the pseudonym key changed: the mapping of users is made anew")
        connection.execute(text("delete from nightshift.pseudonyms"))
        connection.execute(text("delete from nightshift.pseudonym_key"))
    connection.execute(
        text(
            "insert into nightshift.pseudonym_key (key, key_id) values (:key, :key_id)"
            " on conflict do nothing"
        ),
        {"key": key if given is None else None, "key_id": ring.key_id},
    )
    # Of two processes that make a random key at once, the first one's counts.
    stored = connection.execute(text("select key from nightshift.pseudonym_key")).scalar_one()
    return ring if stored is None else Keyring.of(bytes(stored))


def remember(
    connection: Connection, ring: Keyring, *, before: datetime, since: datetime | None = None
) -> int:
    """Add users with events or searches in `[since, before)` to the mapping; how many were new."""
    window = (
        "occurred_at < :before and (cast(:since as timestamptz) is null or occurred_at >= :since)"
    )
    done = connection.execute(
        text(
            f"""
            insert into nightshift.pseudonyms (user_id, user_key)
            select user_id, {hmac_sql("user_id")}
            from (
                select user_id::text as user_id from nightshift.events_v where {window}
                union select user_id::text from nightshift.searches_v where {window}
            ) seen
            where user_id is not null
            on conflict do nothing
            """  # noqa: S608 no part of it comes from outside
        ),
        {"before": before, "since": since, **ring.binds},
    )
    return int(done.rowcount)
