"""Three nights of a shop by hand, as a server finds them in a lake."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).parents[1] / "recommend"))  # nights_by_hand.py

from nights_by_hand import ITEMS, Shop, later, night_events, past_events, wandering

from nightshift.lake import Lake
from nightshift.manifest import Manifest
from nightshift.registry.alias import Alias, move_alias
from nightshift.serving.app import WARM_UP
from nightshift.serving.champion import Champion, load
from shop_by_hand import NIGHT, settings_for, unit_vectors

RECIPE = {
    "beta": {"control": 0.0, "challenger": 7.0},
    "gamma": 2.0,
    "follow": 3.0,
    "lean": 1.0,
    "strategies": {},
}
COLD, WITHHELD = "i19", "i07"
"""Both are in the catalogue; nothing has happened with either that anybody learnt from."""
NIGHTS = (NIGHT, later(1), later(2))
LINES = ("real", "blend", "real")
INSIDE = {"u003": ["i05"], "newcomer": ["i01", "i02"]}
PAST = {
    user: [item for item in items if item not in (COLD, WITHHELD)]
    for user, items in wandering(20).items()
}


class QueryEncoder:
    """Knows the catalogue's texts and nothing else."""

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        vectors = unit_vectors(len(ITEMS))
        if list(texts) == [WARM_UP]:
            return vectors[:1]
        return np.stack(
            [vectors[ITEMS.index(text.strip().removeprefix("thing "))] for text in texts]
        )


class Served:
    """A lake with three states, and how to make one of them live."""

    def __init__(self, home: Path, states: Sequence[str]) -> None:
        self.settings = settings_for(home, serve={"poll_seconds": 0.02})
        self.lake = Lake.of(self.settings)
        self._states = states

    def state(self, number: int) -> Manifest:
        found = self.lake.get("state", self._states[number])
        assert found is not None
        return found

    def make_live(self, number: int) -> Alias:
        """The state after this night, of its own line."""
        move = move_alias(self.lake, self.state(number), LINES[number], NIGHTS[number])
        assert move.moved
        assert move.alias is not None
        return move.alias

    def champion(self, number: int = 0) -> Champion:
        return load(self.lake, self.settings, self.make_live(number))

    def weights(self, number: int) -> Path:
        """The file with the weights that are served."""
        entry = self.state(number).file(f"{LINES[number]}/model.safetensors")
        return self.lake.local_path(entry)


def three_nights(home: Path, *, repeats: bool) -> list[str]:
    shop = Shop.at(home)
    partitions = []
    for night, line in zip(NIGHTS, LINES, strict=True):
        past = past_events({user: items for user, items in PAST.items() if items})
        rule = {"repeats": repeats, "withheld": [WITHHELD]}
        inputs = shop.before(past, night=night, recipe=RECIPE, **rule)
        models = shop.finetune(inputs, night=night)
        state = shop.refresh(
            inputs, models, night_events(INSIDE, night), night=night, live_line=line
        )
        partitions.append(state.partition)
    return partitions


def until(true: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.02)
