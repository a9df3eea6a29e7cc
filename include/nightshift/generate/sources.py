"""What a strategy may read: the snapshot, the vectors, the settings, one language model."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt

from nightshift.errors import StageFailed
from nightshift.generate.hashing import Hashes, stable_hash
from nightshift.lake import Lake
from nightshift.manifest import Manifest, digest_of
from nightshift.settings import Settings
from nightshift.snapshot import Snapshot

if TYPE_CHECKING:
    from nightshift.generate.adapters import Taught
    from nightshift.generate.engines.base import Engine
    from nightshift.generate.text.templates import Template
    from nightshift.text.encoder import Encoder


class Sources:
    """Everything is loaded at its first use and once.

    Args:
        vectors: None where there are none yet, as when the language model is adapted.
        adapter: what the language model has learnt of the shop; it speaks for the prompts that it
            was taught, and for no others.
    """

    def __init__(
        self,
        lake: Lake,
        settings: Settings,
        snapshot: Manifest,
        vectors: Manifest | None,
        *,
        adapter: Taught | None = None,
    ) -> None:
        self.lake, self.settings = lake, settings
        self.snapshot = Snapshot(lake, snapshot)
        self.adapter = adapter
        self._vectors = vectors
        self.digest = digest_of([snapshot.digest, vectors.digest if vectors else None])
        """Content of snapshot and vectors together."""

    @classmethod
    def of(cls, lake: Lake, settings: Settings, inputs: Mapping[str, Manifest]) -> Self:
        """What a stage's inputs (`snapshot`, `vectors`, `adapter`) hold."""
        from nightshift.generate.adapters import taught

        adapter = taught(lake, settings, inputs.get("adapter"))
        return cls(lake, settings, inputs["snapshot"], inputs["vectors"], adapter=adapter)

    @cached_property
    def texts(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]:
        """Unit vectors of the distinct texts [texts, width], and each item's row in them [items].

        Items that share a row are variants of one product, never neighbours.
        """
        from safetensors.numpy import load_file

        if self._vectors is None:
            raise StageFailed("A strategy asks for the vectors of texts before there are any.")
        tensors = load_file(self.lake.local_path(self._vectors.file("items.safetensors")))
        return tensors["vectors"].astype(np.float32), tensors["row_of_item"]

    @cached_property
    def item_hashes(self) -> Hashes:
        """[items] stable hash of every item id."""
        return stable_hash(self.snapshot.items["item_id"].to_list())

    @cached_property
    def user_hashes(self) -> Hashes:
        """[users] stable hash of every user key."""
        return stable_hash(self.snapshot.users["user_key"].to_list())

    @cached_property
    def engine(self) -> Engine:
        """The language model that the settings name; loaded at its first prompt that is new."""
        from nightshift.generate.engines import create
        from nightshift.generate.engines.cached import CachedEngine

        return CachedEngine(create(self.settings, lake=self.lake), self.lake)

    @cached_property
    def encoder(self) -> Encoder:
        """The sentence encoder that made `texts`; loaded at its first text."""
        from nightshift.text.encoder import Encoder

        return Encoder(self.settings)

    def engine_for(self, template: Template) -> Engine:
        """The language model for the prompts of a template: adapted where it has learnt them."""
        return self._adapted if self.is_taught(template) else self.engine

    def is_taught(self, template: Template) -> bool:
        """Has the adapter learnt the prompts of this template, as they are, on this model?"""
        return (
            self.adapter is not None
            and self.adapter.templates.get(template.name) == template.digest
            and self.adapter.model == self.engine.model["digest"]
        )

    @cached_property
    def _adapted(self) -> Engine:
        from nightshift.generate.engines import create
        from nightshift.generate.engines.cached import CachedEngine

        assert self.adapter is not None
        adapted = create(self.settings, lake=self.lake, adapter=self.adapter.adapter)
        return CachedEngine(adapted, self.lake)
