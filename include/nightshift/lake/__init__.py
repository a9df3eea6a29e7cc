"""The lake: objects on any filesystem, and the datasets that are made of them."""

from nightshift.lake.datasets import CURRENT, MANIFEST, Lake, sha256_of
from nightshift.lake.objects import NO_SPACE, Stored, lake_errors

__all__ = ["CURRENT", "MANIFEST", "NO_SPACE", "Lake", "Stored", "lake_errors", "sha256_of"]
