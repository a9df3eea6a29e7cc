"""How far two models of one night are apart: in what they are worth, and in what they say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from nightshift.evaluate.window import Window
from nightshift.intervals import paired_bootstrap
from nightshift.lake import Lake
from nightshift.manifest import Manifest
from nightshift.recommend.ranker import ModelRanker
from nightshift.stages import REAL

Floats = npt.NDArray[np.floating[Any]]
RESAMPLES, SEED = 10_000, 12345
WARM, SCRATCH, AGAIN, LONG = "warm", "scratch", "scratch, another seed", "scratch, three times"
SERVED, NETWORK = "served", "network"
METRIC = "ndcg@10"
SLICES = ("overall", "warm", "tail", "cold", "new")
BLOCK = 64  # customers whose scores over the whole catalogue are held at once
COSTS = ("steps", "train_seconds", "stage_seconds")


def overlap(lists: npt.NDArray[np.int32], others: npt.NDArray[np.int32]) -> float:
    """Mean share of a customer's list that is in the other one: [customers, k] item codes each.

    -1 behind the last item of a list counts as no item.
    """
    same = (lists[:, :, None] == others[:, None, :]) & (lists >= 0)[:, :, None]
    return float(same.any(axis=2).mean())


def agreement(scores: Floats, others: Floats) -> float:
    """Mean cosine of the customers' scores [customers, items], each less its mean over the items.

    Vectors of two trainings cannot be compared, they may be turned against each other; scores can,
    but for a constant of each customer, which a softmax does not know.
    """
    one, other = (part - part.mean(axis=1, keepdims=True) for part in (scores, others))
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return float(((one * other).sum(axis=1) / np.maximum(lengths, 1e-12)).mean())


def mean_agreement(ranker: ModelRanker, other: ModelRanker, window: Window) -> float:
    """`agreement` of all customers of a window."""
    rows = np.arange(len(window))
    blocks = [rows[i : i + BLOCK] for i in range(0, len(rows), BLOCK)]
    found = [
        agreement(*(one.scores(window.histories.take(block)) for one in (ranker, other)))
        for block in blocks
    ]
    return float(np.average(found, weights=[len(block) for block in blocks]))


def compared(frame: pl.DataFrame, arm: str, against: str) -> dict[str, Any]:
    """Paired difference of two arms over nights, as a row of results.

    Args:
        frame: `night`, `arm`, `user_key`, `value`; nights that lack one of the arms do not count.
            A customer is resampled with all nights.
    """
    wide = (
        frame.filter(pl.col("arm").is_in([arm, against]))
        .pivot(on="arm", index=["night", "user_key"], values="value")
        .drop_nulls()
        .sort("night", "user_key")
    )
    ours, theirs = wide[arm].to_numpy(), wide[against].to_numpy()
    found = paired_bootstrap(
        ours - theirs,
        theirs,
        resamples=RESAMPLES,
        seed=SEED,
        clusters=wide["user_key"].to_numpy(),
    )
    known = found.relative is not None and found.low is not None and found.high is not None
    return {
        "arm": arm,
        "against": against,
        "value": found.value,
        "value_ci95": [found.value_low, found.value_high],
        "relative": found.relative,
        "ci95": [found.low, found.high] if known else None,
        "levels": [float(ours.mean()), float(theirs.mean())],
        "nights": wide["night"].n_unique(),
        "n": found.n,
    }


def cost(lake: Lake, models: dict[str, Manifest], state: Manifest) -> dict[str, Any]:
    """Steps and seconds of the night: of the training loops alone, and of whole stages.

    The stage `refresh` works on two lines: half of its seconds are one line's.
    """
    warm, scratch = models[WARM], models[SCRATCH]
    after = lake.read_json(state, f"{REAL}/config.json")["steps"]
    return {
        "steps": {
            "finetune": warm.stats["steps"],
            "refresh": after - warm.stats["steps_behind"],
            "scratch": scratch.stats["steps"],
        },
        "train_seconds": {
            "finetune": warm.run["train_seconds"]["train"],
            "refresh": state.run["train_seconds"][REAL],
            "scratch": scratch.run["train_seconds"]["train"],
        },
        "stage_seconds": {
            "finetune": warm.run["seconds"],
            "refresh": state.run["seconds"] / 2,
            "scratch": scratch.run["seconds"],
        },
    }


def costs(nights: Sequence[Mapping[str, Any]], what: str) -> dict[str, float]:
    """What all nights cost together, by part, and the share of it that the warm line took.

    Args:
        nights: each with `what` (`steps`, `train_seconds`, `stage_seconds`), and in it `finetune`
            and `refresh` of the warm line and `scratch`.
    """
    total = {
        part: float(sum(night[what][part] for night in nights))
        for part in ("finetune", "refresh", "scratch")
    }
    return total | {"share": (total["finetune"] + total["refresh"]) / total["scratch"]}


def frame_of(nights: Sequence[dict[str, Any]]) -> pl.DataFrame:
    """The figures of all nights: night, number, ranking, arm, slice, user_key, value."""
    return pl.concat(
        pl.DataFrame(one["figures"]).with_columns(
            night=pl.lit(one["night"]), number=pl.lit(one["number"])
        )
        for one in nights
    )


def results(nights: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Rows of the result file: costs, figures pooled and by night, likeness."""
    for what in COSTS:
        total = costs(nights, what)
        yield {"arm": WARM, "against": SCRATCH, "slice": "all nights", "metric": what} | {
            name: round(value, 4) for name, value in total.items()
        }
    frame = frame_of(nights)
    half = len(nights) // 2
    for ranking in (SERVED, NETWORK):
        part = frame.filter(pl.col("ranking") == ranking)
        for name in SLICES:
            mine = part.filter(pl.col("slice") == name)
            if mine.height:
                yield row(mine, WARM, SCRATCH, ranking, name, "all nights")
        mine = part.filter(pl.col("slice") == "overall")
        yield row(mine, AGAIN, SCRATCH, ranking, "overall", "milestones")
        if LONG in mine["arm"]:
            yield row(mine, LONG, SCRATCH, ranking, "overall", "last night")
            yield row(mine, WARM, LONG, ranking, "overall", "last night")
        if half:
            early, late = pl.col("number") <= half, pl.col("number") > half
            yield row(mine.filter(early), WARM, SCRATCH, ranking, "overall", "first half")
            yield row(mine.filter(late), WARM, SCRATCH, ranking, "overall", "second half")
        for one in nights:
            tonight = mine.filter(pl.col("night") == one["night"])
            yield row(tonight, WARM, SCRATCH, ranking, "overall", one["night"])
    for one in nights:
        for found in one["alike"]:
            yield found | {"when": one["night"], "value": round(found["value"], 4)}
        yield {"arm": WARM, "when": one["night"], "metric": "cost"} | {k: one[k] for k in COSTS}


def row(
    frame: pl.DataFrame, arm: str, against: str, ranking: str, slice_: str, when: str
) -> dict[str, Any]:
    found = compared(frame, arm, against)
    return {"ranking": ranking, "slice": slice_, "metric": METRIC, "when": when} | {
        name: np.round(value, 5).tolist() if isinstance(value, (float, list)) else value
        for name, value in found.items()
    }


def page(rows: Sequence[dict[str, Any]]) -> str:
    """The results as docs/recommender.md shows them."""
    lines = [
        "| | optimizer steps | seconds of training | seconds of whole stages |",
        "|---|---:|---:|---:|",
    ]
    spent = {one["metric"]: one for one in rows if one.get("slice") == "all nights"}
    for part in ("finetune", "refresh", "scratch"):
        cells = [f"{spent[what][part]:,.0f}" for what in COSTS]
        lines.append(f"| {part} | {' | '.join(cells)} |")
    shares = [f"**{spent[what]['share']:.1%}**" for what in COSTS]
    lines += [f"| finetune and refresh of it | {' | '.join(shares)} |", ""]
    lines += [
        "| arm | against | when | customers | served | of it | difference [95 %] "
        "| network alone | of it | difference [95 %] |",
        "|---|---|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    figures = [one for one in rows if one["metric"] == METRIC and one["slice"] == "overall"]
    served, network = (
        [one for one in figures if one["ranking"] == ranking] for ranking in (SERVED, NETWORK)
    )
    for one, alone in zip(served, network, strict=True):
        lines.append(
            f"| {one['arm']} | {one['against']} | {one['when']} | {one['n']:,} "
            f"| {_shown(one)} | {_shown(alone)} |"
        )
    lines += ["", "| night | | overlap@10 as served | of the network alone | cosine of scores |"]
    lines.append("|---|---|---:|---:|---:|")
    alike: dict[tuple[str, str], list[str]] = {}
    for one in rows:
        if one["metric"] in ("overlap@10", "score_cosine"):
            alike.setdefault((one["when"], one["arm"]), []).append(f"{one['value']:.3f}")
    lines += [f"| {when} | {arm} | {' | '.join(found)} |" for (when, arm), found in alike.items()]
    return "\n".join(lines) + "\n"


def _shown(one: dict[str, Any]) -> str:
    ours, theirs = one["levels"]
    low, high = one["ci95"] or (float("nan"), float("nan"))
    return f"{ours:.4f} | {theirs:.4f} | {one['relative']:+.1%} [{low:+.1%}, {high:+.1%}]"
