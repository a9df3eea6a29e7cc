"""A public data set as one long first night, in a scratch store and lake."""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from nightshift.commands.common import settings_of
from nightshift.commands.showing import run_and_show
from nightshift.errors import UsageError
from nightshift.lake import Lake
from nightshift.night import Night
from nightshift.settings import Settings

_WITHHOLD_SALT = 1


def run_benchmark(arguments: argparse.Namespace) -> int:
    """Load, run the night, print the figures as one line of JSON; `--json` keeps them."""
    options = _options(arguments)
    if not 0 < arguments.cut < 1:
        raise UsageError(
            f"--cut {arguments.cut} is no quantile.", hint="between 0 and 1, such as --cut 0.9"
        )
    started = time.monotonic()
    kept = arguments.scratch is not None
    home = arguments.scratch or Path(tempfile.mkdtemp(prefix="nightshift-"))
    # A fixed key: the same data give the same pseudonyms, and so the same digests, anywhere.
    base = {
        "home": str(home),
        "store": {"url": None, "pseudonym_key": f"benchmark {arguments.shop}"},
        "lake": {"root": None},
        "finetune": {"seeds": list(range(arguments.seeds))},
        "blend": {"placebos": ["random_pairs", "upsample"]},
    }
    if arguments.withhold:
        base["collect"] = {"withhold": [{"share": arguments.withhold, "salt": _WITHHOLD_SALT}]}
    # Figures must not depend on a settings file or a variable of this machine.
    settings = settings_of(arguments, base=Settings.shipped(base))
    from nightshift.store import embedded, loaders

    try:
        embedded.ensure_running(settings)
        loaders.load(arguments.shop, settings, **options)
        night = long_night(settings, arguments.cut)
        settings = settings.with_({"night": {"first": night.start.isoformat()}})
        results = run_and_show(night, settings)
        value = benchmark_json("night", arguments.shop, night, settings, results, started)
        if arguments.json:
            arguments.json.parent.mkdir(parents=True, exist_ok=True)
            arguments.json.write_text(one_line(value))
        from nightshift.report.summary import print_summary

        print_summary(settings, [night])
        print(one_line(value))
    finally:
        embedded.stop(settings)
        if not kept:
            shutil.rmtree(home, ignore_errors=True)
    return 0


def _options(arguments: argparse.Namespace) -> dict[str, Any]:
    """What the loader of this shop needs.

    Raises:
        UsageError: a file is not named.
    """
    needed = {
        "amazon": {"interactions": arguments.interactions, "items": arguments.items},
        "online-retail": {"path": arguments.path},
        "complete-journey": {},
    }[arguments.shop]
    missing = [name for name, value in needed.items() if value is None]
    if missing:
        raise UsageError(
            f"--shop {arguments.shop} needs {', '.join(missing)}.",
            hint="see nightshift night --help",
        )
    return needed


def long_night(settings: Settings, cut: float) -> Night:
    """From the `cut` quantile of event times to the end of the data."""
    from sqlalchemy import text

    from nightshift.store.engine import begin

    query = text(
        "select percentile_disc(:cut) within group (order by occurred_at), max(occurred_at)"
        " from nightshift.events_v"
    )
    with begin(settings) as connection:
        start, last = connection.execute(query, {"cut": cut}).one()
    if start is None or start >= last:
        raise UsageError(
            f"--cut {cut} leaves no night: the events end at {last}.", hint="use a smaller --cut"
        )
    return Night(start, last + timedelta(seconds=1))


def benchmark_json(
    name: str,
    data: str,
    night: Night,
    settings: Settings,
    results: list[dict[str, Any]],
    started: float,
) -> dict[str, Any]:
    """The one line that a benchmark ends with."""
    lake = Lake.of(settings)
    evaluation = lake.get("evaluation", f"night={night.key}")
    recipe = lake.get("recipe", f"night={night.key}")
    rows = lake.read_json(evaluation, "results.json")
    return {
        "bench": name,
        "commit": evaluation.run["commit"],
        "data": data,
        "night": night.key,
        "seconds": round(time.monotonic() - started, 1),
        "recipe": lake.read_json(recipe, "recipe.json"),
        "stages": [{k: r[k] for k in ("stage", "partition", "seconds", "digest")} for r in results],
        "results": [row | {"data": data} for row in rows],
    }


def one_line(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False)
