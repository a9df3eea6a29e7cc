"""Loaders: one module a shop. Each has `read(**options) -> Source`;
its command-line options are in `nightshift.store.options`.

    >>> load("complete-journey", settings)                            # doctest: +SKIP
    {'shop': 'complete-journey', 'events': {'read': 1469307, 'loaded': 1469307, ...}, ...}
"""

from __future__ import annotations

import importlib
import time
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, text

from nightshift.errors import UsageError
from nightshift.store.engine import begin
from nightshift.store.options import LOADERS

if TYPE_CHECKING:
    from nightshift.settings import Settings
    from nightshift.store.loaders.source import ShopRow


def module_of(name: str) -> Any:
    """The module of a loader.

    Raises:
        UsageError: there is none of this name.
    """
    if name not in LOADERS:
        raise UsageError(f"There is no loader {name!r}.", hint=f"one of {', '.join(LOADERS)}")
    return importlib.import_module(f"nightshift.store.loaders.{name.replace('-', '_')}")


def load(name: str, settings: Settings, /, **options: Any) -> dict[str, Any]:
    """Load a shop into the store, in one transaction; doing it again changes nothing.

    Returns per table the rows read, loaded, updated and already there (a row that comes twice in
    the source counts as already there), then `dropped` and `changed`: {table: {rule: rows}}.

    Raises:
        BadInput: the source breaks the contract, with file, row and column.
        UsageError: the store holds another shop, or reads its own tables through the views.
        StoreError: the store cannot be reached.
    """
    from nightshift.progress import Progress
    from nightshift.store import bulk, schema

    started = time.monotonic()
    source = module_of(name).read(**options)
    schema.migrate(settings)
    result: dict[str, Any] = {"shop": source.shop.name}
    with begin(settings) as connection:
        _claim(connection, source.shop)
        for table, frames in source.tables.items():
            loading = bulk.Loading(
                connection,
                getattr(bulk, table.upper()),
                origin=source.origins.get(table, name),
                drop_unknown=source.drop_unknown_items,
            )
            with Progress(f"load {table}", total=source.totals.get(table)) as progress:
                for frame in frames:
                    loading.add(frame)
                    progress.add(frame.height)
            result[table] = loading.finish()
            if loading.unknown:
                source.dropped.setdefault(table, {})["unknown_item"] = loading.unknown
    with begin(settings) as connection:  # the planner chooses far better plans with statistics
        for table in source.tables:
            connection.execute(text(f"analyze nightshift.{table}"))
    result["dropped"], result["changed"] = source.dropped, source.changed
    result["seconds"] = round(time.monotonic() - started, 1)
    return result


def _claim(connection: Connection, shop: ShopRow) -> None:
    """Write the shop's row; a store holds one shop."""
    own = connection.execute(
        text("select pg_get_viewdef(to_regclass('nightshift.events_v')) like '%nightshift.events%'")
    ).scalar()
    if not own:
        raise UsageError(
            "The view nightshift.events_v reads the shop's own tables: what is loaded would not "
            "be seen.",
            hint="name another database: NIGHTSHIFT_STORE__URL or --set store.database=NAME",
        )
    held = connection.execute(text("select name from nightshift.shop")).scalar()
    if held is not None and held != shop.name:
        raise UsageError(
            f"The store already holds the shop {held!r}; two shops do not mix.",
            hint="name another database: --set store.database=NAME, or NIGHTSHIFT_STORE__URL",
        )
    connection.execute(
        text(
            "insert into nightshift.shop (name, description, repeats, target_kinds, currency)"
            " values (:name, :description, :repeats, :target_kinds, :currency)"
            " on conflict (one) do update set description = excluded.description,"
            " repeats = excluded.repeats, target_kinds = excluded.target_kinds,"
            " currency = excluded.currency"
        ),
        {
            "name": shop.name,
            "description": shop.description,
            "repeats": shop.repeats,
            "target_kinds": list(shop.target_kinds),
            "currency": shop.currency,
        },
    )
