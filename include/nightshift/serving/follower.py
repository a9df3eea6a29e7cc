"""Following the live alias: the next champion is loaded beside the one that answers, then swapped.

A request holds the champion that it started with, so a swap drops nothing. A state that does not
load is counted and told once, and tried again later: the one before stays live.
"""

from __future__ import annotations

import asyncio
import logging
import time

from nightshift.errors import NightshiftError
from nightshift.lake import Lake
from nightshift.registry.alias import Alias, live
from nightshift.serving.champion import Champion, load
from nightshift.settings import Settings

log = logging.getLogger("nightshift.serve")

MAX_PAUSES = 60
"""A state that did not load is tried again after 1, 2, 4 … polls, and at least every 60."""


class Follower:
    """Holds the champion. `current` is replaced as a whole, by the event loop's thread alone."""

    def __init__(self, lake: Lake, settings: Settings) -> None:
        self.lake, self.settings = lake, settings
        self.current: Champion | None = None
        self.rejected = 0
        """Entries of the alias whose state did not load."""
        self._failed: Alias | None = None
        self._tries = 0
        self._again_at = 0.0

    async def run(self) -> None:
        """Look at the alias until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(self.settings.serve.poll_seconds)

    async def look(self) -> None:
        """Let the champion be what the alias names, where it can be loaded."""
        try:
            alias = await asyncio.to_thread(live, self.lake)
        except Exception as error:  # whatever it is: who stops looking serves the past for ever
            log.warning("the alias cannot be read: %s", error)
            return
        if alias is None or not self._is_news(alias):
            return
        current = self.current
        if current is not None and _same_model(current.alias, alias):
            return
        started = time.monotonic()
        try:
            loaded = await asyncio.to_thread(load, self.lake, self.settings, alias)
        except Exception as error:  # a broken state may fail in any way; the old one stays
            self._reject(alias, error)
            return
        self._failed = None
        self.current = loaded
        log.info(
            "live: line %s of night %s, loaded in %.1f s",
            alias.line,
            alias.night,
            time.monotonic() - started,
        )

    def _is_news(self, alias: Alias) -> bool:
        return alias != self._failed or time.monotonic() >= self._again_at

    def _reject(self, alias: Alias, error: Exception) -> None:
        if alias != self._failed:
            self._failed, self._tries = alias, 0
            self.rejected += 1
        pauses = min(2**self._tries, MAX_PAUSES)
        self._tries += 1
        self._again_at = time.monotonic() + pauses * self.settings.serve.poll_seconds
        known = isinstance(error, NightshiftError)
        log.error(
            "line %s of night %s does not load, %s: %s",
            alias.line,
            alias.night,
            "what was live stays" if self.current else "nothing is live yet",
            error,
            exc_info=None if known else error,
        )


def _same_model(one: Alias, other: Alias) -> bool:
    """A pin or its end is an entry of its own for what is live already."""
    return (one.state, one.line, one.digest) == (other.state, other.line, other.digest)
