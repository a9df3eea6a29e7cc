"""One section for each strategy of `generate.strategies`, under the strategy's name.

What a language model writes shares three fields: how many texts, how warm, how long.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, NonNegativeFloat

from nightshift.settings.base import Section

Intent = Literal["any", "attribute", "use", "problem", "gift", "misspelling"]

# --- from text and its vectors -----------------------------------------------------------------


class TextNeighboursSettings(Section):
    """Pseudo-interactions: users of a text neighbour also get the item as a target."""

    neighbours: int = Field(10, ge=1, description="text neighbours per item")
    contexts_per_item: int = Field(10, ge=1, description="user contexts drawn per short item")
    min_similarity: float = Field(0.4, ge=-1, le=1, description="cosine of unwhitened vectors")
    max_context: int = Field(30, ge=1)


class NegativesSettings(Section):
    """Hard negatives: near what the user bought, popular, never touched by the user."""

    per_user: int = Field(20, ge=1)
    pool: int = Field(50, ge=1, description="similar items looked at per bought item")
    popularity_power: float = Field(0.5, ge=0)
    max_similarity: float = Field(0.95, description="closer is taken for the same item: screened")


class SynonymsSettings(Section):
    """Queries with words replaced by synonyms."""

    per_item: int = Field(2, ge=1)
    wordnet: Path | None = Field(
        None, description="folder with data.noun … of WordNet; default: the one of the system"
    )
    neighbours: int = Field(5, ge=0, description="words of the shop that a word may stand for")
    min_similarity: float = Field(0.75, ge=-1, le=1, description="cosine of two words")


class BackTranslationSettings(Section):
    """Descriptions said again: there and back through another language."""

    per_item: int = Field(1, ge=1)
    there: Path | None = Field(None, description="sequence-to-sequence model into the language")
    back: Path | None = Field(None, description="and the one back; without both: the engine")
    temperature: float = Field(0.7, ge=0)
    max_new_tokens: int = Field(64, ge=1)


class DescriptionFusionSettings(Section):
    """Attributes and what reviews say, as one text."""

    max_reviews: int = Field(3, ge=0, description="sentences of reviews in a text")


# --- by a language model -----------------------------------------------------------------------


class LlmQueriesSettings(Section):
    """Search queries that a customer would type to find an item."""

    per_item: int = Field(2, ge=1, description="queries an item, each with an intent of its own")
    intents: dict[Intent, NonNegativeFloat] = Field(
        {"any": 8, "attribute": 5, "use": 2, "problem": 0.4, "gift": 0.3, "misspelling": 0.8},
        description="how often each is wanted; any: as this shop's own log has it, if there is one",
    )
    typos: Literal["edit", "model"] = Field(
        "edit", description="who misspells: an edit of ours, or the model (a small one cannot)"
    )
    candidates: int = Field(
        5, ge=1, description="answers to choose from for each query; 1: the first is taken"
    )
    min_similarity: float = Field(
        0.35, ge=-1, le=1, description="of a chosen query with its product (with candidates > 1)"
    )
    shots: int = Field(6, ge=0, description="few-shot examples in a prompt")
    temperature: float = Field(0.7, ge=0)
    adapted_shots: int = Field(0, ge=0, description="examples where an adapter has learnt these")
    adapted_temperature: float = Field(
        0.7, ge=0, description="where an adapter has learnt these prompts; 0: one answer"
    )
    max_new_tokens: int = Field(16, ge=1)


class LlmReviewsSettings(Section):
    """Reviews grounded in an item's attributes and in the sentiment of a rating."""

    per_item: int = Field(1, ge=1)
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

    shots: int = Field(3, ge=0, description="few-shot examples in a prompt")
    max_history: int = Field(12, ge=1, description="items of the history in a prompt")
    temperature: float = Field(0.5, ge=0)
    max_new_tokens: int = Field(32, ge=1)


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


# --- from behaviour ----------------------------------------------------------------------------


class SequenceOpsSettings(Section):
    """Real histories slid, cropped, masked, reordered, inserted into, substituted in."""

    operations: tuple[Literal["slide", "crop", "mask", "reorder", "insert", "substitute"], ...] = (
        Field(("slide", "crop", "mask", "reorder", "insert", "substitute"), min_length=1)
    )
    per_user: int = Field(2, ge=1)
    share: float = Field(0.3, gt=0, lt=1, description="of a history that an operation touches")
    max_length: int = Field(30, ge=2)
    min_similarity: float = Field(0.5, ge=-1, le=1, description="of what is put in")


class BehaviourGanSettings(Section):
    """A conditional Wasserstein GAN with gradient penalty over sequences of item vectors."""

    sequences: int = Field(4000, ge=1)
    length: int = Field(10, ge=2, description="items of a sequence")
    dim: int = Field(32, ge=4, description="of the item vectors that it works on")
    noise: int = Field(32, ge=1)
    hidden: int = Field(128, ge=8)
    steps: int = Field(600, ge=1, description="steps of the generator")
    critic_steps: int = Field(5, ge=1, description="steps of the critic for each of these")
    batch: int = Field(128, ge=2)
    learning_rate: float = Field(2e-4, gt=0)
    penalty: float = Field(10.0, gt=0, description="weight of the gradient penalty")
    decoding: Literal["nearest", "gumbel"] = "nearest"
    min_distinct: float = Field(
        0.3, ge=0, le=1, description="distinct items against as many real ones; fewer: collapsed"
    )


class BehaviourVaeSettings(Section):
    """A variational autoencoder over baskets of items, drawn from and ordered."""

    sequences: int = Field(4000, ge=1)
    length: int = Field(10, ge=2)
    latent: int = Field(32, ge=1)
    hidden: int = Field(256, ge=8)
    epochs: int = Field(10, ge=1)
    batch: int = Field(256, ge=1)
    learning_rate: float = Field(1e-3, gt=0)
    beta: float = Field(0.2, ge=0, description="weight of the divergence at the end of annealing")


class SeqGeneratorSettings(Section):
    """Sequences drawn item by item from a sequential model of the shop."""

    sequences: int = Field(4000, ge=1)
    length: int = Field(10, ge=2)
    temperature: float = Field(1.0, gt=0)
    top_k: int = Field(200, ge=1)
    steps: int = Field(600, ge=1, description="training steps of the model that is drawn from")


class CopulaSettings(Section):
    """A Gaussian copula over what describes customers in numbers, realised as short histories."""

    customers: int = Field(2000, ge=1)
    max_length: int = Field(10, ge=2)


class BayesNetSettings(Section):
    """A Bayesian network: segment, category, brand, price band, hour, kind → events."""

    customers: int = Field(2000, ge=1)
    max_length: int = Field(10, ge=2)
    max_states: int = Field(30, ge=2, description="values of a column that keep their name")
    max_parents: int = Field(2, ge=1)


class UpsampleSettings(Section):
    """A placebo: real stretches of histories, drawn again."""

    sequences: int = Field(4000, ge=1)
    max_length: int = Field(30, ge=2)


class RandomPairsSettings(Section):
    """A placebo: real contexts, and items drawn at random."""

    pairs: int = Field(4000, ge=1)
    max_context: int = Field(30, ge=1)


# --- all of them ---------------------------------------------------------------------------------


class StrategySections(Section):
    """A section for each strategy of ours; an installed one has its own way to be set up."""

    text_neighbours: TextNeighboursSettings = TextNeighboursSettings()
    negatives: NegativesSettings = NegativesSettings()
    synonyms: SynonymsSettings = SynonymsSettings()
    back_translation: BackTranslationSettings = BackTranslationSettings()
    description_fusion: DescriptionFusionSettings = DescriptionFusionSettings()
    llm_queries: LlmQueriesSettings = LlmQueriesSettings()
    llm_reviews: LlmReviewsSettings = LlmReviewsSettings()
    llm_descriptions: LlmDescriptionsSettings = LlmDescriptionsSettings()
    llm_ad_copy: LlmAdCopySettings = LlmAdCopySettings()
    llm_profiles: LlmProfilesSettings = LlmProfilesSettings()
    llm_preferences: LlmPreferencesSettings = LlmPreferencesSettings()
    llm_history: LlmHistorySettings = LlmHistorySettings()
    sequence_ops: SequenceOpsSettings = SequenceOpsSettings()
    behaviour_gan: BehaviourGanSettings = BehaviourGanSettings()
    behaviour_vae: BehaviourVaeSettings = BehaviourVaeSettings()
    seq_generator: SeqGeneratorSettings = SeqGeneratorSettings()
    copula: CopulaSettings = CopulaSettings()
    bayes_net: BayesNetSettings = BayesNetSettings()
    upsample: UpsampleSettings = UpsampleSettings()
    random_pairs: RandomPairsSettings = RandomPairsSettings()
