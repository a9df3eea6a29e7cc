"""Several processes for one model: the model of one process, its errors, and its end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from nights_by_hand import NIGHT, Shop, past_events, wandering
from small_models import fresh, training_set, walks, weights

from nightshift import metrics, stages
from nightshift.compute import processes
from nightshift.errors import SettingsError, StageFailed
from nightshift.recommend.model.id_deltas import IdDeltas
from nightshift.recommend.ranker import ModelRanker
from nightshift.recommend.training.parallel import train_model
from nightshift.recommend.training.steps import Plan
from nightshift.recommend.training.windows import SampleWindows, Windows
from nightshift.recommend.training.world import World
from nightshift.settings import Settings
from nightshift.snapshot import Snapshot, read_vectors
from shop_by_hand import TINY, histories

CONTROL = {"arm": "control", "seed": "0"}
TWO = {"compute": {"processes": 2}}
BATCH = 15
"""Odd: two ranks never have the same number of rows."""


@pytest.fixture
def shop(tmp_path):
    return Shop.at(tmp_path, finetune={"first_steps": 40, "batch": BATCH})


def finetune(shop, **changes):
    return stages.run("finetune", NIGHT, shop.settings.with_(changes), CONTROL)


# --- the same model -------------------------------------------------------------------------


def test_ranks_share_a_batch_out_without_a_gap():
    for rows in (0, 1, 2, 7, 128):
        parts = [World(rank, 3).part(rows) for rank in range(3)]
        assert [i for part in parts for i in range(rows)[part.rows]] == list(range(rows))
        assert {part.of for part in parts} == {rows}
    assert World().part(7) is None


def sequences(number):
    """Walks of other users, with weights; among few, a step has one: a rank without work."""
    walked, _ = walks(30, users=number, length=8, seed=1)
    weights = np.random.default_rng(1).uniform(0.1, 1.0, number).astype(np.float32)
    return SampleWindows(Windows.cover(walked, 8), weights)


@pytest.mark.parametrize("extra", [None, sequences(1), sequences(30)], ids=["none", "one", "many"])
def test_two_processes_learn_what_one_learns(tmp_path, extra):
    """With dropout, hard negatives, odd batches, and one of a single row: a rank without work."""
    walked, _ = walks(30, users=3 * BATCH + 1, length=8)
    hard = np.random.default_rng(0).integers(-1, 30, (len(walked), 5)).astype(np.int32)
    data = training_set(walked, hard=hard, extra=extra)
    learnt, losses = [], []
    for count in (1, 2):
        compute = {"device": "cpu", "threads": 1, "processes": count, "precision": "float32"}
        settings = Settings.load({"compute": compute})
        stored, vectors = fresh(30, dropout=0.2, id_dropout=0.3, layers=2)
        deltas = IdDeltas(stored.deltas)
        features = torch.from_numpy(stored.features(vectors))
        plan = Plan(20, 1e-2, BATCH, 24, seed=0)
        losses.append(train_model(settings, tmp_path, stored.model, deltas, features, data, plan))
        learnt.append({**weights(stored), "first": deltas.first, "second": deltas.second})
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    for name, one in learnt[0].items():
        two = learnt[1][name]
        if name.endswith("qkv.bias"):
            # The same for all keys, the key's bias falls out of the softmax: its gradient is
            # rounding, which Adam makes steps of.
            one, two = (torch.cat([bias[:16], bias[32:]]) for bias in (one, two))
        assert float((one - two).norm()) <= 1e-4 * float(one.norm()), name
    assert not list(tmp_path.iterdir())


def test_the_stage_ranks_alike_with_two_processes_and_has_a_key_of_its_own(shop, caplog, capfd):
    caplog.set_level("INFO")
    inputs = shop.before(past_events(wandering(40)))
    one, two = finetune(shop), finetune(shop, **TWO)
    assert two.worked
    assert one.manifest.key != two.manifest.key
    assert "finetune control: 2 processes on cpu (gloo)" in caplog.text
    assert capfd.readouterr().err.count("finetune control: 40/40 steps") == 1  # of rank 0 alone
    assert not finetune(shop, **TWO).worked

    assert two.manifest.stats == {
        **one.manifest.stats,
        "loss": pytest.approx(one.manifest.stats["loss"], rel=1e-4),
    }
    vectors = read_vectors(shop.lake, inputs["vectors"])
    had = Snapshot(shop.lake, inputs["snapshot"]).histories
    found = []
    for manifest in (one.manifest, two.manifest):
        ranker = ModelRanker(shop.model(manifest), vectors, beta=0.0)
        asked = histories([had.of(user)[:-1].tolist() for user in range(len(had))])
        ranked, _ = ranker.top_k(asked, 10, candidates=None, exclude_seen=False)
        last = had.last(1)[:, 0]
        hit = metrics.hits(ranked, np.arange(len(had) + 1), last)
        found.append(metrics.ndcg(hit, np.ones(len(had), dtype=np.int64)))
    assert found[0].mean() > 0.2
    assert found[1] == pytest.approx(found[0], abs=1e-3)


# --- what can go wrong ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("breaks", "message", "hint"),
    [
        (
            "raise torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 2 GiB.')",
            "The GPU is out of memory: CUDA out of memory.",
            "lower finetune.batch",
        ),
        ("raise ValueError('odd\\nrow')", "ValueError: odd row", "the log above"),
        ("os.kill(os.getpid(), 9)", "ended without a word", "lower finetune.batch"),
    ],
)
def test_what_breaks_one_rank_reaches_the_stage(shop, tmp_path, monkeypatch, breaks, message, hint):
    """The other rank fails as well, of being left alone: that is not the cause."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os\n"
        "if os.environ.get('RANK') == '1':\n"
        "    import torch\n"
        "    from nightshift.recommend.model.network import Recommender\n"
        "    def users(*_):\n"
        f"        {breaks}\n"
        "    Recommender.users = users\n"
    )
    path = [str(tmp_path), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, path)))
    shop.before(past_events(wandering(40)))

    with pytest.raises(StageFailed) as failed:
        finetune(shop, **TWO)

    assert message in failed.value.message
    assert hint in failed.value.hint
    assert failed.value.context == {"stage": "finetune", "night": NIGHT.key, **CONTROL}
    assert "\n" not in str(failed.value)
    assert shop.lake.find("arm", stages.STAGES["finetune"].partition(NIGHT, CONTROL)) is None


@pytest.mark.parametrize(
    ("device", "wanted", "gpus", "expected"),
    [
        ("auto", 1, 0, 1),
        ("auto", "auto", 0, 1),
        ("cpu", "auto", 4, 1),
        ("cpu", 3, 0, 3),
        ("auto", "auto", 4, 4),
        ("cuda", 2, 4, 2),
        ("cuda:1", "auto", 4, 1),
        ("auto", 3, 2, "compute.processes is 3, and compute.device auto has 2 GPUs here"),
        ("cuda:1", 2, 4, "has 1 GPU here"),
        ("meta", 2, 0, "processes do not share meta"),
    ],
)
def test_no_more_processes_than_gpus(monkeypatch, device, wanted, gpus, expected):
    cuda = SimpleNamespace(is_available=lambda: gpus > 0, device_count=lambda: gpus)
    monkeypatch.setattr(torch, "cuda", cuda)
    settings = Settings.load({"compute": {"device": device, "processes": wanted}})
    if isinstance(expected, int):
        assert processes(settings) == expected
        return
    with pytest.raises(SettingsError) as refused:
        processes(settings)
    assert expected in refused.value.message
    assert "compute.processes" in str(refused.value)


# --- the end --------------------------------------------------------------------------------


@pytest.fixture
def endless(shop, tmp_path) -> Iterator[subprocess.Popen]:
    """A stage in a process group of its own whose two ranks are training."""
    shop.before(past_events(wandering(40)))
    tree = {
        "finetune": TINY | {"first_steps": 10_000_000},
        "compute": {"threads": 4, "device": "cpu", "processes": 2},
    }
    command = [sys.executable, "-m", "nightshift.cli", "finetune", "--first"]
    command += ["--night", NIGHT.key, "--arm", "control", "--seed", "0"]
    for section, values in tree.items():
        command += [f"--set={section}.{name}={json.dumps(v)}" for name, v in values.items()]
    stage = subprocess.Popen(
        command,
        env=os.environ | {"NIGHTSHIFT_HOME": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    try:
        for line in stage.stderr:  # the first line of progress
            if "steps, " in line:
                break
        yield stage
    finally:
        stage.kill()
        stage.wait()
        stage.stderr.close()
        for pid in children(tmp_path):
            os.kill(pid, signal.SIGKILL)


def children(folder: Path) -> dict[int, str]:
    """The launcher and its ranks, by what stands in their command lines."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if str(folder) in words and "nightshift.recommend.training.rank" in words:
            found[int(path.parent.name)] = words
    return found


def listening(pid: int) -> list[str]:
    """Addresses that a process listens on, as the kernel writes them."""
    sockets = set()
    for end in Path(f"/proc/{pid}/fd").iterdir():
        try:
            sockets.add(str(end.readlink()))
        except FileNotFoundError:
            continue
    rows = [
        line.split()
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
    ]
    return [
        row[1].partition(":")[0]
        for row in rows
        if row[3] == "0A" and f"socket:[{row[9]}]" in sockets
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("how", ["SIGTERM to the group", "SIGKILL to the stage alone"])
def test_no_rank_outlives_its_stage(endless, tmp_path, how):
    running = children(tmp_path)
    ranks = [pid for pid, words in running.items() if "torch.distributed.run" not in words]
    assert (len(running), len(ranks)) == (3, 2)
    for pid in running:
        environment = Path(f"/proc/{pid}/environ").read_text().split("\0")
        assert "OMP_NUM_THREADS=2" in environment  # of four, for two
    ends = [address for pid in running for address in listening(pid)]
    assert ends  # ranks talk to each other,
    assert set(ends) == {"0100007F"}  # on 127.0.0.1

    if how.startswith("SIGTERM"):
        os.killpg(endless.pid, signal.SIGTERM)
    else:
        os.kill(endless.pid, signal.SIGKILL)
    endless.wait(timeout=10)

    deadline = time.monotonic() + 10
    while children(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not children(tmp_path)
