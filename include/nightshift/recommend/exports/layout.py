"""What an export is on disk.

    config.json            what it is, in which precision, made from what
    catalogue.safetensors  wide [items, D + P], item ids, and where they differ from it the vectors
                           (`items`) and texts (`features`) that a history is read by; which
                           are new (`new`) and what follows them (`followers.…`), where it counts
    encoder.safetensors    the user encoder's weights,
    encoder.onnx           or the encoder as a graph: history [B, L, D], lengths [B], kinds [B, L],
                           gaps [B, L + 1] → state [B, D]

An item's wide row is its vector and, where the ranking blends text in (beta), its text features
beside it: one product gives all of the score that is not counted. Profiles of customers are
personal data and stay beside the state.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

KIND, VERSION = "nightshift-export", 2
CONFIG, CATALOGUE = "config.json", "catalogue.safetensors"
WEIGHTS, GRAPH = "encoder.safetensors", "encoder.onnx"

Format = Literal["float32", "half", "int8", "onnx", "onnx-int8"]
FORMATS: tuple[Format, ...] = get_args(Format)
Precision = Literal["float32", "float16", "int8"]


@dataclass(frozen=True, slots=True)
class Way:
    """How a format stores the catalogue and the encoder."""

    catalogue: Precision
    encoder: Precision
    graph: bool = False

    @property
    def encoder_file(self) -> str:
        return GRAPH if self.graph else WEIGHTS


WAYS: dict[Format, Way] = {
    "float32": Way("float32", "float32"),
    "half": Way("float16", "float16"),
    "int8": Way("int8", "int8"),
    "onnx": Way("float32", "float32", graph=True),
    "onnx-int8": Way("int8", "int8", graph=True),
}
