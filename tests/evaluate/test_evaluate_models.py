"""Evaluate and promote with real models of real households: trained, stored, loaded, judged."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from factories import NIGHT, commit, make_settings, write_snapshot
from nightshift import contracts
from nightshift.evaluate.stage import run as evaluate
from nightshift.lake import Lake
from nightshift.recommend.finetune import run as finetune
from nightshift.registry.promote import run as promote
from nightshift.snapshot import Snapshot
from nightshift.stages import STAGES, arm_input


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    """A first night up to its verdict; there were no samples."""
    settings = make_settings(tmp_path_factory.mktemp("night")).with_(
        {
            "finetune": {
                "first_steps": 30,
                "model": {"dim": 16, "layers": 1},
                "batch": 32,
                "negatives": 64,
            },
            "evaluate": {"min_users": 10, "resamples": 500},
        }
    )
    lake = Lake.of(settings)
    recipe = {
        "recipe_id": "r",
        "beta": {"control": 0.2, "challenger": 0.2},
        "gamma": 0.0,
        "strategies": {},
    }

    def write_recipe(ctx):
        ctx.writer.write_json("recipe.json", recipe)
        return {"recipe_id": "r"}

    def write_vectors(ctx):
        n = len(Snapshot(lake, snapshot).items)
        vectors = np.random.default_rng(0).normal(size=(n, 64)).astype(np.float16)
        rows = np.arange(n, dtype=np.int32)
        ctx.writer.write_tensors("items.safetensors", {"vectors": vectors, "row_of_item": rows})
        return {}

    def write_blend(ctx):
        for arm in ("control", "challenger"):
            ctx.writer.write_parquet(f"{arm}.parquet", contracts.SAMPLES.empty_table())
        return {"arms": ["control", "challenger"], "rows": {}}

    def put(stage, run, inputs=None, **parts):
        return commit(lake, settings, NIGHT, STAGES[stage], run, inputs, parts)

    snapshot = write_snapshot(lake, settings, households=60, n_items=300)
    inputs = {
        "snapshot": snapshot,
        "vectors": put("embed", write_vectors),
        "morning": write_snapshot(lake, settings, households=60, n_items=300, part="morning"),
        "recipe": put("tune", write_recipe),
        "blend": put("blend", write_blend),
    }
    arms = {
        arm_input(arm, 0): put("finetune", finetune, inputs, arm=arm, seed="0")
        for arm in ("control", "challenger")
    }
    evaluation = put("evaluate", evaluate, inputs | arms)
    verdict = put("promote", promote, {"evaluation": evaluation, "recipe": inputs["recipe"]})
    return lake, evaluation, verdict


def test_without_samples_control_and_challenger_are_the_same_model(night):
    lake, _, verdict = night
    body = lake.read_json(verdict, "verdict.json")
    assert (body["decision"], body["live_line"]) == ("control", "real")
    assert "changed nothing" in body["reasons"][0]


def test_real_models_are_judged_in_every_slice_that_the_night_has(night):
    lake, evaluation, _ = night
    frame = lake.read(evaluation, "user_metrics.parquet")
    assert {"overall", "warm", "cold", "repeat", "new"} <= set(
        frame.filter(arm="control")["slice"].unique()
    )
    assert frame.schema == contracts_schema()
    assert 0 < frame.filter(arm="control", slice="overall", metric="ndcg@10")["value"].mean() < 1
    auc = frame.filter(arm="control", metric="auc_popularity_matched")
    assert auc.height > 10
    assert evaluation.stats["users"] >= 10


def contracts_schema():
    return pl.from_arrow(contracts.USER_METRICS.empty_table()).schema
