"""The keys and values that a transformers model keeps of what it has read, written in place.

transformers' own dynamic cache copies everything at every token; its static one is sized for the
longest text a model takes and is attended to in full. This one has room for the continuation and
shows only what is filled. Measured on one core, SmolLM2-135M, 128 rows behind a prefix of 98
tokens: 3.1 s against 3.7 s of processor time for the same tokens.
"""

from __future__ import annotations

from typing import Any

from transformers.cache_utils import DynamicCache, DynamicLayer


def growing_cache(model: Any, room: int) -> DynamicCache:
    """An empty cache for `model`, with room for this many tokens behind the first ones.

    Layers of another kind than the plain one (a sliding window, say) stay what they are.
    """
    cache = DynamicCache(config=model.config)
    cache.layers = [
        _Growing(room) if type(layer) is DynamicLayer else layer for layer in cache.layers
    ]
    return cache


class _Growing(DynamicLayer):  # type: ignore[misc]
    """Keys and values [rows, heads, tokens, width], views of buffers with room behind them."""

    keys: Any
    values: Any

    def __init__(self, room: int) -> None:
        super().__init__()
        self._room = room
        self._buffers: tuple[Any, Any] | None = None

    def update(self, key_states: Any, value_states: Any, *_: Any, **__: Any) -> tuple[Any, Any]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        before = self.get_seq_length()
        after = before + key_states.shape[-2]
        if self._buffers is None or self._buffers[0].shape[-2] < after:
            self._buffers = (
                self._grown(self.keys, key_states, before, after),
                self._grown(self.values, value_states, before, after),
            )
        keys, values = self._buffers
        keys[:, :, before:after], values[:, :, before:after] = key_states, value_states
        self.keys, self.values = keys[:, :, :after], values[:, :, :after]
        return self.keys, self.values

    def _grown(self, old: Any, new: Any, before: int, after: int) -> Any:
        rows, heads, _, width = new.shape
        buffer = new.new_empty(rows, heads, after + self._room, width)
        if before:
            buffer[:, :, :before] = old
        return buffer

    def batch_repeat_interleave(self, repeats: int) -> None:
        super().batch_repeat_interleave(repeats)
        self._buffers = None

    def batch_select_indices(self, indices: Any) -> None:
        if self._buffers is None:
            super().batch_select_indices(indices)
            return
        filled = self.get_seq_length()
        keys, values = (buffer[indices] for buffer in self._buffers)
        self._buffers = keys, values
        self.keys, self.values = keys[:, :, :filled], values[:, :, :filled]
