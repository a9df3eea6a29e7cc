"""How like real behaviour made-up sequences are: distances to histories that nobody trained on.

Three questions, each with measures of its own: do single figures have the right distribution
(marginals), do they go together in the right way (pairs), and does one item follow another as in
life (order)? Then one that asks everything at once: can a classifier tell them from real ones?
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.spatial.distance import jensenshannon
from scipy.stats import ks_2samp

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

TASTE = 6
"""Principal directions of the item vectors that a sequence's taste is told in."""
GROUPS = 40
FOLDS = 5


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What a sequence's items are described by; arrays are by item code."""

    category: Ints  # [items]; groups of like texts where the shop has no categories
    price: Floats  # [items] log price, its mean where there is none
    popularity: Floats  # [items] log(1 + events before the night)
    taste: Floats  # [items, TASTE]

    @classmethod
    def of(cls, items: pl.DataFrame, vectors: npt.NDArray[np.float32]) -> Catalogue:
        names = items["category"].fill_null("")
        distinct = names.unique().sort()
        codes = names.replace_strict(distinct, np.arange(len(distinct)), return_dtype=pl.Int64)
        category = codes.to_numpy() if len(distinct) > 1 else _groups(vectors)
        price = np.log1p(np.maximum(items["price"].cast(pl.Float64).to_numpy().copy(), 0))
        price[np.isnan(price)] = 0.0 if np.isnan(price).all() else np.nanmean(price)
        known = vectors[items["events"].to_numpy() > 0].astype(np.float64)
        centred = known - known.mean(axis=0)
        directions = np.linalg.eigh(centred.T @ centred)[1][:, ::-1][:, :TASTE]
        taste = (vectors - known.mean(axis=0)) @ directions
        popularity = np.log1p(items["events"].to_numpy().astype(np.float64))
        return cls(category, price, popularity, taste / taste.std(axis=0))


def _groups(vectors: npt.NDArray[np.float32]) -> Ints:
    """Groups of like items, for a shop that has no categories: k-means on their texts."""
    from sklearn.cluster import KMeans

    found = KMeans(GROUPS, n_init=1, random_state=0).fit_predict(vectors)
    groups: Ints = found.astype(np.int64)
    return groups


@dataclass(frozen=True, slots=True)
class Sequences:
    """Sequences of item codes, one behind the other."""

    indptr: Ints  # [sequences + 1]
    items: Ints  # [all]

    def __len__(self) -> int:
        return len(self.indptr) - 1

    @property
    def lengths(self) -> Ints:
        return np.diff(self.indptr)

    @property
    def rows(self) -> Ints:
        return np.repeat(np.arange(len(self)), self.lengths)

    def pairs(self) -> tuple[Ints, Ints]:
        """Every item and the one behind it."""
        inside = self.rows[1:] == self.rows[:-1]
        return self.items[:-1][inside], self.items[1:][inside]

    def take(self, chosen: Ints) -> Sequences:
        lengths = self.lengths[chosen]
        indptr = np.concatenate([[0], np.cumsum(lengths)])
        flat = np.arange(indptr[-1]) - np.repeat(indptr[:-1] - self.indptr[chosen], lengths)
        return Sequences(indptr, self.items[flat])


def independent(fit: Sequences, like: Ints, n_items: int, seed: int) -> Sequences:
    """The baseline: real lengths, and every item drawn alone from how often items occur."""
    rng = np.random.default_rng([seed, 1])
    lengths = rng.choice(like, len(like))
    share = np.bincount(fit.items, minlength=n_items) / len(fit.items)
    return Sequences(
        np.concatenate([[0], np.cumsum(lengths)]), rng.choice(n_items, lengths.sum(), p=share)
    )


def features(sequences: Sequences, catalogue: Catalogue) -> Floats:
    """What describes a sequence as a whole, in numbers: [sequences, features]."""
    rows, counts = sequences.rows, np.maximum(sequences.lengths, 1).astype(np.float64)

    def mean(values: Floats) -> Floats:
        return np.bincount(rows, weights=values, minlength=len(sequences)) / counts

    items = sequences.items
    columns = [counts]
    for values in (catalogue.price[items], catalogue.popularity[items]):
        average = mean(values)
        spread = np.sqrt(np.maximum(mean(values**2) - average**2, 0))
        columns += [average, spread]
    taste = catalogue.taste[items]
    means = np.stack([mean(taste[:, k]) for k in range(TASTE)], axis=1)
    columns += [means[:, k] for k in range(TASTE)]
    # How wide a taste is: the mean squared distance of its items from their centre.
    columns.append(mean(((taste - means[rows]) ** 2).sum(axis=1)))
    columns.append(_distinct(rows, items, len(sequences)) / counts)
    columns.append(_distinct(rows, catalogue.category[items], len(sequences)) / counts)
    return np.stack(columns, axis=1)


def _distinct(rows: Ints, values: Ints, n: int) -> Floats:
    width = int(values.max(initial=0)) + 1
    owners = np.unique(rows * width + values) // width
    return np.bincount(owners, minlength=n).astype(np.float64)


def order_features(sequences: Sequences, catalogue: Catalogue) -> Floats:
    """How an item goes with the one in front of it: [sequences, features]."""
    rows = sequences.rows
    inside = rows[1:] == rows[:-1]
    before, after = sequences.items[:-1][inside], sequences.items[1:][inside]
    owner = rows[1:][inside]
    counts = np.maximum(np.bincount(owner, minlength=len(sequences)), 1)

    def mean(values: Floats) -> Floats:
        return np.bincount(owner, weights=values, minlength=len(sequences)) / counts

    step = ((catalogue.taste[before] - catalogue.taste[after]) ** 2).sum(axis=1)
    same = (catalogue.category[before] == catalogue.category[after]).astype(np.float64)
    jump = np.abs(catalogue.popularity[before] - catalogue.popularity[after])
    price = np.abs(catalogue.price[before] - catalogue.price[after])
    return np.stack([mean(step), mean(same), mean(jump), mean(price)], axis=1)


def measure(
    made: Sequences, real: Sequences, catalogue: Catalogue, *, seed: int
) -> dict[str, float]:
    """Every measure of `made` against `real`, sequences nobody trained on. Small is good.

    Exceptions are `pairs_known` (more is better) and `auc` (0.5 is best, 1 is told apart).
    """
    n_items, n_categories = len(catalogue.category), int(catalogue.category.max()) + 1
    a, b = features(made, catalogue), features(real, catalogue)
    out = {
        "item_js": _js(made.items, real.items, n_items),
        "category_js": _js(
            catalogue.category[made.items], catalogue.category[real.items], n_categories
        ),
        "length_ks": _ks(made.lengths, real.lengths),
        "popularity_ks": _ks(catalogue.popularity[made.items], catalogue.popularity[real.items]),
        "price_ks": _ks(catalogue.price[made.items], catalogue.price[real.items]),
        "figures_ks": float(np.mean([_ks(a[:, k], b[:, k]) for k in range(a.shape[1])])),
        "correlation": _correlation_gap(a, b),
        "category_pairs": _pairs_gap(made, real, catalogue.category, n_categories),
        "transitions_js": _transitions(made, real, catalogue.category, n_categories),
        "pairs_known": _pairs_known(made, real, n_items),
        "distinct": len(np.unique(made.items)) / max(len(np.unique(real.items)), 1),
        "coverage": float(np.isin(np.unique(real.items), made.items).mean()),
        "auc": two_sample_auc(
            np.hstack([a, order_features(made, catalogue)]),
            np.hstack([b, order_features(real, catalogue)]),
            seed=seed,
        ),
    }
    return {name: round(float(value), 4) for name, value in out.items()}


def _js(made: Ints, real: Ints, n: int) -> float:
    """Jensen-Shannon divergence in bits (Lin, 1991), 0 to 1."""
    p, q = np.bincount(made, minlength=n), np.bincount(real, minlength=n)
    return float(jensenshannon(p, q, base=2) ** 2)


def _ks(made: npt.NDArray[np.generic], real: npt.NDArray[np.generic]) -> float:
    """The largest distance of two distribution functions (Kolmogorov, 1933; Smirnov, 1948)."""
    return float(ks_2samp(made, real).statistic)


def _correlation_gap(made: Floats, real: Floats) -> float:
    """Mean absolute difference of the Spearman correlations of all pairs of figures."""
    upper = np.triu_indices(made.shape[1], 1)
    return float(np.nanmean(np.abs(_spearman(made)[upper] - _spearman(real)[upper])))


def _spearman(values: Floats) -> Floats:
    ranks = np.argsort(np.argsort(values, axis=0, kind="stable"), axis=0).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Floats = np.corrcoef(ranks, rowvar=False)
    return found


def _pairs_gap(made: Sequences, real: Sequences, category: Ints, n: int) -> float:
    """Mean absolute difference of the correlations of "has something of category c", c by c.

    Categories that fewer than one in a hundred real sequences have say nothing, and are left out.
    """
    presence = []
    for sequences in (made, real):
        table = np.zeros((len(sequences), n))
        table[sequences.rows, category[sequences.items]] = 1
        presence.append(table)
    common = presence[1].mean(axis=0) >= 0.01
    with np.errstate(invalid="ignore", divide="ignore"):
        gap = np.abs(
            np.nan_to_num(np.corrcoef(presence[0][:, common], rowvar=False))
            - np.nan_to_num(np.corrcoef(presence[1][:, common], rowvar=False))
        )
    return float(gap[np.triu_indices(len(gap), 1)].mean())


def _transitions(made: Sequences, real: Sequences, category: Ints, n: int) -> float:
    """Jensen-Shannon divergence of "this category, then that one"."""
    tables = []
    for sequences in (made, real):
        before, after = sequences.pairs()
        tables.append(category[before] * n + category[after])
    return _js(tables[0], tables[1], n * n)


def _pairs_known(made: Sequences, real: Sequences, n_items: int) -> float:
    """Share of neighbouring pairs that some real customer had in a sequence as well."""
    before, after = made.pairs()
    first, second = [], []
    rows = real.rows
    for gap in range(1, int(real.lengths.max(initial=1))):
        inside = rows[gap:] == rows[:-gap]
        first.append(real.items[:-gap][inside])
        second.append(real.items[gap:][inside])
    one, two = np.concatenate(first), np.concatenate(second)
    wanted = np.unique(np.minimum(one, two) * n_items + np.maximum(one, two))
    pair = np.minimum(before, after) * n_items + np.maximum(before, after)
    different = before != after
    return float(np.isin(pair[different], wanted).mean()) if different.any() else 0.0


def two_sample_auc(made: Floats, real: Floats, *, seed: int) -> float:
    """How well a classifier tells the two apart (Lopez-Paz & Oquab, 2017), cross-validated.

    Boosted trees over the figures of a sequence; as many of one as of the other.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    rng = np.random.default_rng([seed, 2])
    n = min(len(made), len(real))
    values = np.vstack([made[rng.permutation(len(made))[:n]], real[rng.permutation(len(real))[:n]]])
    labels = np.repeat([0, 1], n)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    model = HistGradientBoostingClassifier(max_iter=100, random_state=seed)
    chance = cross_val_predict(model, values, labels, cv=folds, method="predict_proba")[:, 1]
    return float(roc_auc_score(labels, chance))
