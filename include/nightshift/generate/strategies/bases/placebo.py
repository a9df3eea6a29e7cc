"""What both placebos share: places of real histories, each as likely as any other."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import polars as pl

from nightshift.generate.behaviour.real_stretches import Ints, draw_places, wishes_by_activity
from nightshift.generate.strategies.base import Price, Strategy

_SECONDS_PER_SAMPLE = 5e-4
"""Measured on one core."""
_IN_FRONT = 1
"""Items in front of a place: a sequence holds two items or more, a context one."""


class Placebo(Strategy):
    """Makes a sample at a place, of as many places as the settings say."""

    scale = 10
    salt: ClassVar[int]
    """Of the draw of places; a strategy's own."""

    @property
    @abstractmethod
    def wanted(self) -> int:
        """Samples that the settings ask for."""

    def price(self) -> Price:
        return Price(seconds=_SECONDS_PER_SAMPLE)

    def plan(self, budget: int) -> pl.DataFrame:  # noqa: ARG002
        return wishes_by_activity(self.sources, self.wanted, in_front=_IN_FRONT, salt=self.salt)

    def places(self, targets: pl.DataFrame) -> tuple[Ints, Ints, Ints]:
        """What `draw_places` returns."""
        return draw_places(self.sources, targets, in_front=_IN_FRONT, salt=self.salt)
