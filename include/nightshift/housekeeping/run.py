"""One run of housekeeping: inventory, marks, sweep, caches."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping

from nightshift.errors import SettingsError
from nightshift.housekeeping import caches
from nightshift.housekeeping.accounts import Accounts
from nightshift.housekeeping.inventory import Found, inventory
from nightshift.housekeeping.keep import OURS, STATE, Kept, Now, mark
from nightshift.housekeeping.sweep import Goes, going, sweep
from nightshift.housekeeping.work import LEASES, SWEEP, nights_at_work
from nightshift.lake import Lake
from nightshift.lease import held
from nightshift.registry.alias import latest_states
from nightshift.settings import RetentionSettings, Settings

log = logging.getLogger("nightshift.housekeeping")

_HOUR, _DAY = 3600.0, 86_400.0


def housekeep(settings: Settings, *, dry_run: bool = False, now: float | None = None) -> Accounts:
    """Remove from the lake what `settings.retention` does not keep; or only say what would go.

    Args:
        now: seconds since 1970; what the grace and the age of caches are counted back from. Nights
            are counted back from the newest in the lake, whatever the time is.

    Raises:
        LeaseHeld: another housekeeping runs.
        SettingsError: `retention.evidence` names what is no dataset.
        LakeError: the lake cannot be reached, or fails on the way; run it again to go on.
    """
    unknown = sorted(set(settings.retention.evidence) - OURS)
    if unknown:
        raise SettingsError(
            f"retention.evidence names {', '.join(map(repr, unknown))}, which is no dataset.",
            hint=f"choose among {', '.join(sorted(OURS))}",
        )
    lake = Lake.of(settings)
    if dry_run:
        return _run(lake, settings, now=now, dry_run=True)
    with held(lake, SWEEP, wait_seconds=0, done=lambda: False):
        return _run(lake, settings, now=now, dry_run=False)


def _run(lake: Lake, settings: Settings, *, now: float | None, dry_run: bool) -> Accounts:
    retention = settings.retention
    moment, grace = time.time() if now is None else now, retention.grace_hours * _HOUR
    # Leases first: who begins to work after this is found again before anything is removed.
    known = Now(
        oldest_touched=moment - grace,
        at_work=nights_at_work(lake, now=moment, grace_seconds=grace),
        live=tuple(
            f"{STATE}/{partition}/{key[:16]}"
            for partition, key in latest_states(lake, retention.rollback_states)
        ),
    )
    found = {one.folder: one for one in inventory(lake)}
    kept = mark(found, retention, known, pool_nights=settings.evaluate.pool_nights)
    gone = going(found, kept, known, days=retention.days)
    accounts = _accounts(lake, found, kept, gone, dry_run=dry_run)
    done: Iterable[Goes] = gone
    if not dry_run:
        done = sweep(lake, gone, kept, grace_seconds=grace, now=now)
    for goes in done:
        accounts.row(goes.found.dataset).go(goes.bytes, goes.why)
    _caches(lake, accounts, retention, moment, dry_run=dry_run)
    return accounts


def _accounts(
    lake: Lake, found: Mapping[str, Found], kept: Kept, gone: Iterable[Goes], *, dry_run: bool
) -> Accounts:
    """With a row for each kind, in which what stays is counted."""
    accounts = Accounts(lake.root, dry_run, kept.newest, kept.since)
    freed = {goes.found.folder: goes.bytes for goes in gone}
    for one in found.values():
        row = accounts.row(one.dataset)
        row.kept += one.folder in kept.why
        row.kept_bytes += one.bytes - freed.get(one.folder, 0)
    return accounts


def _caches(
    lake: Lake, accounts: Accounts, retention: RetentionSettings, now: float, *, dry_run: bool
) -> None:
    grace, old = now - retention.grace_hours * _HOUR, now - retention.chunk_days * _DAY
    row = accounts.row
    for name in (caches.CHUNKS, caches.RESPONSES):
        caches.sweep_cache(lake, row(name), name, before=min(old, grace), dry_run=dry_run)
    caches.sweep_leases(lake, row(LEASES), before=grace, since=accounts.since, dry_run=dry_run)
    caches.count(lake, row(caches.EMBEDDINGS), caches.EMBEDDINGS)
    caches.count(lake, row(caches.MODELS), caches.MODELS)
    caches.count(lake, row(caches.REGISTRY), caches.REGISTRY)
    caches.sweep_scratch(lake, row("scratch"), before=grace, dry_run=dry_run)
    if not lake.is_local:
        caches.sweep_copies(lake, row("copies"), before=min(old, grace), dry_run=dry_run)
