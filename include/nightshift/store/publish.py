"""Writing what is live for the shop: staged by COPY, swapped in one transaction."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from typing import Any, cast

import polars as pl
from sqlalchemy import text

from nightshift.settings import Settings
from nightshift.store.ad_copy import LOCK, swap
from nightshift.store.engine import SCHEMA as _SCHEMA
from nightshift.store.engine import begin


def publish(
    settings: Settings,
    recommendations: pl.DataFrame,
    *,
    as_of: datetime,
    model: str,
    ad_copy: Callable[[], pl.DataFrame | None] = lambda: None,
    back: bool = False,
    still: Callable[[], bool] = lambda: True,
) -> bool:
    """Replace the live recommendations and the copy beside them, unless newer ones are live.

    Args:
        recommendations: contracts.RECOMMENDATIONS; pseudonyms are joined back to user ids here.
        as_of: the rows know events before this time; what is live only moves forward.
        model: what they were made with, for `nightshift.publication`.
        ad_copy: the night's (`store.ad_copy`), asked once nobody else can publish or retract; None
            leaves what is live.
        back: replace newer ones, too.
        still: asked once nobody else can publish; False leaves everything as it is.

    Returns:
        False when something later is live, or `still` says no: nothing was changed.
    """
    buffer = io.BytesIO()
    recommendations.select("user_key", "rank", "item_id", "score").write_csv(
        buffer, include_header=False
    )
    buffer.seek(0)
    with begin(settings) as connection:
        connection.execute(text(LOCK))
        live = connection.execute(text(f"select as_of from {_SCHEMA}.publication")).scalar()  # noqa: S608
        if not still() or (live is not None and live > as_of and not back):
            return False
        connection.execute(
            text(
                "create temporary table scored (user_key text, rank int, item_id text, score real)"
                " on commit drop"
            )
        )
        raw = connection.connection.dbapi_connection
        assert raw is not None
        with closing(raw.cursor()) as cursor:
            cast("Any", cursor).copy_expert("copy scored from stdin with (format csv)", buffer)
        staging, table = f"{_SCHEMA}.recommendations_staging", f"{_SCHEMA}.recommendations"
        connection.execute(text(f"truncate {staging}"))
        connection.execute(
            text(
                f"insert into {staging} (user_id, rank, item_id, score)"  # noqa: S608
                " select p.user_id, s.rank, s.item_id, s.score"
                f" from scored s join {_SCHEMA}.pseudonyms p using (user_key)"
            )
        )
        # Readers see the old rows until the commit, then the new ones: never a mixture.
        connection.execute(text(f"delete from {table}"))  # noqa: S608
        connection.execute(
            text(
                f"insert into {table} (user_id, rank, item_id, score)"  # noqa: S608
                f" select user_id, rank, item_id, score from {staging}"
            )
        )
        connection.execute(text(f"truncate {staging}"))
        copy = ad_copy()
        if copy is not None:
            swap(connection, copy)
        connection.execute(
            text(
                f"insert into {_SCHEMA}.publication (one, as_of, model, users, published_at)"  # noqa: S608
                " values (true, :as_of, :model, :users, now())"
                " on conflict (one) do update set as_of = excluded.as_of, model = excluded.model,"
                " users = excluded.users, published_at = excluded.published_at"
            ),
            {
                "as_of": as_of,
                "model": model,
                "users": recommendations["user_key"].n_unique(),
            },
        )
    return True
