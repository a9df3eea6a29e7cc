"""The same Airflow home as for the plugin's tests."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "plugins"))
import airflow_for_tests  # noqa: F401
