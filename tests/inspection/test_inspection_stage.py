"""The stage: batches that stop, broken shards, nothing to inspect, equal digests."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
from sample_factory import Shop, all_kinds, changed, good_samples, run_inspect, write_samples

from factories import NIGHT, commit
from nightshift import contracts
from nightshift.errors import BatchStopped
from nightshift.stages import STAGES, StageContext


def broken_queries(shop: Shop, bad: int, count: int = 60) -> pl.DataFrame:
    samples = good_samples(shop, "query", count)
    for row in range(bad):
        samples = changed(samples, row, text="Query: milk")
    return samples


def test_a_stopped_batch_is_quarantined_whole_and_the_others_go_on(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    samples = pl.concat([good_samples(shop, "interaction"), broken_queries(shop, bad=40)])
    with caplog.at_level(logging.INFO, logger="nightshift.inspection"):
        manifest, lake = shop.inspect(samples)
    assert manifest.stats["accepted"] == {"llm_queries": 0, "text_neighbours": 60}
    assert manifest.stats["quarantined"] == {"llm_queries": 60, "text_neighbours": 0}
    assert manifest.stats["stopped"] == [
        {
            "strategy": "llm_queries",
            "kind": "query",
            "gate": "rejected_share",
            "value": 0.6667,
            "limit": 0.6,
        }
    ]
    assert manifest.stats["reasons"]["batch_stopped:rejected_share"] == 60
    quarantined = lake.read(manifest, "quarantined.parquet")
    good_rows = quarantined.filter(~pl.col("sample_id").str.starts_with("bad"))
    assert good_rows["reasons"].to_list() == [["batch_stopped:rejected_share"]] * 20
    lines = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert len(lines) == 1
    stopped = "llm_queries/query: 60 made, 0 accepted, batch stopped by rejected_share 0.67"
    assert lines[0].startswith(f"{stopped} (limit 0.60); failed: ")
    assert "text_prompt_leak 40" in lines[0]


def test_a_stopped_batch_ends_the_stage_where_a_setting_asks_for_it(shop: Shop) -> None:
    with pytest.raises(BatchStopped, match=r"text_prompt_leak 40"):
        shop.inspect(broken_queries(shop, bad=40), {"on_stop": "fail"})
    shop.inspect(broken_queries(shop, bad=2), {"on_stop": "fail"})


def test_one_item_must_not_fill_a_batch(shop: Shop) -> None:
    rows = good_samples(shop, "query", 200).to_dicts()
    for number, row in enumerate(rows):
        row |= {"item_id": rows[0]["item_id"], "text": f"{rows[0]['text']} {number}"}
    manifest, _ = shop.inspect(pl.DataFrame(rows, schema=good_samples(shop, "query", 1).schema))
    assert [stop["gate"] for stop in manifest.stats["stopped"]] == ["item_share"]


def test_a_shard_that_breaks_the_contract_is_quarantined_and_the_others_go_on(shop: Shop) -> None:
    good = good_samples(shop, "interaction")
    bad = good_samples(shop, "query").drop("lineage").with_columns(pl.col("label").cast(pl.String))

    def run(ctx: StageContext) -> dict[str, object]:
        table = good.to_arrow(compat_level=None).cast(contracts.SAMPLES)
        ctx.writer.write_parquet("shards/text_neighbours-000.parquet", table)
        ctx.writer.write_parquet("shards/llm_queries-000.parquet", bad)
        return {"made": {"text_neighbours": good.height, "llm_queries": bad.height}}

    gathered = commit(shop.lake, shop.settings, NIGHT, STAGES["gather"], run)
    manifest = run_inspect(shop, shop.settings, gathered)
    assert manifest.stats["accepted"] == {"llm_queries": 0, "text_neighbours": good.height}
    assert manifest.stats["reasons"]["schema"] == bad.height
    for name, schema in (
        ("accepted.parquet", contracts.SAMPLES),
        ("quarantined.parquet", contracts.QUARANTINE),
    ):
        assert manifest.file(name).schema == schema.to_string()


def test_samples_of_a_strategy_that_did_not_run_or_of_another_shard_are_quarantined(
    shop: Shop,
) -> None:
    good = good_samples(shop, "interaction")
    moved = changed(changed(good, 3, shard="elsewhere-000"), 4, strategy="stranger")

    def run(ctx: StageContext) -> dict[str, object]:
        table = moved.to_arrow(compat_level=None).cast(contracts.SAMPLES)
        ctx.writer.write_parquet("shards/text_neighbours-000.parquet", table)
        return {"made": {"text_neighbours": moved.height}}

    gathered = commit(shop.lake, shop.settings, NIGHT, STAGES["gather"], run)
    found = shop.lake.read(run_inspect(shop, shop.settings, gathered), "quarantined.parquet")
    assert dict(found.select("sample_id", "reasons").iter_rows()) == {
        "bad-3": ["shard_wrong"],
        "bad-4": ["strategy_unknown", "batch_stopped:rejected_share"],
    }


_NOTHING = """
import sys
from pathlib import Path
from factories import NIGHT, commit, make_settings
from nightshift import contracts
from nightshift.inspection.stage import run
from nightshift.lake import Lake
from nightshift.stages import STAGES

settings = make_settings(Path(sys.argv[1]))
lake = Lake.of(settings)

def gather(ctx):
    if sys.argv[2] == "empty shard":
        ctx.writer.write_parquet("shards/none.parquet", contracts.SAMPLES.empty_table())
    return {"made": {}, "failed": [], "skipped": "generation failed as a whole"}

gathered = commit(lake, settings, NIGHT, STAGES["gather"], gather)
done = commit(lake, settings, NIGHT, STAGES["inspect"], run, {"samples": gathered})
assert done.stats == {"accepted": {}, "quarantined": {}, "reasons": {}, "stopped": []}
assert lake.read(done, "accepted.parquet").is_empty()
assert lake.read(done, "quarantined.parquet").columns == contracts.QUARANTINE.names
assert lake.read_json(done, "summary.json")["batches"] == []
assert "No samples were made" in lake.local_path(done.file("docs/index.html")).read_text()
assert "great_expectations" not in sys.modules
assert "torch" not in sys.modules
"""


@pytest.mark.parametrize("case", ["empty shard", "no shard"])
def test_without_samples_nothing_heavy_is_imported(tmp_path: Path, case: str) -> None:
    run_python(_NOTHING, str(tmp_path), case)


def run_python(code: str, *arguments: str, hash_seed: str = "0") -> str:
    here = Path(__file__).parent
    paths = [str(here), str(here.parent), *(p for p in sys.path if p)]
    environment = dict(os.environ) | {
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONHASHSEED": hash_seed,
    }
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


_SECOND_LAKE = """
import sys
from pathlib import Path
from sample_factory import open_shop
import polars as pl

manifest, _ = open_shop(Path(sys.argv[1])).inspect(pl.read_parquet(sys.argv[2]))
print(manifest.digest)
"""


def test_the_same_samples_give_the_same_digest_in_another_lake(shop: Shop, tmp_path: Path) -> None:
    # Another process, another lake, another hash seed, another second: everything that could leak.
    # (The texts' vectors are copied with the lake: that they are equal is the encoder's promise.)
    samples = changed(all_kinds(shop), 125, text="mail ada@example.org", label=0.0)
    samples = changed(samples, 126, text="Query: <b>milk</b>")
    samples.write_parquet(tmp_path / "samples.parquet")
    manifest, _ = shop.inspect(samples)
    shutil.copytree(
        shop.settings.home_path / "lake",
        tmp_path / "home" / "lake",
        ignore=shutil.ignore_patterns("inspection", "samples", "_scratch"),
    )
    printed = run_python(
        _SECOND_LAKE, str(tmp_path / "home"), str(tmp_path / "samples.parquet"), hash_seed="42"
    )
    assert printed.split()[-1] == manifest.digest


def test_the_summary_says_what_was_made_and_why_not_accepted(shop: Shop) -> None:
    samples = changed(good_samples(shop, "query"), 0, text="mail ada@example.org now")
    samples = changed(samples, 1, text="Query: milk")
    manifest, lake = shop.inspect(samples)
    found = lake.read_json(manifest, "summary.json")
    (batch,) = found["batches"]
    assert (found["made"], found["accepted"], found["quarantined"]) == (60, 58, 2)
    assert (batch["strategy"], batch["kind"]) == ("llm_queries", "query")
    assert (batch["made"], batch["accepted"], batch["quarantined"]) == (60, 58, 2)
    assert batch["reasons"]["personal_data"] == 1
    assert [gate["name"] for gate in batch["gates"]] == [
        "rejected_share",
        "item_share",
        "distinct_texts",
    ]
    assert batch["gates"][0] == {
        "name": "rejected_share",
        "value": 0.0333,
        "limit": 0.6,
        "passed": True,
    }
    assert len(batch["examples"]["accepted"]) == 5
    shown = {row["sample_id"]: row["text"] for row in batch["examples"]["quarantined"]}
    assert shown == {"bad-0": "mail █ now", "bad-1": "Query: milk"}
    assert manifest.file(batch["docs"])
    assert "example.org" not in json.dumps(found)


def test_forty_thousand_samples_are_inspected_in_seconds(shop: Shop) -> None:
    # Relevance would load the encoder and measure that; distinct rows of interactions do not.
    one = good_samples(shop, "interaction", 2000)
    many = pl.concat(
        [
            one.with_columns(
                sample_id=pl.col("sample_id") + f"-{n}",
                context_items=pl.col("context_items").list.tail(1 + n % 5),
            )
            for n in range(20)
        ]
    )
    gathered = write_samples(shop.lake, shop.settings, many)
    started = time.process_time()
    manifest = run_inspect(shop, shop.settings, gathered)
    seconds = time.process_time() - started
    assert (
        sum(manifest.stats["accepted"].values()) + sum(manifest.stats["quarantined"].values())
        == many.height
        == 40_000
    )
    assert seconds < 20
