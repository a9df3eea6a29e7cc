"""What every model is judged beside: simple rankers, each with one rule fixed beforehand.

They know what the models know: the snapshot before start. A user without a history gets the
popular items of the last seven days from each of them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from nightshift.evaluate.baselines.item_knn import ItemKnn
from nightshift.evaluate.baselines.personal_frequency import PersonalFrequency
from nightshift.evaluate.baselines.popularity import Popularity
from nightshift.evaluate.baselines.text_knn import TextKnn
from nightshift.ranking import Ranker
from nightshift.snapshot import Snapshot

POPULARITY, ITEM_KNN, TEXT_KNN = "popularity_7d", "item_knn", "text_knn"
PERSONAL = "personal_frequency"
BASELINES = (POPULARITY, ITEM_KNN, TEXT_KNN, PERSONAL)


def baselines(snapshot: Snapshot, vectors: npt.NDArray[np.float32]) -> Iterator[tuple[str, Ranker]]:
    """Each baseline of this shop with its name, made when it is asked for."""
    popularity = Popularity.of(snapshot)
    yield POPULARITY, popularity
    yield ITEM_KNN, ItemKnn(snapshot.histories, popularity.prior)
    yield TEXT_KNN, TextKnn(vectors, popularity.prior)
    if snapshot.shop.repeats:
        yield PERSONAL, PersonalFrequency(popularity.prior)


__all__ = ["BASELINES", "ItemKnn", "PersonalFrequency", "Popularity", "TextKnn", "baselines"]
