"""A model as files: weights in safetensors, the rest in JSON.

Deltas are kept only for the items that have one, with their item ids beside them, so a state fits
a catalogue that has grown, shrunk or been re-ordered since.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from nightshift.errors import ModelRejected, SettingsError
from nightshift.lake import Lake
from nightshift.manifest import Manifest
from nightshift.recommend.model.attributes import ROWS, Codes
from nightshift.recommend.model.features import Floats, Whitening
from nightshift.recommend.model.ids import pack, unpack
from nightshift.recommend.model.network import Recommender
from nightshift.recommend.samples.texts import ItemTexts
from nightshift.settings import ModelSettings
from nightshift.writer import DatasetWriter

WEIGHTS, CONFIG = "model.safetensors", "config.json"
FORMAT = 5
READABLE = (2, 3, 4, FORMAT)
_SIGNALS, _ATTRIBUTES = 4, 5
"""Format 2 had no texts of samples, 3 knew nothing of kinds and times, 4 nothing of attributes (see
`_upgraded`)."""
_RENAMED = re.compile(r"^(blocks\.\d+)\.(qkv|out)\.")
_TEXTS = "texts"
_ATTRIBUTE, _ROWS = "model.attribute", "model.attribute.rows"
"""The table of attributes is kept as the deltas are: rows that learnt something, and which."""


@dataclass
class Checkpoint:
    """A trained model over one catalogue, rows in item-code order."""

    model: Recommender
    deltas: torch.Tensor  # [items, D]
    whitening: Whitening
    item_ids: list[str]
    steps: int
    """Optimiser steps behind it, all nights together."""
    sample_deltas: torch.Tensor = field(init=False)  # [items, D]
    """What samples add to an item's vector where it is ranked (see `samples.deltas`)."""
    texts: ItemTexts | None = None
    """What stands for an item's own embedding where it is ranked (see `samples.texts`)."""
    attributes: torch.Tensor | None = None  # [items, A]
    """See `attribute_codes`; None: not told, or not read by this model."""

    def __post_init__(self) -> None:
        self.sample_deltas = torch.zeros_like(self.deltas)

    def items(self, features: Floats) -> torch.Tensor:
        """Vectors [items, D] of the catalogue's items with these text features [items, P]."""
        return self.model.items(torch.from_numpy(features), self.deltas, self.attributes)

    def of_text(self, features: Floats) -> torch.Tensor:
        """The part of `items` that comes from text [items, D]."""
        return self.model.items(torch.from_numpy(features), torch.zeros_like(self.deltas))

    def of_attributes(self) -> torch.Tensor | None:
        """The part of `items` that comes from attributes [items, D]; None where there is none."""
        if self.attributes is None or not self.attributes.any():
            return None
        return self.model.of_attributes(self.attributes)

    def features(self, vectors: Floats) -> Floats:
        """Text features of the catalogue: [items, P].

        Raises:
            ModelRejected: these embeddings are not as wide as those the model was made with.
        """
        width = len(self.whitening.mean)
        if vectors.shape[1] != width:
            raise ModelRejected(
                f"The model reads sentence embeddings of width {width}, got {vectors.shape[1]}.",
                hint="the encoder (text.encoder) was changed: set it back, or start anew (--first)",
            )
        return self.whitening.apply(vectors)

    def ranked_features(self, features: Floats) -> Floats:
        """Text features under which items are ranked [items, P].

        Args:
            features: those of the items' own embeddings; the same array without any texts.
        """
        if self.texts is None:
            return features
        ranked = features.copy()
        ranked[self.texts.codes] = self.whitening.apply(self.texts.vectors)
        return ranked


def fresh(
    settings: ModelSettings,
    vectors: Floats,
    item_ids: list[str],
    *,
    seed: int,
    attributes: Codes | None = None,
) -> Checkpoint:
    """An untrained model; the whitening is fitted on these vectors' distinct rows.

    Args:
        attributes: of the items, as `attribute_codes` has them; None: none is known.
    """
    whitening = Whitening.fit(np.unique(vectors, axis=0), settings.features)
    torch.manual_seed(seed)
    model = Recommender(settings, whitening.matrix.shape[1])
    deltas = torch.zeros(len(item_ids), settings.dim)
    made = Checkpoint(model, deltas, whitening, item_ids, 0)
    made.attributes = _read_by(model, attributes)
    return made


def save(checkpoint: Checkpoint, writer: DatasetWriter, prefix: str = "", **extra: Any) -> None:
    """Write `model.safetensors` and `config.json` under `prefix`."""
    tensors: dict[str, npt.NDArray[Any]] = {
        f"model.{name}": value.detach().cpu().numpy()
        for name, value in checkpoint.model.state_dict().items()
    }
    if checkpoint.model.attribute is not None:
        learnt = np.flatnonzero(tensors[_ATTRIBUTE].any(axis=1))
        tensors |= {_ATTRIBUTE: tensors[_ATTRIBUTE][learnt], _ROWS: learnt}
    for name, table in _tables(checkpoint).items():
        some = np.flatnonzero(table.abs().sum(dim=1).numpy() > 0)
        ids = pack([checkpoint.item_ids[i] for i in some])
        tensors[name] = table.detach().cpu().numpy()[some]
        tensors[f"{name}.item_ids"] = np.frombuffer(ids, dtype=np.uint8)
    if checkpoint.texts is not None:
        named = pack([checkpoint.item_ids[i] for i in checkpoint.texts.codes])
        tensors[_TEXTS] = checkpoint.texts.vectors
        tensors[f"{_TEXTS}.item_ids"] = np.frombuffer(named, dtype=np.uint8)
    tensors |= {
        "whitening.mean": checkpoint.whitening.mean,
        "whitening.matrix": checkpoint.whitening.matrix,
    }
    writer.write_tensors(prefix + WEIGHTS, tensors)
    writer.write_json(
        prefix + CONFIG,
        {
            "format": FORMAT,
            "model": checkpoint.model.settings.model_dump(mode="json"),
            "steps": checkpoint.steps,
            **extra,
        },
    )


def load(
    lake: Lake,
    manifest: Manifest,
    item_ids: list[str],
    *,
    attributes: Codes | None = None,
    prefix: str = "",
) -> Checkpoint:
    """A stored model, its deltas laid out for this catalogue; new items get zero.

    Args:
        attributes: of the items, as `attribute_codes` has them; None: not told.

    Raises:
        ModelRejected: another format, a config or shapes that do not fit, weights that are not
            finite, or a model that learnt attributes where none are told.
        LakeError: a file that is gone or was altered.
    """
    config, tensors = _read(lake, manifest, prefix)
    try:
        stored = _assemble(config, tensors, item_ids)
    except (KeyError, TypeError, ValueError, RuntimeError, SettingsError) as error:
        raise ModelRejected(
            f"The model's weights do not fit its config: {error}.",
            hint="run the stage that wrote it again, or start anew with --first",
            dataset=manifest.folder,
        ) from error
    stored.attributes = _read_by(stored.model, attributes)
    table = stored.model.attribute
    if stored.attributes is None and table is not None and table.any():
        raise ModelRejected(
            "The model learnt attributes of items, and is not told those of this catalogue.",
            hint="give it the snapshot's items (`attribute_codes`)",
            dataset=manifest.folder,
        )
    return stored


def _read_by(model: Recommender, attributes: Codes | None) -> torch.Tensor | None:
    if attributes is None or model.attribute is None:
        return None
    return torch.from_numpy(np.array(attributes))


def _read(
    lake: Lake, manifest: Manifest, prefix: str
) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
    from safetensors.numpy import load_file

    paths = [lake.local_path(manifest.file(prefix + name)) for name in (CONFIG, WEIGHTS)]
    config: dict[str, Any] = json.loads(paths[0].read_bytes())
    if config.get("format") not in READABLE:
        raise ModelRejected(
            f"The model has format {config.get('format')}, "
            f"this version reads {' and '.join(map(str, READABLE))}.",
            hint="start anew with --first, or run the version that wrote it",
            dataset=manifest.folder,
        )
    tensors = load_file(paths[1])
    bad = [
        name
        for name, value in tensors.items()
        if value.dtype.kind == "f" and not np.isfinite(value).all()
    ]
    if bad:
        raise ModelRejected(
            f"The model has weights that are not finite: {', '.join(bad)}.",
            hint="go back with `nightshift rollback` and look at that night's losses",
            dataset=manifest.folder,
        )
    return config, tensors


def _assemble(
    config: dict[str, Any], tensors: dict[str, npt.NDArray[Any]], item_ids: list[str]
) -> Checkpoint:
    """Raises ValueError, KeyError or RuntimeError where config and tensors do not fit."""
    settings = ModelSettings(**config["model"])
    whitening = Whitening(tensors["whitening.mean"], tensors["whitening.matrix"])
    if whitening.matrix.ndim != 2 or len(whitening.matrix) != len(whitening.mean):
        raise ValueError("the whitening's mean and matrix differ in width")
    model = Recommender(settings, whitening.matrix.shape[1])
    weights = {
        name.removeprefix("model."): torch.from_numpy(value)
        for name, value in tensors.items()
        if name.startswith("model.") and name not in (_ATTRIBUTE, _ROWS)
    }
    if model.attribute is not None:
        weights["attribute"] = _attribute(tensors, config["format"], settings.dim)
    model.load_state_dict(_upgraded(weights, model) if config["format"] < _SIGNALS else weights)
    deltas = torch.zeros(len(item_ids), settings.dim)
    stored = Checkpoint(model.eval(), deltas, whitening, item_ids, int(config["steps"]))
    row_of = {item: row for row, item in enumerate(item_ids)}
    for name, table in _tables(stored).items():
        rows, places = _known(tensors, name, settings.dim, row_of)
        table[rows] = torch.from_numpy(tensors[name])[places]
    if _TEXTS in tensors:
        codes, places = _known(tensors, _TEXTS, len(whitening.mean), row_of)
        order = np.argsort(codes)
        stored.texts = ItemTexts(codes[order], tensors[_TEXTS][places[order]])
    return stored


def _upgraded(weights: dict[str, torch.Tensor], model: Recommender) -> dict[str, torch.Tensor]:
    """Weights of an older format: attention's under its new name, signals that say nothing yet."""
    new = {_RENAMED.sub(r"\1.attention.\2.", name): value for name, value in weights.items()}
    for name in ("kind", "gap", "wait"):
        new.setdefault(name, torch.zeros_like(getattr(model, name)))
    return new


def _attribute(tensors: dict[str, npt.NDArray[Any]], version: int, width: int) -> torch.Tensor:
    """The table of attributes; in a format that had none it says nothing yet."""
    table = np.zeros((ROWS, width), np.float32)
    if version >= _ATTRIBUTES:
        learnt, rows = tensors[_ATTRIBUTE], tensors[_ROWS]
        if learnt.shape != (len(rows), width) or not ((rows > 0) & (rows < ROWS)).all():
            raise ValueError(f"attributes of shape {learnt.shape} for {len(rows)} rows of {ROWS}")
        table[rows] = learnt
    return torch.from_numpy(table)


def _known(
    tensors: dict[str, npt.NDArray[Any]], name: str, width: int, row_of: dict[str, int]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Codes of a table's items that are in this catalogue, and their rows in the table."""
    kept = tensors[name]
    known = unpack(tensors[f"{name}.item_ids"].tobytes()) if len(kept) else []
    if kept.shape != (len(known), width):
        raise ValueError(f"{len(known)} item ids, {name} of shape {kept.shape}")
    pairs = [(row_of[item], place) for place, item in enumerate(known) if item in row_of]
    both = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return both[:, 0], both[:, 1]


def _tables(checkpoint: Checkpoint) -> dict[str, torch.Tensor]:
    """Name in the file → a table with one row per item."""
    return {"deltas": checkpoint.deltas, "sample_deltas": checkpoint.sample_deltas}
