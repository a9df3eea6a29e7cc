"""Discrete Bayesian networks: structure by pgmpy's hill climbing, tables and sampling in numpy.

Sampling forwards through pgmpy would go row by row through factors; with tables as arrays a step
is one look-up for all rows at once.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module

import numpy as np
import numpy.typing as npt

Codes = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Data = Mapping[str, Codes]
Parents = dict[str, tuple[str, ...]]

_PRIOR = 5.0
"""Rows that the prior of a table's row counts for."""


@dataclass(frozen=True, slots=True)
class Table:
    """P(column | parents): `shares` [states of parents …, states]."""

    parents: tuple[str, ...]
    shares: Floats

    def draw(self, given: Data, numbers: Floats) -> tuple[Codes, Floats]:
        """A state for each row, and the logarithm of its probability.

        Args:
            given: states of the parents: [rows] each.
            numbers: uniform in (0, 1): [rows].
        """
        rows = self.shares[tuple(given[name] for name in self.parents)]
        if not self.parents:
            rows = np.broadcast_to(rows, (len(numbers), len(rows)))
        edges = np.cumsum(rows, axis=1)
        state = (edges < numbers[:, None] * edges[:, -1:]).sum(axis=1).astype(np.int64)
        return state, np.log(rows[np.arange(len(rows)), state])


def learn_table(
    data: Data, sizes: Mapping[str, int], column: str, parents: Sequence[str]
) -> Floats:
    """P(column | parents), the states of the parents first: [states of parents …, states].

    The posterior mean under a Dirichlet prior around the table without the last parent, down to
    the column's own distribution (the back-off of MacKay & Peto, 1995): a combination that was
    hardly seen is drawn as what is known of a part of it.

    Args:
        data: states of every column: [rows] each.
        sizes: number of states of every column.
        parents: the most telling first.
    """
    shape = tuple(sizes[name] for name in (*parents, column))
    flat = np.ravel_multi_index(tuple(data[name] for name in (*parents, column)), shape)
    counts = np.bincount(flat, minlength=int(np.prod(shape))).reshape(shape).astype(np.float64)
    if parents:
        centre = learn_table(data, sizes, column, parents[:-1])[..., None, :]
    else:
        centre = np.full(sizes[column], 1 / sizes[column])
    posterior = counts + _PRIOR * centre
    shares: Floats = posterior / posterior.sum(axis=-1, keepdims=True)
    return shares


def information(data: Data, sizes: Mapping[str, int], left: str, right: str) -> float:
    """What one column tells of another, in nats (mutual information)."""
    shape = (sizes[left], sizes[right])
    flat = np.ravel_multi_index((data[left], data[right]), shape)
    joint = np.bincount(flat, minlength=shape[0] * shape[1]).reshape(shape) / max(len(flat), 1)
    alone = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    there = joint > 0
    return float((joint[there] * np.log(joint[there] / alone[there])).sum())


def learn_structure(
    data: Data,
    tiers: Sequence[Sequence[str]],
    *,
    score: str,
    max_parents: int,
    required: Sequence[tuple[str, str]] = (),
) -> Parents:
    """The parents of every column outside the first tier, by hill climbing on a score.

    Koller & Friedman, 2009, 18.4.

    Args:
        data: states of every column: [rows] each.
        tiers: a column's parents lie in its own tier or an earlier one; the columns of the first
            tier are given and have none.
        score: `aic-d` or `bic-d`, as pgmpy names them.
        required: edges (parent, child) that are there whatever the score says.
    """
    tier_of = {column: number for number, tier in enumerate(tiers) for column in tier}
    forbidden = [
        (parent, child)
        for parent in tier_of
        for child in tier_of
        if parent != child and (tier_of[child] == 0 or tier_of[parent] > tier_of[child])
    ]
    edges = _climb(data, forbidden, list(required), score, max_parents)
    return {
        child: tuple(sorted(parent for parent, found in edges if found == child))
        for child, tier in tier_of.items()
        if tier > 0
    }


def _climb(
    data: Data,
    forbidden: list[tuple[str, str]],
    required: list[tuple[str, str]],
    score: str,
    max_parents: int,
) -> list[tuple[str, str]]:
    """The edges (parent, child) that pgmpy finds."""
    import pandas as pd

    frame = pd.DataFrame({name: pd.Categorical(codes) for name, codes in data.items()})
    talkative = logging.getLogger("pgmpy")
    level = talkative.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it announces what its next versions rename
        talkative.setLevel(logging.ERROR)
        try:
            pgmpy = import_module("pgmpy.causal_discovery")
            search = pgmpy.HillClimbSearch(
                scoring_method=score,
                max_indegree=max_parents,
                expert_knowledge=pgmpy.ExpertKnowledge(
                    forbidden_edges=forbidden, required_edges=required
                ),
                return_type="dag",
                show_progress=False,
            )
            search.fit(frame)
        finally:
            talkative.setLevel(level)
    return sorted(search.causal_graph_.edges())


def in_order(parents: Parents) -> list[str]:
    """The columns, each after its parents; parents that are no key are given beforehand.

    Raises:
        ValueError: a column is its own ancestor.
    """
    done: list[str] = []
    left = sorted(parents)
    while left:
        ready = [column for column in left if not set(parents[column]) & set(left)]
        if not ready:
            raise ValueError(f"These columns are each other's ancestors: {', '.join(left)}.")
        done += ready
        left = [column for column in left if column not in ready]
    return done
