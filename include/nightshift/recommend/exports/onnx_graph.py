"""The user encoder as an ONNX graph. Needs the extra `export`."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from nightshift.errors import ModelRejected, SettingsError
from nightshift.recommend.exports.encoder import UserEncoder
from nightshift.recommend.model.network import Recommender

HISTORY, LENGTHS, KINDS, GAPS, STATE = "history", "lengths", "kinds", "gaps", "state"
_INPUTS = (HISTORY, LENGTHS, KINDS, GAPS)
_OPSET = 18
"""The exporter's own; runtimes of 2023 and later read it."""
_EXAMPLE = (2, 3)
"""Histories and items traced with: any but 0 and 1, which a trace would take for constants."""


def write_graph(model: Recommender, path: Path, *, int8: bool) -> None:
    """The encoder: `state` [batch, D] float32 of four inputs.

    `history` [batch, length, D] float32, and int64: `lengths` [batch], `kinds` [batch, length],
    `gaps` [batch, length + 1] (see `model.signals`).

    Batch and length may be anything from one on. Under int8 the matrices are quantised and what
    meets them is at run time (onnxruntime's dynamic quantisation).

    Raises:
        SettingsError: the extra `export` is not installed.
    """
    onnx = _needs("onnx")
    _needs("onnxscript")
    batch, length = _EXAMPLE
    history = torch.zeros(batch, length, model.settings.dim)
    lengths = torch.full((batch,), length)
    kinds, gaps = (torch.zeros(batch, wide, dtype=torch.int64) for wide in (length, length + 1))
    dynamic = torch.export.Dim.DYNAMIC
    plain = path.with_suffix(".float32.onnx") if int8 else path
    with _quiet():
        torch.onnx.export(
            UserEncoder(model).eval(),
            (history, lengths, kinds, gaps),
            plain,
            dynamo=True,
            dynamic_shapes=(
                {0: dynamic, 1: dynamic},
                {0: dynamic},
                {0: dynamic, 1: dynamic},
                {0: dynamic, 1: dynamic},
            ),
            input_names=list(_INPUTS),
            output_names=[STATE],
            opset_version=_OPSET,
            external_data=False,
            verbose=False,
        )
        _forget_origin(onnx, plain)
        if int8:
            _needs("onnxruntime")
            quantisation = importlib.import_module("onnxruntime.quantization")
            quantisation.quantize_dynamic(
                plain, path, weight_type=quantisation.QuantType.QInt8, per_channel=True
            )
            plain.unlink()


def _forget_origin(onnx: Any, path: Path) -> None:
    """Take out what the exporter notes beside every node: stack traces with local paths."""
    proto = onnx.load(path)
    for holder in (proto, proto.graph, *proto.graph.node, *proto.graph.value_info):
        del holder.metadata_props[:]
        holder.doc_string = ""
    onnx.save(proto, path)


def run_graph(path: Path, *, threads: int) -> Callable[..., torch.Tensor]:
    """The graph as a function of its inputs in their order, run by onnxruntime on the CPU.

    Raises:
        SettingsError: the extra `export` is not installed.
        ModelRejected: the file is no such graph.
    """
    runtime = _needs("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # A thread that waits sleeps: other processes have work for the core.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no base of their own
        raise ModelRejected(
            f"onnxruntime cannot read {path.name}: {str(error).splitlines()[0]}",
            hint="export the model again",
            file=path,
        ) from error
    names = {one.name for one in session.get_inputs()}
    if names != set(_INPUTS):
        raise ModelRejected(
            f"{path.name} takes {', '.join(sorted(names))}, not {', '.join(_INPUTS)}.",
            hint="export the model again",
            file=path,
        )

    def run(*inputs: torch.Tensor) -> torch.Tensor:
        fed = {name: each.numpy() for name, each in zip(_INPUTS, inputs, strict=True)}
        return torch.from_numpy(session.run([STATE], fed)[0])

    return run


def _needs(module: str) -> Any:
    """The module.

    Raises:
        SettingsError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise SettingsError(
            f"ONNX needs {module}, which is not installed.",
            hint="pip install 'nightshift[export]', or export --to half or int8",
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's remarks on packages that this model does not use."""
    loud = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir", "root")]
    levels = [one.level for one in loud]
    try:
        for one in loud:
            one.setLevel(logging.ERROR)
        yield
    finally:
        for one, level in zip(loud, levels, strict=True):
            one.setLevel(level)
