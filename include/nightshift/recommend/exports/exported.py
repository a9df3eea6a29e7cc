"""Ranking with an export: the score of `recommend.ranker`, from tables in fewer bits."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import sparse

from nightshift.errors import ModelRejected
from nightshift.histories import Histories
from nightshift.lake import sha256_of
from nightshift.ranking import Codes, Mask, Scores, top_of_tiles
from nightshift.recommend.exports.layout import (
    CATALOGUE,
    CONFIG,
    GRAPH,
    KIND,
    VERSION,
    WAYS,
    WEIGHTS,
)
from nightshift.recommend.exports.tables import Arrays, Table, stored_table
from nightshift.recommend.model.features import Floats
from nightshift.recommend.model.ids import unpack
from nightshift.recommend.ranking.counted import add, counted_sides, total
from nightshift.recommend.ranking.followers import Followers
from nightshift.recommend.ranking.newcomers import Newcomers
from nightshift.recommend.ranking.user_side import encoded, recent_items
from nightshift.settings import ModelSettings

_BLOCK, _TILE = 512, 16_384
"""Users and items whose scores are held at a time, as `ranker` has them."""
Encode = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""Item vectors [B, L, D], lengths [B], kinds [B, L] and gaps [B, L + 1] → states [B, D]."""


@dataclass(frozen=True)
class ExportedRanker:
    """Implements `nightshift.ranking.Ranker`; codes are places in `item_ids`."""

    config: dict[str, Any]
    item_ids: list[str]
    encode: Encode
    wide: Table  # [items, D], or [items, D + P] with a text part
    items: Table | None  # [items, D]; None: the first D columns of `wide`
    features: Table | None  # [items, P]; None: the other columns of `wide`
    newcomers: Newcomers | None
    followers: Followers | None

    @property
    def model(self) -> ModelSettings:
        return ModelSettings(**self.config["model"])

    def states(self, histories: Histories) -> Floats:
        """The state after each history: [users, D]."""
        settings = self.model

        def encode(
            codes: torch.Tensor, lengths: torch.Tensor, kinds: torch.Tensor, gaps: torch.Tensor
        ) -> torch.Tensor:
            places = codes.numpy()
            vectors = (self.items or self.wide).rows(np.maximum(places, 0))[..., : settings.dim]
            history = torch.from_numpy(vectors * (places >= 0)[..., None])
            return self.encode(history, lengths, kinds.long(), gaps.long())

        return encoded(histories, settings.max_length, settings.dim, encode)

    def text_profiles(self, histories: Histories) -> Floats:
        """Unit text profile of each user, zero of one without a history: [users, P]."""
        last, weights = recent_items(histories)
        if self.features is not None:
            rows = self.features.rows(last)
        else:  # scaled, which the unit length takes out again
            rows = self.wide.rows(last)[..., self.model.dim :]
        sums: Floats = np.matmul(weights[:, None, :], rows)[:, 0]
        sums /= np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-6)
        return sums

    def queries(self, histories: Histories) -> Floats:
        """The users' side of the product with `wide`: [users, D] or [users, D + P]."""
        states, beta = self.states(histories), self.config["beta"]
        if not beta:
            return states
        weight = np.float32(beta * self.config["text_scale"])
        return np.concatenate([states, weight * self.text_profiles(histories)], axis=1)

    def top_k(
        self, histories: Histories, k: int, *, candidates: Mask | None, exclude_seen: bool
    ) -> tuple[Codes, Scores]:
        """See `nightshift.ranking.Ranker.top_k`; users go through in blocks."""
        codes, best = [np.zeros((0, k), np.int32)], [np.zeros((0, k), np.float32)]
        for start in range(0, len(histories), _BLOCK):
            part = histories.take(np.arange(start, min(start + _BLOCK, len(histories))))
            chosen, values = self._top(part, k, candidates, exclude_seen)
            codes.append(chosen)
            best.append(values)
        return np.concatenate(codes), np.concatenate(best)

    def _top(
        self, users: Histories, k: int, candidates: Mask | None, exclude_seen: bool
    ) -> tuple[Codes, Scores]:
        """`top_k` of one block of users."""
        queries = self.queries(users)
        counted = total(
            counted_sides(
                users,
                len(self.item_ids),
                gamma=self.config["gamma"],
                follow=self.config["follow"],
                followers=self.followers,
            )
        )

        def scores_of(items: slice) -> Scores:
            scores = self.wide.product(queries, items)
            if counted is not None:
                add(counted, items, scores)
            return scores

        def of_new(places: slice) -> Scores:
            assert self.newcomers is not None
            codes = self.newcomers.codes[places]
            scores: Scores = queries @ self.wide.rows(codes).T
            if counted is not None:
                add(counted, codes, scores)
            return scores

        rules: dict[str, Any] = {"candidates": candidates, "exclude_seen": exclude_seen}
        best = top_of_tiles(scores_of, users, len(self.item_ids), k, tile=_TILE, **rules)
        if self.newcomers is not None:
            best = self.newcomers.listed(best, of_new, users, tile=_TILE, **rules)
        return best


def load(
    folder: Path, *, item_ids: Sequence[str] | None = None, threads: int = 1
) -> ExportedRanker:
    """An export, checked.

    Args:
        item_ids: the catalogue in code order that histories are coded by; None: the export's own.
        threads: of onnxruntime; torch has the process's.

    Raises:
        ModelRejected: it is no export, of another version, incomplete, altered or not of one piece,
            or of another catalogue.
        SettingsError: ONNX without the extra `export`.
    """
    config = _config(folder)
    way = WAYS[config["to"]]
    for name in (CATALOGUE, way.encoder_file):
        _check_file(folder / name, config["files"].get(name, {}).get("sha256"))
    try:
        found = _assemble(folder, config, threads)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ModelRejected(
            f"The export's parts do not fit each other: {error}.", hint=_AGAIN, file=folder
        ) from error
    if item_ids is not None and list(item_ids) != found.item_ids:
        raise ModelRejected(
            f"The export is of another catalogue: {len(found.item_ids)} items of its own, "
            f"{len(item_ids)} asked for.",
            hint="code histories by the export's `item_ids`, or export tonight's model",
            file=folder,
        )
    return found


_AGAIN = "write it again with `nightshift export model`"


def _config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    try:
        config = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ModelRejected(f"{path} is no config of an export.", hint=_AGAIN) from error
    if not isinstance(config, dict) or config.get("kind") != KIND:
        raise ModelRejected(
            f"{path} belongs to something else than an export.",
            hint="a state of the lake is made into one with `nightshift export model`",
        )
    if config.get("version") != VERSION or config.get("to") not in WAYS:
        raise ModelRejected(
            f"The export is {config.get('to')!r} of version {config.get('version')}, this version "
            f"reads {', '.join(WAYS)} of version {VERSION}.",
            hint=f"{_AGAIN}, or read it with the version that wrote it",
            file=folder,
        )
    return config


def _check_file(path: Path, sha256: str | None) -> None:
    if not path.is_file():
        raise ModelRejected(f"The export has no {path.name}.", hint=_AGAIN, file=path)
    if sha256_of(path) != sha256:
        raise ModelRejected(
            f"{path.name} is not the file that the export's config tells of.",
            hint=f"copy the folder again whole, or {_AGAIN}",
            file=path,
        )


def _assemble(folder: Path, config: dict[str, Any], threads: int) -> ExportedRanker:
    """Raises KeyError, TypeError, ValueError or RuntimeError where the parts do not fit."""
    from safetensors.numpy import load_file

    settings, arrays = ModelSettings(**config["model"]), load_file(folder / CATALOGUE)
    _check_finite(arrays)
    n_items = config["items"]
    item_ids = unpack(arrays["item_ids"].tobytes()) if n_items else []
    wide = stored_table(arrays, "wide")
    if str(arrays["wide"].dtype) != config["precision"]["catalogue"]:
        raise ValueError(f"the catalogue is {arrays['wide'].dtype}, not as the config says")
    others = {name: stored_table(arrays, name) for name in ("items", "features") if name in arrays}
    text = wide.shape[1] - settings.dim
    widths = {"items": settings.dim, "features": text}
    if text < 0 or bool(config["beta"]) != bool(text):
        raise ValueError(f"rows of {wide.shape[1]}, dim {settings.dim}, beta {config['beta']}")
    for name, table in {"wide": wide, **others}.items():
        expected = (n_items, widths.get(name, wide.shape[1]))
        if table.shape != expected or len(item_ids) != n_items:
            raise ValueError(f"{name} is {table.shape}, {len(item_ids)} item ids, not {expected}")
    return ExportedRanker(
        config,
        item_ids,
        _encoder(folder, config, threads),
        wide,
        others.get("items"),
        others.get("features"),
        _newcomers(arrays, n_items, int(config.get("new_every", 0))),
        _followers(arrays, n_items) if config["follow"] else None,
    )


def _newcomers(arrays: Arrays, n_items: int, every: int) -> Newcomers | None:
    if not every:
        return None
    if arrays["new"].shape != (n_items,):
        raise ValueError(f"new is {arrays['new'].shape}, not {n_items} items")
    return Newcomers.of(arrays["new"] == 0, every)


def _followers(arrays: Arrays, n_items: int) -> Followers:
    parts = tuple(arrays[f"followers.{part}"] for part in ("data", "indices", "indptr"))
    table = sparse.csr_matrix(parts, shape=(n_items, n_items))
    table.check_format(full_check=True)
    return Followers(table)


def _encoder(folder: Path, config: dict[str, Any], threads: int) -> Encode:
    if WAYS[config["to"]].graph:
        from nightshift.recommend.exports.onnx_graph import run_graph

        return run_graph(folder / GRAPH, threads=threads)
    from safetensors.numpy import load_file

    from nightshift.recommend.exports.encoder import UserEncoder, model_of

    arrays = load_file(folder / WEIGHTS)
    _check_finite(arrays)
    encoder: Encode = UserEncoder(model_of(config["model"], arrays)).eval()
    return encoder


def _check_finite(arrays: Arrays) -> None:
    for name, value in arrays.items():
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise ValueError(f"{name} has entries that are not finite")
