"""Settings with which a whole night of the small shop takes a minute."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nightshift.settings import Settings

SMALL = """
[generate]
strategies = ["text_neighbours", "negatives"]
[generate.budget]
samples = 1000
[text]
max_tokens = 16
[finetune]
first_steps = 20
warm_steps = 5
query_steps = 5
negatives = 128
[finetune.model]
dim = 16
layers = 1
max_length = 10
[tune]
steps = 20
betas = [0.0, 0.5]
weights = [0.1]
scopes = ["short"]
[evaluate]
resamples = 200
min_users = 10
[score]
active_days = 30
"""


@contextmanager
def small_night(monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Settings of a new home, where this process and its children find them.

    Not below pytest's own folders: those are closed to the user that Postgres runs as when the
    tests run as root.
    """
    home = Path(tempfile.mkdtemp(prefix="ns-home-", dir="/tmp"))
    (home / "nightshift.toml").write_text(SMALL)
    monkeypatch.setenv("NIGHTSHIFT_HOME", str(home))
    monkeypatch.setenv("NIGHTSHIFT_CONFIG", str(home / "nightshift.toml"))
    monkeypatch.setenv("NIGHTSHIFT_AIRFLOW__RETRIES", "0")
    try:
        yield Settings.load()
    finally:
        shutil.rmtree(home)
