"""User ids leave the store as HMACs; key and mapping stay in it."""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from nightshift.settings import Settings
from nightshift.store import pseudonyms
from nightshift.store.engine import begin
from nightshift.store.schema import migrate

LATE = datetime(2030, 1, 1, tzinfo=UTC)


def _mapping(settings: Settings) -> dict[str, str]:
    with begin(settings) as connection:
        pseudonyms.remember(connection, pseudonyms.keyring(connection, settings), before=LATE)
        rows = connection.execute(text("select user_id, user_key from nightshift.pseudonyms"))
        return {row.user_id: row.user_key for row in rows}


@pytest.mark.parametrize("key", ["short", "longer than a block of SHA-256 " * 5])
def test_the_pseudonym_is_the_hmac_of_the_user_id(small_shop: Settings, key: str) -> None:
    mapping = _mapping(small_shop.with_({"store": {"pseudonym_key": key}}))

    assert len(mapping) == 150
    assert mapping == {
        user: hmac.new(key.encode(), user.encode(), hashlib.sha256).hexdigest()[:20]
        for user in mapping
    }


def test_a_key_of_the_settings_is_not_kept_in_the_store(small_shop: Settings) -> None:
    _mapping(small_shop)
    with begin(small_shop) as connection:
        assert connection.execute(text("select key from nightshift.pseudonym_key")).scalar() is None


def test_a_random_key_is_made_once_and_differs_between_stores(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NIGHTSHIFT_STORE__PSEUDONYM_KEY")
    keyless = settings.with_({"store": {"pseudonym_key": None}})
    migrate(keyless)

    def ring() -> pseudonyms.Keyring:
        with begin(keyless) as connection:
            return pseudonyms.keyring(connection, keyless)

    first = ring()
    assert ring() == first
    with begin(keyless) as connection:
        connection.execute(text("delete from nightshift.pseudonym_key"))
    assert ring().key_id != first.key_id
    assert first.inner not in repr(first)


def test_another_key_makes_the_mapping_anew(small_shop: Settings) -> None:
    old = _mapping(small_shop)
    new = _mapping(small_shop.with_({"store": {"pseudonym_key": "another"}}))
    assert old.keys() == new.keys()
    assert not set(old.values()) & set(new.values())
