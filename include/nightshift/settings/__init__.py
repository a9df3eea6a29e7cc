"""The settings: their sections, and the tree that files, variables and flags fill in."""

from nightshift.settings.generate import Budget, GenerateSettings
from nightshift.settings.places import LogSettings
from nightshift.settings.retention import RetentionSettings
from nightshift.settings.sections import (
    Approval,
    CollectSettings,
    EvaluateSettings,
    InspectionSettings,
    ModelSettings,
    TuneSettings,
    Withhold,
)
from nightshift.settings.serve import ServeSettings
from nightshift.settings.tree import CONFIG_VARIABLE, Settings

__all__ = [
    "CONFIG_VARIABLE",
    "Approval",
    "Budget",
    "CollectSettings",
    "EvaluateSettings",
    "GenerateSettings",
    "InspectionSettings",
    "LogSettings",
    "ModelSettings",
    "RetentionSettings",
    "ServeSettings",
    "Settings",
    "TuneSettings",
    "Withhold",
]
