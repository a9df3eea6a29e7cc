"""One section for each strategy of `generate.strategies`, under the strategy's name."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from nightshift.settings.base import Section
from nightshift.settings.prompted import (
    LlmAdCopySettings,
    LlmDescriptionsSettings,
    LlmHistorySettings,
    LlmPreferencesSettings,
    LlmProfilesSettings,
    LlmQueriesSettings,
    LlmReviewsSettings,
)

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
        None, description="folder with index.noun, data.noun … of WordNet; default: our extract"
    )
    neighbours: int = Field(5, ge=0, description="words of the shop that a word may stand for")
    min_similarity: float = Field(
        0.75, ge=-1, le=1, description="cosine of two words of the shop that may be exchanged"
    )
    min_context: float = Field(
        0.8, ge=-1, le=1, description="cosine of a query with what it was before the exchange"
    )


class BackTranslationSettings(Section):
    """Descriptions said again: there and back through another language."""

    per_item: int = Field(1, ge=1)
    there: Path | None = Field(None, description="sequence-to-sequence model into the language")
    back: Path | None = Field(None, description="and the one back; without both: the engine")
    shots: int = Field(6, ge=0, description="few-shot examples in a prompt of the engine")
    temperature: float = Field(0.7, ge=0)
    max_new_tokens: int = Field(64, ge=1)


class DescriptionFusionSettings(Section):
    """Attributes and what reviews say, as one text."""

    max_reviews: int = Field(3, ge=0, description="sentences of reviews in a text")


# --- from behaviour ----------------------------------------------------------------------------

_RARE = Field(
    0.0,
    ge=0,
    le=1,
    description="made-up customers of rare segments and kinds: 0 as in the shop, 1 all alike",
)


class SequenceOpsSettings(Section):
    """Real histories slid, cropped, masked, reordered, inserted into, substituted in."""

    operations: tuple[Literal["slide", "crop", "mask", "reorder", "insert", "substitute"], ...] = (
        Field(("slide", "crop", "mask", "reorder", "insert", "substitute"), min_length=1)
    )
    per_user: int = Field(2, ge=1)
    share: float = Field(0.3, gt=0, le=0.5, description="of a history that an operation touches")
    max_length: int = Field(30, ge=2)
    min_similarity: float = Field(0.5, ge=-1, le=1, description="of what is put in")


class BehaviourGanSettings(Section):
    """A conditional Wasserstein GAN with gradient penalty over sequences of item vectors."""

    sequences: int = Field(4000, ge=1)
    length: int = Field(10, ge=2, description="items of a sequence")
    dim: int = Field(32, ge=4, description="of the item vectors that it works on")
    noise: int = Field(32, ge=1)
    hidden: int = Field(128, ge=8)
    steps: int = Field(500, ge=1, description="steps of the generator")
    critic_steps: int = Field(3, ge=1, description="steps of the critic for each of these")
    batch: int = Field(64, ge=2)
    learning_rate: float = Field(
        2e-3, gt=0, description="the generator's; the critic's is twice it"
    )
    penalty: float = Field(10.0, gt=0, description="weight of the gradient penalty")
    decoding: Literal["gumbel", "nearest"] = Field(
        "gumbel", description="an item drawn among those near a vector, or the nearest"
    )
    bandwidth: float = Field(
        1.0, gt=0, description="distance at which a vector still means an item (they lie √dim out)"
    )
    min_distinct: float = Field(
        0.3, ge=0, le=1, description="distinct items against as many real ones; fewer: collapsed"
    )
    rare: float = _RARE


class BehaviourVaeSettings(Section):
    """A variational autoencoder over baskets of items, drawn from and ordered."""

    sequences: int = Field(4000, ge=1)
    length: int = Field(10, ge=2)
    latent: int = Field(32, ge=1)
    hidden: int = Field(256, ge=8)
    dim: int = Field(32, ge=4, description="of the item vectors that it starts from")
    steps: int = Field(1000, ge=1)
    batch: int = Field(128, ge=1)
    learning_rate: float = Field(3e-3, gt=0)
    beta: float = Field(0.2, ge=0, description="weight of the divergence at the end of annealing")
    drawn_from: Literal["posterior", "prior"] = Field(
        "posterior",
        description="where a made-up customer's taste lies: where customers' lie, or N(0, 1)",
    )
    rare: float = _RARE


class SeqGeneratorSettings(Section):
    """Sequences drawn item by item from a sequential model of the shop."""

    sequences: int = Field(4000, ge=1)
    length: int = Field(10, ge=2)
    temperature: float = Field(1.0, gt=0)
    top_k: int = Field(0, ge=0, description="the so many likeliest items; 0: all of them")
    dim: int = Field(32, ge=4, description="of the item vectors that it starts from")
    hidden: int = Field(64, ge=8)
    steps: int = Field(600, ge=1, description="training steps of the model that is drawn from")
    batch: int = Field(128, ge=1)
    learning_rate: float = Field(3e-3, gt=0)
    rare: float = _RARE


class CopulaSettings(Section):
    """A Gaussian copula over what describes customers in numbers, realised as short histories."""

    customers: int = Field(2000, ge=1, description="customers to make up")
    max_length: int = Field(10, ge=2, description="items of a history at most")
    taste: int = Field(8, ge=1, description="principal coordinates of the text vectors kept")
    min_group: int = Field(
        100, ge=2, description="customers that give a segment or favourite category its own margins"
    )
    tries: int = Field(8, ge=1, description="histories drawn for a customer; the nearest is kept")


class BayesNetSettings(Section):
    """A Bayesian network: segment, category, brand, price band, hour, kind → events."""

    customers: int = Field(2000, ge=1, description="customers to make up")
    max_length: int = Field(10, ge=2, description="items of a history at most")
    max_states: int = Field(60, ge=2, description="values of a column that keep their name")
    max_parents: int = Field(2, ge=1, description="columns that one depends on at most")
    score: Literal["aic", "bic"] = Field(
        "aic", description="what the structure is learnt by; bic keeps fewer dependencies"
    )


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
