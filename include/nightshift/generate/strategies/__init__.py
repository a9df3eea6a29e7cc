"""The strategies by name: ours, and those of installed packages (`nightshift.strategies`)."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from nightshift.errors import SettingsError

if TYPE_CHECKING:  # the settings ask for the names: nothing heavy may hang on them
    from nightshift.generate.sources import Sources
    from nightshift.generate.strategies.base import Strategy

ENTRY_POINTS = "nightshift.strategies"

_PACKAGE = "nightshift.generate.strategies"
_BY_A_MODEL = {  # name -> module:class; a language model writes them
    "back_translation": "back_translation:BackTranslation",
    "llm_ad_copy": "llm_ad_copy:LlmAdCopy",
    "llm_descriptions": "llm_descriptions:LlmDescriptions",
    "llm_history": "llm_history:LlmHistory",
    "llm_preferences": "llm_preferences:LlmPreferences",
    "llm_profiles": "llm_profiles:LlmProfiles",
    "llm_queries": "llm_queries:LlmQueries",
    "llm_reviews": "llm_reviews:LlmReviews",
}
_OURS = _BY_A_MODEL | {
    "bayes_net": "bayes_net:BayesNet",
    "behaviour_gan": "behaviour_gan:BehaviourGan",
    "behaviour_vae": "behaviour_vae:BehaviourVae",
    "copula": "copula:Copula",
    "description_fusion": "description_fusion:DescriptionFusion",
    "negatives": "negatives:Negatives",
    "random_pairs": "random_pairs:RandomPairs",
    "seq_generator": "seq_generator:SeqGenerator",
    "sequence_ops": "sequence_ops:SequenceOps",
    "synonyms": "synonyms:Synonyms",
    "text_neighbours": "text_neighbours:TextNeighbours",
    "upsample": "upsample:Upsample",
}


def strategy_names() -> list[str]:
    """Every strategy that can be named in `generate.strategies`."""
    return sorted({*_OURS, *(point.name for point in entry_points(group=ENTRY_POINTS))})


def is_ours(name: str) -> bool:
    """Is it one of ours, not an installed package's?"""
    return name in _OURS


def needs_model(name: str) -> bool:
    """Does a language model write its samples? Of an installed strategy it is taken to be so."""
    return name in _BY_A_MODEL or name not in _OURS


def strategy_class(name: str) -> type[Strategy]:
    """The class behind a name; ours win over an installed package's.

    Raises:
        SettingsError: there is none, or what is installed is not a strategy.
    """
    if name in _OURS:
        module, _, attribute = _OURS[name].partition(":")
        found: object = getattr(import_module(f"{_PACKAGE}.{module}"), attribute)
    else:
        points = entry_points(group=ENTRY_POINTS, name=name)
        if not points:
            raise SettingsError(
                f"There is no strategy {name!r}.",
                hint=f"generate.strategies takes {', '.join(strategy_names())}",
            )
        found = next(iter(points)).load()
    from nightshift.generate.strategies.base import Strategy

    if not (isinstance(found, type) and issubclass(found, Strategy)):
        raise SettingsError(
            f"What is installed as strategy {name!r} is not a Strategy: {found!r}.",
            hint="let it derive from nightshift.generate.strategies.base.Strategy",
        )
    return found


def produced_kind(name: str) -> str:
    """The kind of sample that a strategy makes, one of contracts.SAMPLE_KINDS.

    Raises:
        SettingsError: there is no such strategy.
    """
    return strategy_class(name).produces


def create_strategy(name: str, sources: Sources) -> Strategy:
    """The strategy, reading these sources."""
    return strategy_class(name)(sources)
