"""What can rank a catalogue for users: the models, and the baselines they must beat."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from nightshift.histories import Histories

Codes = npt.NDArray[np.int32]
Scores = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

_PIECES = 8
"""A long row is cut into these for its k best: 8 was fastest from 10,000 to 100,000 items."""
_LONG = 4 * _PIECES
"""Items per wanted one from which that pays."""


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

    if scores.shape[1] >= _LONG * width:
        part, unsure = _of_long_rows(scores, width)
    else:
        part = torch.topk(torch.from_numpy(scores), width, dim=1, sorted=False).indices.numpy()
        unsure = np.arange(len(scores))
    part = np.sort(part, axis=1)
    # A partition takes any of the equals at its edge: those rows are cut again, by code.
    least = np.take_along_axis(scores, part, axis=1).min(axis=1, keepdims=True)
    unsure = unsure[~np.isneginf(least[unsure, 0])]
    tied = unsure[_more_than(width, scores[unsure], least[unsure])]
    if len(tied):
        equal = scores[tied] == least[tied]
        chosen = scores[tied] > least[tied]
        room = width - chosen.sum(axis=1, keepdims=True)
        chosen |= equal & (np.cumsum(equal, axis=1, dtype=np.int32) <= room)
        part[tied] = np.nonzero(chosen)[1].reshape(len(tied), width)
    return part


def _of_long_rows(scores: Scores, width: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.intp]]:
    """`width` best of each row in any order [users, width], and rows that may have other equals.

    A row is cut into pieces that are laid under each other. At most `width` columns have a maximum
    above the edge, so the `width` columns of the largest maxima hold the best: a partition reads
    the maxima and those columns instead of the row, and takes half the time.
    """
    import torch

    rows = torch.from_numpy(scores)
    columns = scores.shape[1] // _PIECES
    highest = rows[:, : columns * _PIECES].unflatten(1, (_PIECES, columns)).amax(dim=1)
    chosen = torch.topk(highest, width, dim=1, sorted=False).indices  # [users, width]
    below = torch.arange(_PIECES)[:, None] * columns
    rest = torch.arange(columns * _PIECES, scores.shape[1]).expand(len(rows), -1)
    places = torch.cat([(chosen[:, None, :] + below).flatten(1), rest], dim=1)
    values = rows.gather(1, places)
    best, found = torch.topk(values, width, dim=1)
    edge = best[:, -1:]
    unsure = _more_than(width, highest.numpy(), edge.numpy())
    unsure |= _more_than(width, values.numpy(), edge.numpy())
    return places.gather(1, found).numpy(), np.flatnonzero(unsure)


def _more_than(width: int, values: Scores, edge: Scores) -> Mask:
    """Rows with more than `width` values that reach the edge."""
    return np.asarray(np.count_nonzero(values >= edge, axis=1) > width)


class _Held(threading.local):
    """One buffer a thread."""

    cells: Any = None


_held = _Held()


def held_block(users: int, items: int) -> Any:
    """A tensor [users, items] float32, filled with anything, in a buffer that the thread keeps.

    Whoever calls next in this thread gets the same memory. Blocks of tens of MB that are made and
    freed one after another let the heap grow without end where anything small is kept between them.
    """
    import torch

    if _held.cells is None or len(_held.cells) < users * items:
        _held.cells = None  # not both at a time
        _held.cells = torch.empty(users * items)
    return _held.cells[: users * items].view(users, items)


def top_of_tiles(
    scores_of: Callable[[slice], Scores],
    users: Histories,
    n_items: int,
    k: int,
    *,
    candidates: Mask | None,
    exclude_seen: bool,
    tile: int,
) -> tuple[Codes, Scores]:
    """See `Ranker.top_k`: of one block of users, the k best of each tile, and then of those.

    Args:
        scores_of: the block's scores of some items; asked once a tile, and free to use one buffer.
        tile: items whose scores are held at a time.
    """
    codes, best = [], []
    for start in range(0, max(n_items, 1), tile):
        items = slice(start, min(start + tile, n_items))
        scores = mask_scores(
            scores_of(items),
            users,
            candidates=None if candidates is None else candidates[items],
            exclude_seen=exclude_seen,
            first=start,
        )
        chosen, values = select_top_k(scores, k)
        codes.append(np.where(chosen >= 0, chosen + np.int32(start), np.int32(-1)))
        best.append(values)
    if len(codes) == 1:
        return codes[0], best[0]
    # Tiles lie in order of code and so do equals inside a tile: place stands for code.
    place, values = select_top_k(np.concatenate(best, axis=1), k)
    chosen = np.take_along_axis(np.concatenate(codes, axis=1), np.maximum(place, 0), axis=1)
    return np.where(place >= 0, chosen, np.int32(-1)), values


def mask_scores(
    scores: Scores,
    histories: Histories,
    *,
    candidates: Mask | None,
    exclude_seen: bool,
    first: int = 0,
) -> Scores:
    """Set what may not be recommended to -inf, in place: [users, items].

    `first` is the code of the first column, where the block is a tile of the catalogue;
    `candidates` are the tile's.
    """
    if candidates is not None and not candidates.all():
        scores[:, ~candidates] = -np.inf
    if exclude_seen:
        rows = np.repeat(np.arange(len(histories)), histories.lengths)
        columns = histories.items - first
        inside = (columns >= 0) & (columns < scores.shape[1])
        scores[rows[inside], columns[inside]] = -np.inf
    return scores
