"""The table of stages, and how one is run.

A stage is a function of (night, settings, inputs in the lake). `run` resolves its inputs, computes
its key, and returns at once when the dataset for that key exists; otherwise it takes the lease,
imports the stage's module and lets it write. The table is all that a stage knows of another: the
name of the dataset it reads.

    collect → embed → plan → generate (per shard) → gather → inspect ┐
                 └──────→ tune ──────────────────────────────────────┴→ blend → finetune (per arm)
    morning → evaluate → promote → refresh → score → report

Beside the nights, when it is asked for: collect → adapt, which later plans read.
"""

from nightshift.stages.inputs import arm_input, arms, parent_state
from nightshift.stages.model import (
    BLEND,
    CHALLENGER,
    CONTROL,
    LINE_OF_ARM,
    REAL,
    Input,
    Inputs,
    Ran,
    Stage,
    StageContext,
    night_partition,
    state_partition,
    strategy_of,
)
from nightshift.stages.running import (
    as_ours,
    key_of,
    parts_of,
    resolve_inputs,
    run,
    write_dataset,
)
from nightshift.stages.table import NIGHTLY, STAGES

__all__ = [
    "BLEND",
    "CHALLENGER",
    "CONTROL",
    "LINE_OF_ARM",
    "NIGHTLY",
    "REAL",
    "STAGES",
    "Input",
    "Inputs",
    "Ran",
    "Stage",
    "StageContext",
    "arm_input",
    "arms",
    "as_ours",
    "key_of",
    "night_partition",
    "parent_state",
    "parts_of",
    "resolve_inputs",
    "run",
    "state_partition",
    "strategy_of",
    "write_dataset",
]
