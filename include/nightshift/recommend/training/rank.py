"""One rank of a training run: what `torchrun` starts, N times, for `parallel`.

    torchrun … -m nightshift.recommend.training.rank FOLDER

Which rank it is stands in the environment, as torchrun's contract has it. Nothing heavy is
imported before the tether holds.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from nightshift import logs
from nightshift.compute import bind_torch, training_threads
from nightshift.recommend.training.tether import leave_with
from nightshift.settings import Settings

if TYPE_CHECKING:
    from nightshift.recommend.training.world import World

BACKENDS = {"cuda": "nccl", "cpu": "gloo"}
_STORE = "ranks"
"""The file where ranks find each other: a TCP store would listen on every network."""

log = logging.getLogger("nightshift.rank")


def main(folder: Path) -> None:
    """Train with the others; rank 0 writes the result."""
    leave_with(folder)
    logs.set_up(Settings.load().log)
    from nightshift.recommend.training.handover import write_error
    from nightshift.recommend.training.world import RankLost, World
    from nightshift.stages import as_ours

    world = World(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    try:
        _work(folder, world)
    except Exception as error:
        if not isinstance(error, RankLost):
            log.error("process %d of %d failed", world.rank, world.size, exc_info=error)
        write_error(folder, world.rank, as_ours(error))
        logging.shutdown()
        # Not by an exception: what is left of a broken process group may wait for ever.
        os._exit(1)


def _work(folder: Path, world: World) -> None:
    import torch
    from torch import distributed

    from nightshift.recommend.training.handover import read_task, write_result
    from nightshift.recommend.training.loop import train

    task = read_task(folder, gpu=int(os.environ["LOCAL_RANK"]))
    bind_torch(task.threads)
    device = torch.device(task.plan.device)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    distributed.init_process_group(
        BACKENDS[device.type],
        init_method=(folder / _STORE).as_uri(),
        rank=world.rank,
        world_size=world.size,
        device_id=device if device.type == "cuda" else None,
    )
    with training_threads(task.model.settings.dim, device):
        losses = train(
            task.model,
            task.deltas,
            task.features,
            task.data,
            task.plan,
            world,
            attributes=task.attributes,
        )
    if world.rank == 0:
        write_result(folder, task, losses)
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
