"""Peers that learn from item ids: RecTools' SASRec and eSASRec, implicit's ALS.

    PYTHON benchmarks/peers/sequences.py FOLDER

Run with an interpreter that has `rectools[torch]` and `implicit` (their pins clash with ours), on a
folder that a benchmark wrote: `task.json` {"peer", "options", "seed", "threads", "k", "seen",
"epochs", "batches"} and `train.csv` (user, item, position), `users.csv` (user), `items.csv` (item:
what may be recommended). Writes `lists-E.csv` (user, rank, item) for each E of `epochs`, which is
after so many epochs of one fit (ALS, which counts none, has [0]), and `done.json` with seconds and
the peak of its memory. With `batches` it trains on so many and ranks nobody.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd


def main(folder: Path) -> None:
    task = json.loads((folder / "task.json").read_text())
    os.environ["OMP_NUM_THREADS"] = str(task["threads"])
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    from rectools.dataset import Dataset

    train = pd.read_csv(folder / "train.csv")
    users = pd.read_csv(folder / "users.csv")["user"].to_numpy()
    frame = pd.DataFrame(
        {
            "user_id": train["user"],
            "item_id": train["item"],
            "weight": 1.0,
            # Order is all that these models read of time.
            "datetime": pd.Timestamp("2000-01-01") + pd.to_timedelta(train["position"], unit="s"),
        }
    )
    model, before = _model(task), _peak()
    dataset = Dataset.construct(frame)
    done: dict[str, Any] = {"seconds": 0.0, "ranking_seconds": 0.0, "peak_bytes_before": before}
    learnt = 0
    for epochs in task.get("epochs", [0]):
        started = time.perf_counter()
        if epochs:
            more = epochs - learnt
            model.fit_partial(dataset, min_epochs=more, max_epochs=more)
            learnt = epochs
        else:
            model.fit(dataset)
        done["seconds"] += time.perf_counter() - started
        if task.get("batches"):
            done["examples"], done["loop_seconds"] = _counted(model)
            continue
        started = time.perf_counter()
        lists = model.recommend(
            users=users,
            dataset=dataset,
            k=task["k"],
            filter_viewed=task["seen"],
            items_to_recommend=pd.read_csv(folder / "items.csv")["item"].to_numpy(),
            on_unsupported_targets="ignore",
        )
        done["ranking_seconds"] += time.perf_counter() - started
        columns = {"user_id": "user", "item_id": "item", "rank": "rank"}
        lists.rename(columns=columns)[["user", "rank", "item"]].to_csv(
            folder / f"lists-{epochs}.csv", index=False
        )
    done["peak_bytes"] = _peak()
    (folder / "done.json").write_text(json.dumps(done))


def _model(task: dict[str, Any]) -> Any:
    options, threads = dict(task["options"]), task["threads"]
    if task["peer"] == "als":
        from implicit.als import AlternatingLeastSquares
        from rectools.models import ImplicitALSWrapperModel

        return ImplicitALSWrapperModel(
            AlternatingLeastSquares(random_state=task["seed"], num_threads=threads, **options)
        )
    import torch
    from pytorch_lightning import seed_everything
    from rectools.models import SASRecModel
    from rectools.models.nn.item_net import IdEmbeddingsItemNet
    from rectools.models.nn.transformers.ligr import LiGRLayers

    torch.set_num_threads(threads)
    seed_everything(task["seed"], workers=True, verbose=False)
    if task["peer"] == "esasrec":
        options |= {"transformer_layers_type": LiGRLayers, "use_key_padding_mask": True}
    if task.get("batches"):
        options |= {
            "get_trainer_func": _trainer,
            "get_trainer_func_kwargs": {"batches": task["batches"]},
        }
    return SASRecModel(
        item_net_block_types=(IdEmbeddingsItemNet,), recommend_torch_device="cpu", **options
    )


def _trainer(batches: int) -> Any:
    """One that stops after so many batches, and counts what it learnt from."""
    from pytorch_lightning import Callback, Trainer

    class Counter(Callback):  # type: ignore[misc]
        examples, started, seconds = 0, 0.0, 0.0

        def on_train_batch_start(self, *_: Any) -> None:
            self.started = self.started or time.perf_counter()

        def on_train_batch_end(self, *seen: Any) -> None:
            batch = seen[3]  # behind the trainer, the module and the outputs
            self.examples += int((batch["y"] != 0).sum())
            self.seconds = time.perf_counter() - self.started

    return Trainer(
        max_epochs=1,
        limit_train_batches=batches,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
        callbacks=[Counter()],
    )


def _counted(model: Any) -> tuple[int, float]:
    counter = next(c for c in model.fit_trainer.callbacks if hasattr(c, "examples"))
    return counter.examples, counter.seconds


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main(Path(sys.argv[1]))
