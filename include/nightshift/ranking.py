"""What can rank a catalogue for users: the models, and the baselines they must beat."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from nightshift.snapshot import Histories

Codes = npt.NDArray[np.int32]
Scores = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


class Ranker(Protocol):
    """Ranks every candidate for every user."""

    def top_k(
        self, histories: Histories, k: int, *, candidates: Mask | None, exclude_seen: bool
    ) -> tuple[Codes, Scores]:
        """The k best items of each user, best first: codes and scores, both [users, k].

        Args:
            histories: what each user did before; may be empty for a user.
            candidates: [items] which items may be recommended; None: all.
            exclude_seen: leave out the items of the user's own history.

        Where fewer than k items are left, codes are -1 and scores -inf.
        """
        ...


def select_top_k(scores: Scores, k: int) -> tuple[Codes, Scores]:
    """Row-wise k best of a dense block, best first, ties by item code: [users, k] each.

    -inf marks what may not be recommended; it comes back as code -1, and so do the places that a
    catalogue of fewer than k items cannot fill.
    """
    users, n_items = scores.shape
    codes = np.full((users, k), -1, dtype=np.int32)
    best = np.full((users, k), -np.inf, dtype=np.float32)
    width = min(k, n_items)
    if not width:
        return codes, best
    part = _members(scores, width)
    values = np.take_along_axis(scores, part, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    codes[:, :width] = np.take_along_axis(part, order, axis=1)
    best[:, :width] = np.take_along_axis(values, order, axis=1)
    codes[np.isneginf(best)] = -1
    return codes, best


def _members(scores: Scores, width: int) -> npt.NDArray[np.int64]:
    """The `width` best of each row in ascending order of code, the lowest codes of equals."""
    import torch  # its top-k is ten times as fast as a partition in numpy

    part = torch.topk(torch.from_numpy(scores), width, dim=1, sorted=False).indices.numpy()
    part = np.sort(part, axis=1)
    least = np.take_along_axis(scores, part, axis=1).min(axis=1, keepdims=True)
    # A partition takes any of the equals at its edge: those rows are cut again, by code.
    tied = np.flatnonzero(((scores >= least).sum(axis=1) > width) & ~np.isneginf(least[:, 0]))
    if len(tied):
        equal = scores[tied] == least[tied]
        chosen = scores[tied] > least[tied]
        room = width - chosen.sum(axis=1, keepdims=True)
        chosen |= equal & (np.cumsum(equal, axis=1, dtype=np.int32) <= room)
        part[tied] = np.nonzero(chosen)[1].reshape(len(tied), width)
    return part


def mask_scores(
    scores: Scores, histories: Histories, *, candidates: Mask | None, exclude_seen: bool
) -> Scores:
    """Set what may not be recommended to -inf, in place: [users, items]."""
    if candidates is not None:
        scores[:, ~candidates] = -np.inf
    if exclude_seen:
        rows = np.repeat(np.arange(len(histories)), histories.lengths)
        scores[rows, histories.items] = -np.inf
    return scores
