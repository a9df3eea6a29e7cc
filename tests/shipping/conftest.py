"""The same Airflow home as for the plugin's tests, and the small programs of deploy/."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "tests" / "plugins"))
sys.path.append(str(ROOT / "deploy"))
import airflow_for_tests  # noqa: E402, F401
