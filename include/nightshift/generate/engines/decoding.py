"""Continuing token rows with a transformers model: a shared prefix is read once, what is drawn is
each row's own, and rows that have ended leave the batch.

Sampling is the Gumbel-max trick (Gumbel, 1954; Maddison, Tarlow & Minka, 2014): the largest of
score / temperature + Gumbel noise is a draw from the softmax of score / temperature. The noise of a
token is a hash of (row, step, token), so it is exact sampling that does not know who else is in
the batch, where a random generator's state would.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nightshift.generate.engines.base import Sampling
from nightshift.generate.hashing import Hashes, combine, gumbel

_LEAVE = 0.125
"""Rows that have ended leave when they are this share: leaving copies what the others have read."""


@dataclass(frozen=True, slots=True)
class Prefix:
    """What the model keeps of tokens that stand in front of every row."""

    length: int
    cache: Any


def read_prefix(model: Any, ids: Sequence[int], room: int) -> Prefix:
    """Let the model read the shared prefix, once.

    Args:
        room: tokens that each row will add; a hint.
    """
    import torch

    from nightshift.generate.engines.kv_cache import growing_cache

    cache = growing_cache(model, room)
    if ids:
        with torch.inference_mode():
            tokens = torch.tensor([list(ids)], device=model.device)
            model(input_ids=tokens, past_key_values=cache, use_cache=True, logits_to_keep=1)
    return Prefix(len(ids), cache)


def continued(
    model: Any,
    prefix: Prefix,
    rows: Sequence[Sequence[int]],
    hashes: Hashes,
    sampling: Sampling,
    ends: Sequence[int],
) -> list[list[int]]:
    """New tokens of every continuation, the end token left out: [rows * sampling.count].

    Args:
        rows: token ids behind the prefix, at least one each.
        hashes: [rows * sampling.count] what each continuation's draws depend on.
        ends: tokens that end a row.
    """
    import torch

    ids, mask = left_padded(rows, pad=ends[0])
    before = torch.ones(len(rows), prefix.length, dtype=torch.long)
    mask = torch.cat([before, mask], dim=1).to(model.device)
    cache = copy.deepcopy(prefix.cache)
    cache.batch_repeat_interleave(len(rows))
    ids = ids.to(model.device)
    stop = np.array(ends)
    with torch.inference_mode():
        place = (mask.cumsum(dim=1) - 1).clamp(min=0)[:, prefix.length :]
        logits = _last_logits(model, ids, mask, place, cache)
        if sampling.count > 1:
            cache.batch_repeat_interleave(sampling.count)
            logits = logits.repeat_interleave(sampling.count, dim=0)
            mask = mask.repeat_interleave(sampling.count, dim=0)
        written: list[list[int]] = [[] for _ in range(len(rows) * sampling.count)]
        here = np.arange(len(written))  # the continuation of each row of the batch
        ended = np.zeros(len(written), dtype=bool)
        for step in range(sampling.max_new_tokens):
            picked = chosen(logits, hashes[here], step, sampling)
            ended |= np.isin(picked, stop)
            for row, token in zip(here[~ended], picked[~ended], strict=True):
                written[row].append(int(token))
            if ended.all() or step + 1 == sampling.max_new_tokens:
                break
            if ended.mean() >= _LEAVE:
                stay = torch.from_numpy(np.flatnonzero(~ended)).to(model.device)
                cache.batch_select_indices(stay)
                mask, here, picked = mask[stay], here[~ended], picked[~ended]
                ended = np.zeros(len(here), dtype=bool)
            mask = torch.cat([mask, mask.new_ones(len(here), 1)], dim=1)
            ids = torch.from_numpy(picked[:, None]).to(model.device)
            place = mask.sum(dim=1, keepdim=True) - 1
            logits = _last_logits(model, ids, mask, place, cache)
    return written


def _last_logits(model: Any, ids: Any, mask: Any, place: Any, cache: Any) -> Any:
    """[rows, vocabulary] of the next token."""
    return model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=place,
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    ).logits[:, -1]


def chosen(logits: Any, hashes: Hashes, step: int, sampling: Sampling) -> npt.NDArray[np.int64]:
    """The next token of every row: [rows].

    Args:
        logits: [rows, vocabulary].
        hashes: [rows].
    """
    found: npt.NDArray[np.int64]
    if sampling.temperature == 0:
        found = logits.float().argmax(dim=-1).cpu().numpy()
        return found
    k = min(sampling.top_k or logits.shape[-1], logits.shape[-1])
    best, tokens = logits.float().topk(k, dim=-1)
    tokens = tokens.cpu().numpy()
    now = combine(hashes, np.full(len(hashes), step, dtype=np.uint64))
    noise = gumbel(combine(now[:, None], tokens.astype(np.uint64)))
    winner = (best.cpu().numpy() / sampling.temperature + noise).argmax(axis=1)
    found = tokens[np.arange(len(tokens)), winner]
    return found


def left_padded(rows: Sequence[Sequence[int]], pad: int) -> tuple[Any, Any]:
    """Ids and attention mask, right-aligned: [rows, longest]."""
    import torch

    longest = max(map(len, rows))
    ids = torch.tensor([[pad] * (longest - len(row)) + list(row) for row in rows])
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows])
    return ids, mask
