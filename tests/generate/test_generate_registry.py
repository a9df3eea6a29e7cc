"""A shop adds a strategy through an entry point, without touching ours."""

from __future__ import annotations

from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import polars as pl
import pytest

from conftest import sources_of
from nightshift.errors import SettingsError
from nightshift.generate import strategies
from nightshift.generate.samples import as_samples
from nightshift.generate.sources import Sources
from nightshift.generate.strategies import create_strategy
from nightshift.generate.strategies.base import WISHES, Chunk, Price, Strategy
from nightshift.lake import Lake
from nightshift.settings import Settings


class Bestseller(Strategy):
    """A shop's own: everybody likes the first item."""

    name = "bestseller"
    version = "7"
    produces = "interaction"

    def price(self) -> Price:
        return Price(seconds=1e-3)

    def plan(self, budget: int) -> pl.DataFrame:
        users = self.sources.snapshot.users.select(
            "user_key", item_id=pl.lit(None, pl.String), shortage=pl.lit(1.0), budget=pl.lit(1)
        )
        return users.select(WISHES)

    def generate(self, targets: pl.DataFrame) -> Chunk:
        best = self.sources.snapshot.items.sort("events", descending=True)["item_id"][0]
        return Chunk(
            as_samples(
                targets.select(
                    "user_key",
                    item_id=pl.lit(best),
                    kind=pl.lit(self.produces),
                    strategy=pl.lit(self.name),
                    label=pl.lit(1.0),
                )
            )
        )


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    points = EntryPoints(
        EntryPoint(name, value, strategies.ENTRY_POINTS)
        for name, value in {
            "bestseller": f"{__name__}:Bestseller",
            "broken": "json:dumps",
            "negatives": f"{__name__}:Bestseller",
        }.items()
    )
    monkeypatch.setattr(strategies, "entry_points", lambda **names: points.select(**names))


@pytest.mark.usefixtures("installed")
def test_an_installed_strategy_is_found_and_works(sources: Sources) -> None:
    strategy = strategies.create_strategy("bestseller", sources)
    assert strategy.own_settings == {}
    samples = strategy.generate(strategy.plan(10)).samples
    assert samples.num_rows == sources.snapshot.users.height
    assert len(set(samples["sample_id"].to_pylist())) == samples.num_rows


@pytest.mark.usefixtures("installed")
def test_ours_are_not_replaced_and_what_is_no_strategy_is_refused(sources: Sources) -> None:
    assert strategies.strategy_class("negatives").__name__ == "Negatives"
    assert {"bestseller", "text_neighbours", "llm_queries"} <= set(strategies.strategy_names())
    with pytest.raises(SettingsError, match="is not a Strategy"):
        strategies.strategy_class("broken")


def test_every_strategy_of_ours_says_what_it_is(sources: Sources) -> None:
    for name in strategies.strategy_names():
        strategy = strategies.create_strategy(name, sources)
        assert strategy.name == name
        assert strategy.own_settings
        wishes = strategy.plan(100)
        assert wishes.columns == list(WISHES)
        assert wishes["shortage"].is_between(0, 1).all()


LEARNERS = {
    "behaviour_gan": "steps",
    "behaviour_vae": "steps",
    "seq_generator": "steps",
    "llm_preferences": "probe_users",
    "copula": None,
    "bayes_net": None,
    "sequence_ops": None,
    "synonyms": None,
}
"""What learns, and the setting by which that takes longer."""


@pytest.mark.parametrize("name", LEARNERS)
def test_who_learns_says_what_that_costs(lake: Lake, settings: Settings, name: str) -> None:
    def price(changes: dict[str, int]) -> Price:
        chosen = settings.with_({"generate": {name: changes}})
        return create_strategy(name, sources_of(lake, chosen)).price()

    plain = price({})

    assert plain.fit_seconds > 0
    setting = LEARNERS[name]
    if setting is not None:
        assert price({setting: 40}).fit_seconds == pytest.approx(
            2 * price({setting: 20}).fit_seconds
        )
        assert price({setting: 20}).seconds == plain.seconds


def test_all_that_learns_is_in_that_list() -> None:
    folder = Path(strategies.__file__).parent
    found = {path.stem for path in folder.glob("*.py") if "self.fitted(" in path.read_text()}
    assert found - {"base"} == {
        name
        for name in LEARNERS
        if name not in ("behaviour_gan", "behaviour_vae", "seq_generator", "copula")
    }
