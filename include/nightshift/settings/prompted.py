"""Sections of the strategies whose samples a language model writes.

They share three fields: how many texts, how warm, how long.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeFloat

from nightshift.settings.base import Section

Intent = Literal["any", "attribute", "use", "problem", "gift", "misspelling"]


class LlmQueriesSettings(Section):
    """Search queries that a customer would type to find an item."""

    per_item: int = Field(2, ge=1, description="queries an item, each with an intent of its own")
    intents: dict[Intent, NonNegativeFloat] = Field(
        {"any": 8, "attribute": 5, "use": 1, "problem": 0.3, "gift": 0.3, "misspelling": 0.8},
        description="how often each is wanted; any: as this shop's own log has it, if there is one",
    )
    typos: Literal["edit", "model"] = Field(
        "edit", description="who misspells: an edit of ours, or the model (a small one cannot)"
    )
    candidates: int = Field(
        8, ge=1, description="answers to choose from for each query; 1: the first is taken"
    )
    min_similarity: float = Field(
        0.5, ge=-1, le=1, description="of a chosen query with its product (candidates > 1)"
    )
    min_agreement: float = Field(
        0.65,
        ge=-1,
        le=1,
        description="mean similarity of a chosen query with all that was answered",
    )
    shots: int = Field(6, ge=0, description="few-shot examples in a prompt")
    temperature: float = Field(0.7, ge=0)
    adapted_shots: int = Field(0, ge=0, description="examples where an adapter has learnt these")
    adapted_temperature: float = Field(
        0.5, ge=0, description="where an adapter has learnt these prompts; 0: one answer"
    )
    max_new_tokens: int = Field(12, ge=1)


class LlmReviewsSettings(Section):
    """Reviews grounded in an item's attributes and in the sentiment of a rating."""

    per_item: int = Field(1, ge=1)
    ratings: tuple[float, float, float, float, float] = Field(
        (0.15, 0.1, 0.1, 0.25, 0.4),
        description="shares of 1, 2, 3, 4 and 5 stars in a shop that has no reviews of its own",
    )
    shots: int = Field(4, ge=0, description="few-shot examples in a prompt")
    temperature: float = Field(0.7, ge=0)
    max_new_tokens: int = Field(48, ge=1)


class LlmDescriptionsSettings(Section):
    """Descriptions that enrich or paraphrase; every number, size and attribute survives."""

    per_item: int = Field(1, ge=1)
    shots: int = Field(4, ge=0, description="few-shot examples in a prompt")
    temperature: float = Field(0.6, ge=0)
    max_new_tokens: int = Field(48, ge=1)


class LlmAdCopySettings(Section):
    """One line that sells an item, to the taste of a segment of customers."""

    per_item: int = Field(1, ge=1)
    shots: int = Field(4, ge=0, description="few-shot examples in a prompt")
    temperature: float = Field(0.7, ge=0)
    max_new_tokens: int = Field(32, ge=1)


class LlmProfilesSettings(Section):
    """What a customer is interested in, in words, from a pseudonymised history."""

    shots: int = Field(4, ge=0, description="few-shot examples in a prompt")
    max_history: int = Field(6, ge=2, description="items of the history in a prompt")
    temperature: float = Field(0.5, ge=0)
    max_new_tokens: int = Field(24, ge=1)
    min_similarity: float = Field(
        0.45, ge=-1, le=1, description="of an interest with an item, of all with their mean"
    )


class LlmPreferencesSettings(Section):
    """Which of two items a customer would take: a judge over candidates of a retrieval funnel."""

    per_user: int = Field(2, ge=1, description="judged pairs a customer")
    funnel: int = Field(20, ge=2, description="candidates that retrieval leaves")
    votes: int = Field(1, ge=1, description="asked so often, each time in both orders")
    max_history: int = Field(8, ge=1, description="items of the history in a prompt")
    probe_users: int = Field(100, ge=10, description="customers that the judge is tested on")


class LlmHistorySettings(Section):
    """What a new customer would look for, as searches, and the items behind them."""

    customers: int = Field(500, ge=1, description="new customers to make up")
    searches: int = Field(4, ge=1, description="searches of a customer")
    shots: int = Field(3, ge=0, description="few-shot examples in a prompt")
    temperature: float = Field(0.8, ge=0)
    max_new_tokens: int = Field(48, ge=1)
    min_similarity: float = Field(0.45, ge=-1, le=1, description="of a search with its item")
