"""Trying recipes on an inner night: train once for all that share it, place, judge."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import torch

from nightshift.lake import Lake
from nightshift.recipes import weigh
from nightshift.recommend.choosing.candidates import TRAINS, Candidate, Strategies, kinds
from nightshift.recommend.choosing.recipe import Trial, best_beta
from nightshift.recommend.choosing.validation import Validation
from nightshift.recommend.model import checkpoint
from nightshift.recommend.model.attributes import attribute_codes
from nightshift.recommend.model.features import Floats
from nightshift.recommend.model.id_deltas import IdDeltas
from nightshift.recommend.ranker import ModelRanker
from nightshift.recommend.ranking.followers import followers_of
from nightshift.recommend.samples.arms import sample_rows, training_set
from nightshift.recommend.samples.deltas import fit_sample_deltas
from nightshift.recommend.samples.texts import Embed, ItemTexts, Profiles, embedding
from nightshift.recommend.search.history import best_history, personal_searches
from nightshift.recommend.search.learning import learn_search
from nightshift.recommend.training.parallel import train_model
from nightshift.recommend.training.steps import Plan
from nightshift.recommend.training.windows import Windows
from nightshift.searches import LEAST
from nightshift.settings import Settings
from nightshift.snapshot import Snapshot

log = logging.getLogger("nightshift.tune")

SEED = 0
Trained = tuple[tuple[str, float], ...]
"""Weights of the strategies that take part in training."""


@dataclass
class Trials:
    """What the trials of one inner night share. The control goes first: it sets γ, φ, κ and β."""

    settings: Settings
    scratch: Path
    snapshot: Snapshot
    vectors: Floats  # [items, width]
    accepted: pl.DataFrame
    validation: Validation
    embed: Embed
    gamma: float = 0.0
    follow: float = 0.0
    lean: float = 0.0
    _betas: tuple[float, ...] = field(init=False)
    _models: dict[Trained, checkpoint.Checkpoint] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._betas = self.settings.tune.betas
        self._user_keys = self.snapshot.users["user_key"].to_list()
        self._followers = None
        if any(self.settings.tune.follows):  # counting takes a pass over all events
            self._followers = followers_of(self.snapshot.histories, self.snapshot.items.height)
        self._made = set(self.accepted["strategy"].unique())
        self._kinds = kinds(self.settings)

    def worth_it(self, candidate: Candidate) -> bool:
        """Is there a sample to try? A shop may lack what a strategy needs."""
        lacking = [name for name in candidate.tries if name not in self._made]
        for name in lacking:
            log.info("tune: nothing of %s was accepted: nothing to try", name)
        return not lacking

    def run(self, candidate: Candidate) -> Trial:
        """Train or take what is trained, place the samples, judge."""
        settings, strategies = self.settings, candidate.strategies
        tail = settings.generate.tail_events
        samples = weigh(self.accepted, strategies, self.snapshot.items, tail_events=tail)
        stored = self._trained(samples, strategies)
        profiles = self._place(stored, samples, candidate)
        if not candidate.tries:
            self._choose_serving(stored)
        figures = self.validation.judge(self._ranker(stored, profiles), self._betas)
        trial = Trial(strategies, figures, candidate.tries, candidate.group)
        if not candidate.tries:
            self._betas = (best_beta(trial, settings.tune),)  # the control's, for all
        return trial

    def _ranker(
        self, stored: checkpoint.Checkpoint, profiles: Profiles | None = None, **other: Any
    ) -> ModelRanker:
        """As it is served with what is chosen so far, but for β."""
        return ModelRanker(
            stored,
            self.vectors,
            events=self.snapshot.item_events,
            profiles=profiles,
            user_keys=self._user_keys,
            followers=self._followers,
            **(
                {"beta": 0.0, "gamma": self.gamma, "follow": self.follow, "lean": self.lean} | other
            ),
        )

    def _trained(self, samples: pl.DataFrame, strategies: Strategies) -> checkpoint.Checkpoint:
        """A model from nothing, the same for all candidates that train on the same."""
        key: Trained = tuple(
            (name, chosen["weight"])
            for name, chosen in sorted(strategies.items())
            if self._kinds[name] in TRAINS and chosen["weight"] and name in self._made
        )
        if key not in self._models:
            self._models[key] = self._train(samples, [name for name, _ in key])
        return self._models[key]

    def _train(self, samples: pl.DataFrame, names: list[str]) -> checkpoint.Checkpoint:
        finetune = self.settings.finetune
        items = self.snapshot.items["item_id"].to_list()
        attributes = attribute_codes(self.snapshot.items)
        stored = checkpoint.fresh(
            finetune.model, self.vectors, items, seed=SEED, attributes=attributes
        )
        train_model(
            self.settings,
            self.scratch,
            stored.model,
            IdDeltas(stored.deltas),
            torch.from_numpy(stored.features(self.vectors)),
            training_set(self.snapshot, samples, max_length=finetune.model.max_length),
            Plan(
                self.settings.tune.steps,
                finetune.learning_rate,
                finetune.batch,
                finetune.negatives,
                SEED,
                label=f"tune with {' and '.join(names)}" if names else "tune the control",
                sequences=finetune.sequence_batch,
                full_softmax=finetune.full_softmax,
            ),
            attributes=stored.attributes,
        )
        return stored

    def _place(
        self, stored: checkpoint.Checkpoint, samples: pl.DataFrame, candidate: Candidate
    ) -> Profiles | None:
        """What does not train the model: deltas and texts of items, profiles of customers."""
        finetune = self.settings.finetune
        length = finetune.model.max_length
        stored.texts = ItemTexts.of(self.snapshot, self.vectors, samples, self.embed)
        fit_sample_deltas(
            stored,
            torch.from_numpy(stored.features(self.vectors)),
            Windows.cover(self.snapshot.histories, length),
            sample_rows(self.snapshot, samples, max_length=length),
            lean=self.lean,
            events=self.snapshot.item_events,
            steps=finetune.sample_steps,
            rate=finetune.learning_rate,
            seed=SEED,
            label=f"tune {described(candidate)}",
        )
        return Profiles.of(samples, self.embed)

    def history_weight(self, searches: pl.DataFrame) -> float:
        """The weight of recommendations in a customer's search, of the control after it ran.

        Args:
            searches: those of the inner night.
        """
        if len(personal_searches(self.snapshot, searches)[0]) < LEAST:
            return 0.0
        stored = self._models[()]
        features = stored.features(self.vectors)
        search, _ = learn_search(
            stored,
            features,
            self.vectors,
            self.snapshot,
            self.accepted.clear(),
            Lake.of(self.settings),
            self.settings,
            seed=SEED,
        )
        ranker = self._ranker(stored, beta=self._betas[0], search=search)
        return best_history(
            ranker, self.snapshot, searches, embedding(Lake.of(self.settings), self.settings)
        )

    def _choose_serving(self, stored: checkpoint.Checkpoint) -> None:
        """γ, what follows, the leaning, in turn: by the control's best overall NDCG@10 each.

        The smallest of equals.
        """
        tune = self.settings.tune
        if self.snapshot.shop.repeats:
            self.gamma = max(tune.gammas, key=lambda g: (self._merit(stored, (0.0,), gamma=g), -g))
        if len(tune.follows) > 1 or tune.follows[0]:
            self.follow = max(
                tune.follows, key=lambda f: (self._merit(stored, tune.betas, follow=f), -f)
            )
        if len(tune.leans) > 1 or tune.leans[0]:
            self.lean = max(
                tune.leans, key=lambda lean: (self._merit(stored, tune.betas, lean=lean), -lean)
            )

    def _merit(
        self, stored: checkpoint.Checkpoint, betas: tuple[float, ...], **tried: float
    ) -> float:
        """Overall NDCG@10 at the best of these βs, summed: there for no users as well."""
        figures = self.validation.judge(self._ranker(stored, None, **tried), betas)
        return max(float(each["overall"].sum()) for each in figures.values())


def described(candidate: Candidate) -> str:
    """`text_neighbours 0.1 short`: what a trial switches on."""
    parts = [
        " ".join(str(value) for value in (name, *candidate.strategies[name].values()))
        for name in candidate.tries
    ]
    return ", ".join(parts) or "without samples"
