"""Training with more than one process: `torchrun` inside one stage, on one machine.

The stage stays what it was, one command with one lease and one manifest. For the training loop
alone it starts the ranks (`rank`), waits, and goes on with what they learnt as if it had trained
itself. N processes give the model of one but for the rounding of sums.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from nightshift.compute import device, precision, processes, training_threads
from nightshift.errors import StageFailed
from nightshift.recommend.model.id_deltas import IdDeltas
from nightshift.recommend.model.network import Recommender
from nightshift.recommend.training.handover import Task, read_error, read_result, write_task
from nightshift.recommend.training.loop import train
from nightshift.recommend.training.rank import BACKENDS
from nightshift.recommend.training.steps import Plan, TrainingSet
from nightshift.recommend.training.tether import tether
from nightshift.settings import Settings

log = logging.getLogger("nightshift.parallel")

_LOOPBACK = "lo0" if sys.platform == "darwin" else "lo"
_GRACE_SECONDS = 10.0
"""What the launcher gets to end its ranks before it is killed; they end with the stage anyhow."""


def train_model(
    settings: Settings,
    scratch: Path,
    model: Recommender,
    deltas: IdDeltas,
    features: Tensor,
    data: TrainingSet,
    plan: Plan,
    *,
    attributes: Tensor | None = None,
) -> list[float]:
    """`train` on the device and with the processes of the settings.

    Args:
        scratch: a folder for what crosses between the processes.

    Raises:
        SettingsError: more processes than GPUs.
        StageFailed: a process failed, with its cause.
    """
    on, count = device(settings), processes(settings)
    products = precision(settings.compute.precision, on, model.settings.dim)
    plan = replace(plan, device=str(on), precision=products)
    if count == 1 or not plan.works_on(data):
        with training_threads(model.settings.dim, on):
            return train(model, deltas, features, data, plan, attributes=attributes)
    backend = BACKENDS[on.type]
    log.info("%s: %d processes on %s (%s)", plan.label, count, on.type, backend)
    threads = max(1, settings.compute.threads // count)
    with tempfile.TemporaryDirectory(dir=scratch) as made:
        folder = Path(made)
        write_task(folder, Task(model, deltas, features, data, plan, threads, attributes))
        status = _launch(folder, count, threads)
        if status != 0:
            raise read_error(folder) or StageFailed(
                f"A training process ended without a word (status of the launcher: {status}).",
                hint="the system kills what takes too much memory: lower finetune.batch or "
                "compute.processes, or give the stage more memory",
            )
        return read_result(folder, model, deltas)


def _launch(folder: Path, count: int, threads: int) -> int:
    """Run the ranks to their end; returns the launcher's exit status."""
    with tether(folder):
        # Their results are files; what they print belongs to the log.
        launcher = subprocess.Popen(
            _command(folder, count), env=_environment(threads), stdin=subprocess.DEVNULL, stdout=2
        )
        try:
            return launcher.wait()
        finally:
            if launcher.poll() is None:
                launcher.terminate()
                try:
                    launcher.wait(_GRACE_SECONDS)
                except subprocess.TimeoutExpired:
                    launcher.kill()
                    launcher.wait()


def _command(folder: Path, count: int) -> list[str]:
    # `--standalone` would do, but its store listens on every network: this one is a file.
    return [
        *(sys.executable, "-m", "torch.distributed.run"),
        *("--nnodes", "1", "--nproc-per-node", str(count), "--max-restarts", "0"),
        *("--rdzv-backend", "c10d", "--rdzv-conf", "store_type=file"),
        *("--rdzv-endpoint", str(folder / "launcher"), "--rdzv-id", folder.name),
        *("--local-addr", "127.0.0.1", "--monitor-interval", "0.1"),
        *("-m", "nightshift.recommend.training.rank", str(folder)),
    ]


def _environment(threads: int) -> dict[str, str]:
    pools = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS")
    return {
        **os.environ,
        **dict.fromkeys(pools, str(threads)),
        "OMP_WAIT_POLICY": "PASSIVE",
        "GLOO_SOCKET_IFNAME": _LOOPBACK,
        "NCCL_SOCKET_IFNAME": _LOOPBACK,
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
    }
