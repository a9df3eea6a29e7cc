"""Progress of long work: a bar in a terminal, a line every few seconds in a log."""

from __future__ import annotations

import logging
import sys
import time
from types import TracebackType
from typing import Any, Self

from nightshift import logs

LOG_EVERY_SECONDS = 5.0


class Progress:
    """Counts units of work and says rate and time left.

    >>> with Progress("embed", total=3, unit="texts") as progress:
    ...     progress.add(3)
    """

    def __init__(
        self, label: str, *, total: int | None = None, unit: str = "rows", shown: bool = True
    ) -> None:
        self.label, self.total, self.unit, self.shown = label, total, unit, shown
        self.done = 0
        self._log = logging.getLogger("nightshift.progress")
        self._bar: Any = None
        self._started = self._last = time.monotonic()

    def __enter__(self) -> Self:
        self._started = self._last = time.monotonic()
        if self.shown and sys.stderr.isatty() and not logs.as_json():
            from tqdm import tqdm

            self._bar = tqdm(
                total=self.total, desc=self.label, unit=f" {self.unit}", unit_scale=True
            )
        return self

    def add(self, count: int = 1, note: str = "") -> None:
        """`count` more units are done; `note` is shown behind the figures (a loss, say)."""
        self.done += count
        if self._bar is not None:
            self._bar.update(count)
            if note:
                self._bar.set_postfix_str(note, refresh=False)
            return
        now = time.monotonic()
        if self.shown and now - self._last >= LOG_EVERY_SECONDS:
            self._last = now
            self._tell(note)

    def line(self, note: str = "") -> str:
        """The figures as one line: done/total, rate, seconds left."""
        seconds = max(time.monotonic() - self._started, 1e-9)
        rate = self.done / seconds
        of_total = f"/{self.total:,}" if self.total is not None else ""
        text = f"{self.label}: {self.done:,}{of_total} {self.unit}, {rate:,.0f}/s"
        if self.total and rate > 0:
            text += f", {max(self.total - self.done, 0) / rate:.0f} s left"
        return f"{text}, {note}" if note else text

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()
        elif self.shown and kind is None and self.done:
            self._tell()

    def _tell(self, note: str = "") -> None:
        figures = {"label": self.label, "done": self.done, "total": self.total, "unit": self.unit}
        self._log.info("%s", self.line(note), extra={"progress": figures})
