"""The verdict: a pure function of the pooled comparisons.

Two questions, in this order. Do the samples earn their place (challenger over control)? Samples
need a lift. Is the winner not worse than the champion? A fresher model needs only not to lose.
Every gate looks at a bound of the 95 % interval, never at a point.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from nightshift.contracts import ResultRow
from nightshift.settings import EvaluateSettings
from nightshift.stages import BLEND, CHALLENGER, CONTROL, LINE_OF_ARM, REAL

Decision = Literal["promoted", "kept", "control", "empty", "too_few_users"]

CHAMPION = "champion"
QUALITY = "ndcg@10"
TARGET_LIFTS = (("cold", "recall@10"), ("tail", QUALITY))
"""What samples are made for; the first slice with enough users is the target slice."""


@dataclass(frozen=True, slots=True)
class Gate:
    """One condition, with the figures it was decided on."""

    name: str
    passed: bool
    figures: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a night decided.

    `promoted`: another line is live than before (on a first night: the blend line). `control`: the
    samples change nothing, or did not earn their place and the real line is live or becomes so.
    `kept`: what was live stays live. `empty`, `too_few_users`: nothing could be judged.
    """

    decision: Decision
    live_line: str
    winner: str | None
    gates: list[Gate] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)


def decide(
    rows: Iterable[ResultRow],
    settings: EvaluateSettings,
    *,
    live_line: str | None,
    empty: bool = False,
) -> Verdict:
    """Which line is live after a night.

    Args:
        rows: `pooled.json`: comparisons pooled over the trailing nights of one recipe.
        live_line: the line that is live before; None on a first night, whose fallback is `real`.
        empty: the night had no targets; nothing is decided, whatever earlier nights say.
    """
    found = _Rows(rows)
    fallback = live_line or REAL
    if empty:
        return Verdict(
            "empty", fallback, None, reasons=["The night had no events to judge by: nothing moves."]
        )
    overall = found.get(CHALLENGER, CONTROL, "overall", QUALITY)
    if overall is None or overall.value_ci95 is None:
        users = 0 if overall is None else overall.n
        reason = (
            f"{users} users are fewer than the {settings.min_users} that an interval needs: "
            f"the {fallback} line stays live."
        )
        return Verdict("too_few_users", fallback, None, reasons=[reason])
    if found.identical():
        winner, gates = CONTROL, list[Gate]()
        reasons = ["Control and challenger are the same: the samples changed nothing."]
    else:
        gates = sample_gates(found, settings)
        winner = CHALLENGER if all(gate.passed for gate in gates) else CONTROL
        reasons = [_samples_in_words(winner, gates)]
    return _against_champion(found, settings, live_line, winner, gates, reasons)


def _against_champion(
    found: _Rows,
    settings: EvaluateSettings,
    live_line: str | None,
    winner: str,
    gates: list[Gate],
    reasons: list[str],
) -> Verdict:
    line = LINE_OF_ARM[winner]
    if live_line is None:
        decision: Decision = "promoted" if line == BLEND else "control"
        reasons.append(f"A first night: there is no champion to beat; the {line} line goes live.")
        return Verdict(decision, line, winner, gates, reasons)
    gate = _not_worse("champion", found.get(winner, CHAMPION, "overall", QUALITY), settings)
    gates = [*gates, gate]
    if not gate.passed:
        reasons.append(
            f"The {winner} is not shown to be as good as the champion: "
            f"the {live_line} line stays live."
        )
        return Verdict("kept", live_line, winner, gates, reasons)
    if line == live_line:
        reasons.append(f"The {line} line is live already and does not lose: it stays.")
        return Verdict("control" if winner == CONTROL else "kept", line, winner, gates, reasons)
    reasons.append(f"The {winner} does not lose to the champion: the {line} line goes live.")
    return Verdict("promoted", line, winner, gates, reasons)


def sample_gates(found: _Rows, settings: EvaluateSettings) -> list[Gate]:
    """Do the samples earn their place? All of these must pass."""
    pair = (CHALLENGER, CONTROL)
    gates = [_not_worse("overall", found.get(*pair, "overall", QUALITY), settings)]
    warm = found.get(*pair, "warm", QUALITY)
    if warm is not None:
        gates.append(_not_worse("warm", warm, settings))
    gates.append(_lift(found))
    for metric, better in (("coverage@10", 1), ("gini@10", -1)):
        ours, theirs = found.level(CHALLENGER, metric), found.level(CONTROL, metric)
        if ours is None or theirs is None:
            continue
        if metric.startswith("coverage"):  # a share of what the control covers
            loss = (theirs - ours) / theirs if theirs > 0 else 0.0
        else:  # Gini is on a scale of its own, 0 to 1
            loss = (theirs - ours) * better
        gates.append(
            Gate(
                metric.removesuffix("@10"),
                loss <= settings.max_coverage_loss,
                {
                    "challenger": ours,
                    "control": theirs,
                    "loss": loss,
                    "max_loss": settings.max_coverage_loss,
                },
            )
        )
    return gates


def _not_worse(name: str, row: ResultRow | None, settings: EvaluateSettings) -> Gate:
    """Lower bound of the relative lift above minus `max_loss`; no interval: not shown."""
    bound = None if row is None or row.ci95 is None else row.ci95[0]
    figures = {"lower_bound": bound, "above": -settings.max_loss, **_figures(row)}
    return Gate(f"{name}_not_worse", bound is not None and bound > -settings.max_loss, figures)


def _lift(found: _Rows) -> Gate:
    """The target slice or overall: lower bound of the difference above 0."""
    candidates = [found.get(CHALLENGER, CONTROL, *target) for target in TARGET_LIFTS]
    target = next((row for row in candidates if row is not None and row.value_ci95), None)
    overall = found.get(CHALLENGER, CONTROL, "overall", QUALITY)
    looked_at = [row for row in (target, overall) if row is not None]
    passed = any(row.value_ci95 is not None and row.value_ci95[0] > 0 for row in looked_at)
    return Gate("lift", passed, {row.slice: _figures(row) for row in looked_at})


def _figures(row: ResultRow | None) -> dict[str, Any]:
    if row is None:
        return {"n": 0}
    return {
        "metric": row.metric,
        "difference": row.value,
        "difference_ci95": row.value_ci95,
        "relative": row.relative,
        "ci95": row.ci95,
        "n": row.n,
    }


def _samples_in_words(winner: str, gates: Sequence[Gate]) -> str:
    if winner == CHALLENGER:
        return "The samples earn their place: every gate of challenger against control is passed."
    failed = ", ".join(gate.name for gate in gates if not gate.passed)
    return f"The samples do not earn their place: failed at {failed}."


class _Rows:
    """Looking up pooled rows; rows by seed are left out."""

    def __init__(self, rows: Iterable[ResultRow]) -> None:
        self._rows = {
            (row.arm, row.against, row.slice, row.metric): row for row in rows if row.seed is None
        }

    def get(self, arm: str, against: str, slice_: str, metric: str) -> ResultRow | None:
        return self._rows.get((arm, against, slice_, metric))

    def level(self, arm: str, metric: str) -> float | None:
        row = self._rows.get((arm, None, "overall", metric))
        return None if row is None else row.value

    def identical(self) -> bool:
        """No user of any slice has a difference between challenger and control."""
        compared = [
            row
            for (arm, against, _, metric), row in self._rows.items()
            if (arm, against) == (CHALLENGER, CONTROL) and ":" not in metric
        ]
        return bool(compared) and all(
            row.value == 0 and (row.value_ci95 is None or tuple(row.value_ci95) == (0, 0))
            for row in compared
        )
