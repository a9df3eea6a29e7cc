"""Settings with which a whole night of the small shop takes a minute."""

from __future__ import annotations

from pathlib import Path

import pytest

SMALL = """
[generate]
strategies = ["text_neighbours", "negatives"]
[generate.budget]
samples = 1000
[finetune]
first_steps = 30
warm_steps = 5
query_steps = 5
[tune]
steps = 40
betas = [0.0, 0.5]
weights = [0.1]
scopes = ["short"]
[evaluate]
resamples = 200
min_users = 10
[score]
active_days = 30
"""


def make_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write the settings where this process and its children find them."""
    (tmp_path / "nightshift.toml").write_text(SMALL)
    monkeypatch.setenv("NIGHTSHIFT_CONFIG", str(tmp_path / "nightshift.toml"))
    monkeypatch.setenv("NIGHTSHIFT_AIRFLOW__RETRIES", "0")
