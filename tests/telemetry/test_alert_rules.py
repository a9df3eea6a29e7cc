"""The example alerts: they name gauges that exist, and Prometheus' own tool finds them right."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import Any

import pytest
import yaml
from airflow_for_tests import PROJECT

from nightshift.gauges import DECISIONS, FAMILIES, LIFT_SLICES, PREFIX
from nightshift.stages import STAGES

DEPLOY = PROJECT / "deploy"
RULES: list[dict[str, Any]] = yaml.safe_load((DEPLOY / "prometheus-rules.yaml").read_text())[
    "groups"
][0]["rules"]
TESTED: list[dict[str, Any]] = yaml.safe_load((DEPLOY / "prometheus-rules-test.yaml").read_text())[
    "tests"
]
VALUES = {"stage": set(STAGES), "slice": set(LIFT_SLICES), "decision": set(DECISIONS)}
_SELECTOR = re.compile(rf"{PREFIX}(\w+)(?:\{{([^}}]*)\}})?")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_names_gauges_and_labels_that_exist(rule: dict[str, Any]) -> None:
    selectors = _SELECTOR.findall(rule["expr"])

    assert selectors
    for family, matchers in selectors:
        for label, value in re.findall(r'(\w+)="([^"]*)"', matchers):
            assert label in FAMILIES[family][1]
            assert value in VALUES.get(label, {value})
    shown = re.findall(r"\$labels\.(\w+)", str(rule["annotations"]))
    assert set(shown) <= {label for family, _ in selectors for label in FAMILIES[family][1]}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_says_what_to_do_and_is_seen_to_fire(rule: dict[str, Any]) -> None:
    fired = [
        case["exp_alerts"]
        for test in TESTED
        for case in test["alert_rule_test"]
        if case["alertname"] == rule["alert"] and case["exp_alerts"]
    ]

    assert rule["labels"]["severity"] in ("info", "warning", "critical")
    assert {"summary", "description"} == set(rule["annotations"])
    assert fired


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool comes with Prometheus")
def test_promtool_agrees() -> None:
    for action, file in (
        ("check", "prometheus-rules.yaml"),
        ("test", "prometheus-rules-test.yaml"),
    ):
        done = subprocess.run(
            ["promtool", action, "rules", file],
            cwd=DEPLOY,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
