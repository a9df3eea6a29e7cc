"""Writing an export of a ranker: `layout` says what lies where."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

import nightshift
from nightshift.errors import UsageError
from nightshift.lake import sha256_of
from nightshift.recommend.exports.encoder import weights_of
from nightshift.recommend.exports.layout import (
    CATALOGUE,
    CONFIG,
    FORMATS,
    KIND,
    VERSION,
    WAYS,
    WEIGHTS,
    Format,
    Precision,
)
from nightshift.recommend.exports.tables import Arrays, FloatTable, Int8Table, Table
from nightshift.recommend.model.features import Floats
from nightshift.recommend.model.ids import pack
from nightshift.recommend.ranker import ModelRanker
from nightshift.writer import save_tensors


def export(
    ranker: ModelRanker, folder: Path, to: Format, *, source: dict[str, Any]
) -> dict[str, Any]:
    """Write the export; the folder appears whole or not at all.

    Args:
        source: what it is made from (dataset, digest, line, night), for whoever holds the folder.

    Returns:
        The config, with the bytes of every file in it.

    Raises:
        UsageError: there is no such format, the folder is not empty, or it cannot be written.
        SettingsError: ONNX without the extra `export`.
    """
    if to not in FORMATS:
        raise UsageError(f"There is no format {to!r}.", hint=f"choose one of {', '.join(FORMATS)}")
    try:
        if folder.exists() and any(folder.iterdir()):
            raise UsageError(f"{folder} is not empty.", hint="name a new folder")
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise _cannot_write(folder, error) from error
    try:
        config = _write(ranker, scratch, to, source)
        scratch.chmod(0o755)  # a temporary folder is its maker's alone
        scratch.replace(folder)
    except OSError as error:
        raise _cannot_write(folder, error) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return config


def _write(ranker: ModelRanker, folder: Path, to: Format, source: dict[str, Any]) -> dict[str, Any]:
    way, model = WAYS[to], ranker.stored.model
    arrays, text_scale = catalogue(ranker, way.catalogue)
    save_tensors(folder / CATALOGUE, arrays)
    if way.graph:
        from nightshift.recommend.exports.onnx_graph import write_graph

        write_graph(model, folder / way.encoder_file, int8=way.encoder == "int8")
    else:
        save_tensors(folder / WEIGHTS, weights_of(model, way.encoder))
    files = {
        name: {"bytes": (folder / name).stat().st_size, "sha256": sha256_of(folder / name)}
        for name in (CATALOGUE, way.encoder_file)
    }
    config = {
        "kind": KIND,
        "version": VERSION,
        "to": to,
        "precision": {"catalogue": way.catalogue, "encoder": way.encoder},
        "made_with": {"nightshift": nightshift.__version__, "torch": torch.__version__},
        "source": source,
        "model": model.settings.model_dump(mode="json"),
        "items": len(ranker.items),
        "beta": float(ranker.beta),
        "gamma": float(ranker.gamma),
        "follow": float(ranker.follow),
        "new_every": ranker.newcomers.every if ranker.newcomers is not None else 0,
        "text_scale": text_scale,
        "files": files,
    }
    (folder / CONFIG).write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")
    return config


def catalogue(ranker: ModelRanker, precision: Precision) -> tuple[Arrays, float]:
    """The arrays of `catalogue.safetensors`, and what the text part of a wide row is divided by.

    A row of int8 has one scale, so its two parts are brought to one size first.
    """
    placed, items = ranker.placed.numpy(), ranker.items.numpy()
    wide, scale = placed, 1.0
    if ranker.beta:
        if precision == "int8":
            scale = float(_largest(ranker.shown) / max(_largest(placed), 1e-12)) or 1.0
        wide = np.concatenate([placed, ranker.shown / np.float32(scale)], axis=1)
    arrays = _table(wide, precision).arrays("wide")
    if not np.array_equal(items, placed):
        arrays |= _table(items, precision).arrays("items")
    if ranker.beta and ranker.shown is not ranker.features:
        arrays |= _table(ranker.features, precision).arrays("features")
    if ranker.newcomers is not None:
        arrays["new"] = ranker.newcomers.is_new.astype(np.uint8)
    if ranker.follow and ranker.followers is not None:
        table = ranker.followers.table
        arrays |= {f"followers.{p}": getattr(table, p) for p in ("data", "indices", "indptr")}
    arrays["item_ids"] = np.frombuffer(pack(ranker.stored.item_ids), dtype=np.uint8)
    return arrays, scale


def _table(rows: Floats, precision: Precision) -> Table:
    if precision == "int8":
        return Int8Table.of(rows)
    return FloatTable(rows.astype(np.float16) if precision == "float16" else rows)


def _largest(rows: Floats) -> float:
    return float(np.abs(rows).max(initial=0.0))


def _cannot_write(folder: Path, error: OSError) -> UsageError:
    return UsageError(
        f"{folder} cannot be written: {error.strerror or error}.",
        hint="name a new folder in a place that you may write to, on a disk with room",
    )
