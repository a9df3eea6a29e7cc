"""Two whole nights of a small real shop: what is there afterwards, and what must not be."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from sqlalchemy import text
from whole_nights import (
    FIRST,
    LEARNERS,
    SECOND,
    Shops,
    datasets,
    digests,
    environment,
    files_with,
)

from nightshift import nights, stages
from nightshift.errors import ParentMissing
from nightshift.lake import Lake
from nightshift.nights import run_night
from nightshift.registry import alias
from nightshift.registry.champion import champion
from nightshift.registry.log import verdicts
from nightshift.registry.retract import retract
from nightshift.retractions import Rule
from nightshift.settings import Settings
from nightshift.stages import NIGHTLY, STAGES, Ran, state_partition
from nightshift.store.engine import begin

HEAVY = ("torch", "transformers", "ctranslate2", "pandas", "great_expectations", "scipy")
PLANTED_USER, PLANTED_ITEM, PLANTED_TITLE = "planted-user-7", "planted-item-7", "Zyxwv lantern"


@dataclass
class TwoNights:
    """The first night and a warm one, as they were run."""

    settings: Settings
    ran: dict[str, list[Ran]]

    @property
    def lake(self) -> Lake:
        return Lake.of(self.settings)


@pytest.fixture(scope="module")
def done(shops: Shops) -> TwoNights:
    settings = shops.fresh()
    ran = {
        night.key: run_night(night, settings, told=lambda ran: None) for night in (FIRST, SECOND)
    }
    return TwoNights(settings, ran)


@pytest.fixture
def spoilt(done: TwoNights, shops: Shops) -> Settings:
    """A copy of store and lake after both nights, for a test to change."""
    return shops.like(done.settings)


# --- what is there ----------------------------------------------------------------------------


@pytest.mark.parametrize("night", [FIRST, SECOND], ids=str)
def test_every_dataset_is_there_and_whole(done: TwoNights, night):
    found = datasets(done.settings, night)

    assert {name.partition("/")[0] for name in found} == set(NIGHTLY)
    assert len(found) > len(NIGHTLY)  # shards and arms are several
    for manifest in found.values():
        assert done.lake.verify(manifest) == []
    assert [ran.stage for ran in done.ran[night.key]] == [
        name for name in nights.ORDER for _ in _parts(name, done, night)
    ]
    assert all(ran.worked for ran in done.ran[night.key])


def _parts(name: str, done: TwoNights, night) -> list[dict[str, str]]:
    return stages.parts_of(name, done.lake, night, done.settings)


def test_the_samples_reached_the_model(done: TwoNights):
    """Else much of what follows would be true of a night that does nothing."""
    for night in (FIRST, SECOND):
        found = datasets(done.settings, night)
        recipe = done.lake.read_json(found["tune"], "recipe.json")
        assert recipe["strategies"]["text_neighbours"]["weight"] == 3.0
        assert found["blend"].stats["rows"]["challenger"] > 100
        assert found["blend"].stats["rows"]["control"] == 0
        models = {
            arm: found[f"finetune/{arm}/0"].file("model.safetensors").sha256
            for arm in ("control", "challenger")
        }
        assert models["control"] != models["challenger"]


def test_the_second_night_starts_from_the_first_ones_state(done: TwoNights):
    first, second = datasets(done.settings, FIRST), datasets(done.settings, SECOND)

    assert first["refresh"].partition == state_partition(SECOND.start)
    for arm in ("finetune/control/0", "finetune/challenger/0"):
        assert "parent" not in first[arm].inputs
        assert second[arm].inputs["parent"] == first["refresh"].ref


def test_nothing_is_done_twice(done: TwoNights):
    files = {path: path.stat().st_mtime_ns for path in done.settings.home_path.rglob("*.parquet")}

    for night in (FIRST, SECOND):
        again = run_night(night, done.settings, told=lambda ran: None)
        assert [ran.stage for ran in again if ran.worked] == []
        assert [r.manifest for r in again] == [r.manifest for r in done.ran[night.key]]

    after = {path: path.stat().st_mtime_ns for path in done.settings.home_path.rglob("*.parquet")}
    assert after == files
    assert list(done.lake.scratch.iterdir()) == []


def test_a_night_that_is_done_imports_nothing_heavy(done: TwoNights, tmp_path: Path):
    code = (
        "import sys\n"
        "from nightshift.cli import main\n"
        f"assert main(['night', '--start', '{SECOND.key}']) == 0\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )

    ended = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment(done.settings, tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 0, ended.stderr
    *said, report, heavy = ended.stdout.splitlines()
    assert len([line for line in said if line.endswith("done already")]) > len(NIGHTLY)
    assert Path(report.removeprefix("report: ")).is_file()
    assert heavy == "[]"


def test_a_second_empty_lake_gets_the_same_digests(done: TwoNights, tmp_path: Path):
    settings = done.settings.with_({"home": str(tmp_path)})

    for night in (FIRST, SECOND):
        run_night(night, settings, told=lambda ran: None)

        expected, found = digests(done.settings, night), digests(settings, night)
        expected.pop("report")
        found.pop("report")  # it shows seconds
        assert found == expected


# --- no look ahead ----------------------------------------------------------------------------


def plant(settings: Settings) -> None:
    """Events inside the night and after the cut: of a known user, a new one, a new item."""
    inside, after = FIRST.start + timedelta(hours=12), FIRST.end + timedelta(days=3)
    with begin(settings) as connection:
        run = lambda statement, **given: connection.execute(text(statement), given)  # noqa: E731
        user = run("select user_id from nightshift.events order by 1 limit 1").scalar_one()
        item = run("select item_id from nightshift.items order by 1 limit 1").scalar_one()
        run(
            "insert into nightshift.items (item_id, title, listed_at) values (:item, :title, :at)",
            item=PLANTED_ITEM, title=PLANTED_TITLE, at=inside,
        )  # fmt: skip
        run("insert into nightshift.users (user_id) values (:user)", user=PLANTED_USER)
        for number, (who, what, at) in enumerate(
            (who, what, at)
            for who in (user, PLANTED_USER)
            for what in (item, PLANTED_ITEM)
            for at in (inside, after)
        ):
            run(
                "insert into nightshift.events (event_id, user_id, item_id, kind, occurred_at)"
                " values (:id, :who, :what, 'purchase', :at)",
                id=f"planted-{number}", who=who, what=what, at=at,
            )  # fmt: skip


def test_planted_events_leave_no_trace_before_the_morning(done: TwoNights, shops: Shops):
    settings = shops.fresh()
    plant(settings)
    lake = Lake.of(settings)

    for name in nights.ORDER[: nights.ORDER.index("morning")]:
        for parts in stages.parts_of(name, lake, FIRST, settings):
            stages.run(name, FIRST, settings, parts)

    assert digests_of_learners(settings) == digests_of_learners(done.settings)
    with begin(settings) as connection:
        keys = connection.execute(
            text("select user_key from nightshift.pseudonyms where user_id = :user"),
            {"user": PLANTED_USER},
        ).scalars().all()  # fmt: skip
    assert keys == []
    words = (PLANTED_USER, PLANTED_ITEM, PLANTED_TITLE)
    assert files_with(settings.home_path, words) == {}

    # And they are there to be seen: the morning has them, of the night and no later.
    morning = stages.run("morning", FIRST, settings).manifest
    found = lake.read(morning, "events.parquet").filter(pl.col("item_id") == PLANTED_ITEM)
    assert found.height == 2
    assert found["occurred_at"].unique().to_list() == [FIRST.start + timedelta(hours=12)]
    assert files_with(settings.home_path, words).keys() == {
        str(Path("lake") / morning.file("events.parquet").path)
    }
    assert morning.digest != datasets(done.settings, FIRST)["morning"].digest


def digests_of_learners(settings: Settings) -> dict[str, str]:
    lake = Lake.of(settings)
    return {
        f"{name}/{parts}": lake.get(stage.dataset, stage.partition(FIRST, parts)).digest
        for name, stage in STAGES.items()
        if stage.dataset in LEARNERS
        for parts in stages.parts_of(name, lake, FIRST, settings)
    }


# --- what is live -----------------------------------------------------------------------------


def recommendations(settings: Settings) -> pl.DataFrame:
    """What the shop reads, with its own user ids."""
    with begin(settings) as connection:
        rows = connection.execute(
            text("select user_id, rank, item_id, score from nightshift.recommendations")
        ).all()
    return pl.DataFrame([tuple(row) for row in rows], ["user_id", "rank", "item_id", "score"],
                        orient="row").sort("user_id", "rank")  # fmt: skip


def test_recommendations_are_in_postgres_under_the_shops_own_ids(done: TwoNights):
    published = recommendations(done.settings)
    with begin(done.settings) as connection:
        rows = connection.execute(text("select user_id, user_key from nightshift.pseudonyms")).all()
        buyers = connection.execute(text("select distinct user_id from nightshift.events"))
        real = set(buyers.scalars())
        as_of = connection.execute(text("select as_of from nightshift.publication")).scalar_one()
    mapping = pl.DataFrame([tuple(row) for row in rows], ["user_id", "user_key"], orient="row")
    scored = done.lake.read(datasets(done.settings, SECOND)["score"], "recommendations.parquet")
    expected = scored.join(mapping, on="user_key").sort("user_id", "rank")

    assert published.height == scored.height > 1000
    assert set(published["user_id"]) <= real
    for column in ("user_id", "rank", "item_id"):
        assert published[column].to_list() == expected[column].to_list()
    assert published["score"].to_numpy() == pytest.approx(expected["score"].to_numpy(), abs=1e-4)
    assert as_of == SECOND.end
    assert not set(scored["user_key"]) & real  # pseudonyms in the lake


def test_one_verdict_a_night(done: TwoNights):
    log = verdicts(done.lake)
    assert [(v["night"], v["current"]) for v in log] == [(FIRST.key, True), (SECOND.key, True)]
    assert log[0]["live_line_before"] is None
    assert log[1]["live_line_before"] == log[0]["live_line"]
    for verdict in log:
        assert verdict["reasons"]
    assert champion(done.lake, SECOND.start) == log[0]
    assert champion(done.lake, SECOND.end) == log[1]
    assert champion(done.lake, FIRST.start) is None


def test_the_alias_stands_at_the_second_night(done: TwoNights):
    state = datasets(done.settings, SECOND)["refresh"]
    live = alias.live(done.lake)
    assert live is not None
    assert live.state == (state.partition, state.key)
    assert live.line == state.stats["live_line"]
    assert [entry.night for entry in alias.history(done.lake)] == [FIRST.key, SECOND.key]


def test_a_rollback_makes_the_first_nights_state_live(spoilt: Settings):
    lake = Lake.of(spoilt)
    entry = alias.rollback(lake, reason="the shop asked for it")

    assert entry.night == FIRST.key
    assert lake.at_key("state", *entry.state) == datasets(spoilt, FIRST)["refresh"]
    again = run_night(SECOND, spoilt, told=lambda ran: None)
    assert not any(ran.worked for ran in again)
    assert alias.live(lake) == entry  # what is done already moves nothing


def test_a_night_of_the_past_made_anew_moves_nothing_back(spoilt: Settings):
    lake, before = Lake.of(spoilt), recommendations(spoilt)
    live = alias.live(lake)
    other = spoilt.with_({"finetune": {"first_steps": 31}, "score": {"top_n": 7}})

    ran = run_night(FIRST, other, told=lambda ran: None)

    assert {"finetune", "refresh", "score"} <= {r.stage for r in ran if r.worked}
    assert alias.live(lake) == live
    assert recommendations(spoilt).equals(before)
    assert [v["night"] for v in verdicts(lake)] == [FIRST.key, FIRST.key, SECOND.key]
    assert [v["current"] for v in verdicts(lake)] == [False, True, True]
    # The second night has another parent now: it is stale, and made anew when it is run.
    follows = run_night(SECOND, other, told=lambda ran: None)
    assert {"blend", "finetune", "refresh"} <= {r.stage for r in follows if r.worked}
    assert {"collect", "embed", "generate"}.isdisjoint(r.stage for r in follows if r.worked)


def test_what_is_retracted_is_in_no_next_blend(spoilt: Settings):
    lake = Lake.of(spoilt)
    before = datasets(spoilt, SECOND)

    record = retract(lake, Rule(strategy="text_neighbours"), reason="a test")
    ran = run_night(SECOND, spoilt, told=lambda ran: None)

    assert record["samples"] > 100
    assert before["refresh"].folder in record["states"]
    assert next(r.stage for r in ran if r.worked) == "blend"
    blend = datasets(spoilt, SECOND)["blend"]
    assert lake.read(blend, "challenger.parquet").is_empty()
    assert blend.stats["retracted"] > 100
    assert blend.digest != before["blend"].digest


def test_a_gap_fails_before_anything_is_done(done: TwoNights, tmp_path: Path):
    later = type(FIRST).parse("2017-11-25")
    with pytest.raises(ParentMissing, match="2017-11-25"):
        run_night(later, done.settings, told=lambda ran: pytest.fail(f"{ran.stage} was run"))
    assert done.lake.find("snapshot", f"night={later.key}") is None


def test_a_gap_may_be_learnt(spoilt: Settings):
    later = type(FIRST).parse("2017-11-25")
    learn = spoilt.with_({"night": {"on_gap": "learn"}})

    run_night(later, learn, told=lambda ran: None)

    found = datasets(learn, later)
    assert found["finetune/control/0"].inputs["parent"] == datasets(spoilt, SECOND)["refresh"].ref


def test_the_report_is_whole_and_needs_no_network(done: TwoNights):
    for night in (FIRST, SECOND):
        report = datasets(done.settings, night)["report"]
        assert done.lake.read_json(report, "report.json")["night"]["key"] == night.key
        page = done.lake.local_path(report.file("index.html")).read_text()
        assert night.key in page
        assert not re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?(?:https?:)?//""", page)
