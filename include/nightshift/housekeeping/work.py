"""Who works where: the nights that a lease names."""

from __future__ import annotations

from nightshift.housekeeping.inventory import Span, span_of
from nightshift.lake import Lake
from nightshift.lease import TTL_SECONDS

LEASES = "leases"
SWEEP = "housekeeping/sweep"
"""The lease of housekeeping itself."""


def nights_at_work(lake: Lake, *, now: float, grace_seconds: float) -> frozenset[Span]:
    """Nights with a lease that was renewed or given back within the grace.

    A held lease is renewed all the time, so its age says what its content would, by one listing.
    """
    limit = now - max(grace_seconds, TTL_SECONDS)
    nights = {one.path.split("/")[1] for one in lake.stored(LEASES) if one.modified > limit}
    spans = (span_of(f"night={night}") for night in nights)
    return frozenset(span for span in spans if span is not None)
