"""What every branch of the settings is."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A frozen branch of the tree; an unknown key is an error that names it."""

    model_config = ConfigDict(frozen=True, extra="forbid")
