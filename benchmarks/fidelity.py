"""How like real customers the made-up ones are.

    make bench NAME=fidelity ARGS='--shop complete-journey'
    make bench NAME=fidelity ARGS='--shop online-retail FILE'

A fifth of the customers is taken out of the store before anything learns. Each strategy that
makes customers up is fitted on the rest, and its sequences are measured against stretches of the
histories of those who were taken out (see `fidelity_measures`). Beside them: `independent` (items
drawn one by one from how often they occur, real lengths: the baseline) and `real` (stretches of
the customers that were learnt from: as good as it gets).

`--latest` measures against the latest items of each customer, once: what `copula` and `bayes_net`
draw is customers, each as likely as the other, and not stretches, of which a busy one has more.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.common import finish, say
from benchmarks.fidelity_measures import Catalogue, Ints, Sequences, independent, measure
from nightshift import stages
from nightshift.commands.benchmark import long_night
from nightshift.generate.hashing import stable_hash
from nightshift.generate.sources import Sources
from nightshift.generate.strategies import create_strategy
from nightshift.lake import Lake
from nightshift.night import Night
from nightshift.settings import Settings
from nightshift.snapshot import Snapshot, read_vectors

STRATEGIES = ("behaviour_gan", "behaviour_vae", "seq_generator", "copula", "bayes_net")
LENGTH = 10
"""Items of a sequence at most: what the strategies make by default."""
STRETCHES = 4
"""Of each customer, at random places."""
BASELINES = ("real", "independent")
JUDGED = {  # measure -> is more better
    "figures_ks": False,
    "correlation": False,
    "category_pairs": False,
    "transitions_js": False,
    "pairs_known": True,
    "auc": False,
}
"""What `independent` can be beaten in: it has the marginals of items by construction."""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--shop", choices=("complete-journey", "online-retail"), required=True)
    parser.add_argument("path", nargs="?", type=Path, help="the file of online-retail")
    parser.add_argument("--strategies", default=",".join(STRATEGIES))
    parser.add_argument("--sequences", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--latest", action="store_true", help="each customer once, latest items")
    parser.add_argument("--home", type=Path, help="folder to use and keep (default: temporary)")
    parser.add_argument("--name", default="fidelity", help="of the result file")
    arguments = parser.parse_args()
    with scratch(arguments) as settings:
        rows = list(compare(arguments, settings))
    finish(arguments.name, arguments.shop, rows)
    return 0


@contextmanager
def scratch(arguments: argparse.Namespace) -> Iterator[Settings]:
    """A store with the shop in it, and a lake, of the benchmark's own."""
    from nightshift.store import embedded, loaders

    home = arguments.home or Path(tempfile.mkdtemp(prefix="ns-bench-", dir="/tmp"))
    settings = Settings.shipped(
        {
            "home": str(home),
            "store": {"url": None, "pseudonym_key": "benchmark fidelity"},
            "lake": {"root": None},
        }
    )
    try:
        embedded.ensure_running(settings)
        options = {"path": arguments.path} if arguments.shop == "online-retail" else {}
        loaders.load(arguments.shop, settings, **options)  # again: brings back who was held out
        yield settings
    finally:
        embedded.stop(settings)
        if arguments.home is None:
            shutil.rmtree(home, ignore_errors=True)


def compare(arguments: argparse.Namespace, settings: Settings) -> Iterator[dict[str, Any]]:
    night = long_night(settings, 0.9)
    full = settings.with_({"lake": {"root": (settings.home_path / "lake-full").as_uri()}})
    everyone = Snapshot(Lake.of(full), stages.run("collect", night, full).manifest)
    hold_out(settings)
    sources = learnt_from(night, settings)
    fitted, fit_items = sources.snapshot, sources.snapshot.items
    out = everyone.users.join(
        fitted.users.filter(pl.col("events") > 0), on="user_key", how="anti", maintain_order="left"
    )
    rng = np.random.default_rng(arguments.seed)
    cut = latest if arguments.latest else partial(stretches, rng=rng)
    real = cut(everyone, out["user_key"], fit_items)
    learnt = cut(fitted, fitted.users["user_key"], fit_items)
    vectors = read_vectors(sources.lake, sources.lake.get("vectors", f"night={night.key}"))
    catalogue = Catalogue.of(fit_items, vectors)
    say(f"{len(real)} sequences of {out.height} customers that nobody learns from")
    made = {
        "real": lambda: learnt,
        "independent": lambda: independent(
            learnt, learnt.lengths, fit_items.height, arguments.seed
        ),
    }
    wanted = [name for name in arguments.strategies.split(",") if name]
    for name in wanted:
        made[name] = lambda name=name: sequences_of(name, sources, arguments.sequences)
    found: dict[str, dict[str, float]] = {}
    for name, make in made.items():
        started = time.monotonic()
        sequences = make()
        seconds = time.monotonic() - started
        if len(sequences) > arguments.sequences:
            sequences = sequences.take(
                np.sort(rng.permutation(len(sequences))[: arguments.sequences])
            )
        found[name] = measure(sequences, real, catalogue, seed=arguments.seed)
        say(f"{name:14} {len(sequences):6} in {seconds:6.1f} s  {found[name]}")
        for metric, value in found[name].items():
            yield {
                "arm": name,
                "slice": "held-out customers",
                "metric": metric,
                "value": value,
                "n": len(sequences),
                "seed": arguments.seed,
                "data": arguments.shop,
                "seconds": round(seconds, 1),
            }
    for name in wanted:
        yield from _against_independent(arguments, found, name)


def _against_independent(
    arguments: argparse.Namespace, found: dict[str, dict[str, float]], name: str
) -> Iterator[dict[str, Any]]:
    """How much nearer to real than the baseline: positive is better, in every measure."""
    better = []
    for metric, more in JUDGED.items():
        gain = found[name][metric] - found["independent"][metric]
        gain = gain if more else -gain
        better.append(gain > 0)
        yield {
            "arm": name,
            "against": "independent",
            "slice": "held-out customers",
            "metric": metric,
            "value": round(gain, 4),
            "n": arguments.sequences,
            "data": arguments.shop,
        }
    say(f"{name}: better than independent in {sum(better)} of {len(better)} measures")


def hold_out(settings: Settings) -> None:
    """Take every fifth customer's events out of the store, by a hash of the id."""
    from sqlalchemy import text

    from nightshift.store.engine import begin

    with begin(settings) as connection:
        ids = [row[0] for row in connection.execute(text("select user_id from nightshift.users_v"))]
        if not ids:  # a shop that lists no users has them in its events
            found = connection.execute(text("select distinct user_id from nightshift.events_v"))
            ids = [row[0] for row in found if row[0] is not None]
        out = [one for one, h in zip(ids, stable_hash(ids), strict=True) if int(h) % 5 == 0]
        # What is learnt from is events alone: these strategies read no searches and no reviews.
        connection.execute(
            text("delete from nightshift.events where user_id = any(:out)"), {"out": out}
        )


def learnt_from(night: Night, settings: Settings) -> Sources:
    lake = Lake.of(settings)
    snapshot = stages.run("collect", night, settings).manifest
    vectors = stages.run("embed", night, settings).manifest
    return Sources(lake, settings, snapshot, vectors)


def stretches(
    snapshot: Snapshot, keys: pl.Series, items: pl.DataFrame, rng: np.random.Generator
) -> Sequences:
    """Up to LENGTH consecutive items of these customers, in codes of `items`.

    A history is cut into stretches from a random place on, and STRETCHES of them are drawn: none
    overlaps another, or a classifier would know one by its twin.
    """
    histories, users = snapshot.histories, _with_two(snapshot, keys)
    size = histories.lengths[users]
    shift = (rng.random(len(users)) * (size % LENGTH + 1)).astype(np.int64) * (size >= LENGTH)
    number = np.clip(size // LENGTH, 1, STRETCHES)
    every = np.maximum(size // LENGTH, 1) // number  # spread over the whole history
    nth = np.arange(number.sum()) - np.repeat(np.cumsum(number) - number, number)
    start = (
        np.repeat(histories.indptr[users] + shift, number) + nth * np.repeat(every, number) * LENGTH
    )
    return _cut(snapshot, items, start, np.repeat(np.minimum(size, LENGTH), number))


def latest(snapshot: Snapshot, keys: pl.Series, items: pl.DataFrame) -> Sequences:
    """The last LENGTH items of each of these customers, in codes of `items`."""
    histories, users = snapshot.histories, _with_two(snapshot, keys)
    lengths = np.minimum(histories.lengths[users], LENGTH)
    return _cut(snapshot, items, histories.indptr[users + 1] - lengths, lengths)


def _with_two(snapshot: Snapshot, keys: pl.Series) -> Ints:
    """Codes of the customers that have two items or more."""
    users = snapshot.user_codes.filter(pl.col("user_key").is_in(keys.implode()))["user"].to_numpy()
    found: Ints = users[snapshot.histories.lengths[users] >= 2]
    return found


def _cut(snapshot: Snapshot, items: pl.DataFrame, start: Ints, lengths: Ints) -> Sequences:
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    flat = np.arange(indptr[-1]) - np.repeat(indptr[:-1] - start, lengths)
    codes = _codes(snapshot.items["item_id"].gather(snapshot.histories.items[flat]), items)
    return Sequences(indptr, codes)


def sequences_of(name: str, sources: Sources, wanted: int) -> Sequences:
    """What a strategy makes, as the planner would ask for it."""
    strategy = create_strategy(name, sources)
    wishes = strategy.plan(wanted).head(wanted)
    strategy.fit()
    parts = []
    for start in range(0, wishes.height, 1000):
        chunk = strategy.generate(wishes.slice(start, 1000))
        if chunk.dropped:
            say(f"{name}: dropped {chunk.dropped}")
        parts.append(pl.DataFrame(chunk.samples).select("context_items", "item_id"))
    samples = pl.concat(parts)
    lists = samples.select(all=pl.col("context_items").list.concat(pl.concat_list("item_id")))[
        "all"
    ]
    lengths = lists.list.len().to_numpy()
    codes = _codes(lists.explode(), sources.snapshot.items)
    return Sequences(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), codes)


def _codes(ids: pl.Series, items: pl.DataFrame) -> np.ndarray[Any, np.dtype[np.int64]]:
    codes = items.select("item_id").with_row_index("code")
    joined = pl.DataFrame({"item_id": ids}).join(
        codes, on="item_id", how="left", maintain_order="left"
    )
    return joined["code"].to_numpy().astype(np.int64)


if __name__ == "__main__":
    raise SystemExit(main())
