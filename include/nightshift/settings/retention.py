"""What stays in the lake, and for how long: read by housekeeping alone."""

from __future__ import annotations

from pydantic import Field

from nightshift.settings.base import Section


class RetentionSettings(Section):
    """What stays in the lake. No stage reads it, so no key changes with it.

    `days` is more than `evaluate.pool_nights` and `blend.ttl_days` together: whatever a verdict
    pools and whatever a blend carries on was made by a night that is there in full.
    """

    days: int = Field(
        60, ge=1, description="nights kept in full, in days back from the newest night's end"
    )
    evidence: tuple[str, ...] = Field(
        ("recipe", "evaluation", "verdict", "report"),
        description="datasets of every night that are kept for ever",
    )
    rollback_states: int = Field(
        10, ge=1, description="states that were live last and stay, for `nightshift rollback`"
    )
    inner_nights: int = Field(
        3, ge=0, description="inner nights of tunings that stay: the next one shares their files"
    )
    grace_hours: float = Field(
        72.0, ge=0, description="nothing written or worked on more recently is touched"
    )
    chunk_days: float = Field(
        60.0,
        ge=0,
        description="generated chunks, answers of language models, and local copies of a remote "
        "lake stay so long",
    )
    fit_days: float = Field(60.0, ge=0, description="what strategies have learnt stays so long")
    response_days: float = Field(
        365.0, ge=0, description="answers of language models stay so long: they may have cost money"
    )
    model_days: float = Field(60.0, ge=0, description="converted language models stay so long")
    adapters: int = Field(
        2, ge=1, description="adapters of the language model that stay, the last ones"
    )
