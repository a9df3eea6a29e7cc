"""The settings: their sections, and the tree that files, variables and flags fill in."""

from nightshift.settings.retention import RetentionSettings
from nightshift.settings.sections import (
    Budget,
    CollectSettings,
    EvaluateSettings,
    GenerateSettings,
    InspectionSettings,
    ModelSettings,
    TuneSettings,
    Withhold,
)
from nightshift.settings.tree import CONFIG_VARIABLE, Settings

__all__ = [
    "CONFIG_VARIABLE",
    "Budget",
    "CollectSettings",
    "EvaluateSettings",
    "GenerateSettings",
    "InspectionSettings",
    "ModelSettings",
    "RetentionSettings",
    "Settings",
    "TuneSettings",
    "Withhold",
]
