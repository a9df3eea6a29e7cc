"""The stage `promote`, and the verdict log that it adds to."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta

import pytest

from factories import commit
from nightshift.contracts import ResultRow
from nightshift.lake import Lake
from nightshift.night import Night
from nightshift.registry.champion import champion
from nightshift.registry.log import verdicts
from nightshift.registry.promote import run
from nightshift.settings import Settings
from nightshift.stages import STAGES
from shop_by_hand import write_recipe

FIRST = Night.parse("2017-11-20")


def night(number):
    return Night(FIRST.start + timedelta(days=number), FIRST.end + timedelta(days=number))


@pytest.fixture
def settings(tmp_path):
    return Settings.load({"home": str(tmp_path)})


@pytest.fixture
def lake(settings):
    return Lake.of(settings)


def pooled(lift):
    """Rows of a challenger that is better by `lift`, tightly known."""
    names = [("challenger", "control"), ("challenger", "champion"), ("control", "champion")]
    return [
        asdict(
            ResultRow(
                arm=arm,
                against=against,
                slice="overall",
                metric="ndcg@10",
                value=relative / 10,
                relative=relative,
                ci95=(relative - 0.001, relative + 0.001),
                value_ci95=((relative - 0.001) / 10, (relative + 0.001) / 10),
                n=500,
            )
        )
        for (arm, against), relative in zip(names, (lift, max(lift, 0), 0.0), strict=True)
    ]


RECIPE = {
    "strategies": {
        "text_neighbours": {"weight": 0.5, "scope": "cold"},
        "llm_reviews": {"weight": 0.25, "scope": "all"},
        "negatives": {"weight": 0.0},
    },
    "kinds": {"text_neighbours": "interaction"},
}


@pytest.fixture
def promote(lake, settings):
    def make(number, lift, *, live_line=None, empty=False):
        def evaluation(ctx):
            ctx.writer.write_json("pooled.json", pooled(lift))
            return {"empty": empty, "recipe_id": "r", "pooled_nights": 3, "users": 500}

        inputs = {
            "evaluation": commit(lake, settings, night(number), STAGES["evaluate"], evaluation),
            "recipe": write_recipe(lake, settings, RECIPE, night=night(number)),
        }
        if live_line:
            parent = {"live_line": live_line}
            inputs["parent"] = commit(
                lake, settings, night(number - 1), STAGES["refresh"], lambda ctx: parent
            )
        return commit(lake, settings, night(number), STAGES["promote"], run, inputs)

    return make


def test_a_first_night_with_a_lift_makes_the_blend_line_live(lake, promote):
    done = promote(0, 0.05)
    assert done.stats == {"decision": "promoted", "live_line": "blend", "winner": "challenger"}
    body = lake.read_json(done, "verdict.json")
    assert [gate["name"] for gate in body["gates"]] == ["overall_not_worse", "lift"]
    assert body["gates"][0]["figures"]["n"] == 500
    assert body["live_line_before"] is None


def test_the_live_line_follows_from_the_parent(promote):
    assert promote(1, -0.05, live_line="blend").stats["live_line"] == "real"
    assert promote(2, 0.05, live_line="real").stats == {
        "decision": "promoted",
        "live_line": "blend",
        "winner": "challenger",
    }
    assert promote(3, 0.05, live_line="blend", empty=True).stats["decision"] == "empty"


def test_the_model_card_says_what_is_live_and_why(lake, promote):
    done = promote(0, 0.05)
    card = lake.local_path(done.file("model_card.md")).read_text()
    assert "Live line: **blend** (before: none)" in card
    used = "`llm_reviews` (weight 0.25); `text_neighbours` (interaction, weight 0.5, cold items)"
    assert f"- Samples in the blend line: {used}\n" in card
    assert "| overall | ndcg@10 | 500 | +0.0050 | +5.0% | +4.9% to +5.1% |" in card


def test_the_log_is_append_only_and_a_rerun_adds_nothing(lake, promote):
    promote(0, 0.05)
    promote(0, 0.05)
    assert len(verdicts(lake)) == 1
    promote(0, -0.05)
    found = verdicts(lake)
    assert [(v["live_line"], v["current"]) for v in found] == [("blend", False), ("real", True)]


def test_the_champion_at_a_time(lake, promote):
    promote(2, 0.05)
    promote(0, -0.05)  # a backfill, written later

    assert champion(lake, night(0).start) is None
    assert champion(lake, night(0).end)["live_line"] == "real"
    assert champion(lake, night(2).end - timedelta(seconds=1))["live_line"] == "real"
    assert champion(lake, night(2).end.replace(tzinfo=None))["live_line"] == "blend"


def test_a_verdict_whose_stage_did_not_finish_does_not_count(lake, promote):
    done = promote(0, 0.05)
    lake.delete(f"{done.folder}/_manifest.json")
    assert [v["current"] for v in verdicts(lake)] == [False]
    assert champion(lake, night(5).end) is None
