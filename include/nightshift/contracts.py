"""Every dataset that crosses a seam: names, files, Arrow schemas, units.

Times are UTC microseconds, money is in the shop's currency, `user_key` is a keyed pseudonym
(never the shop's user id), ids are text. A column that a shop does not have is null.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

TIME = pa.timestamp("us", tz="UTC")
STRING = pa.large_string()
STRINGS = pa.large_list(STRING)

EVENT_KINDS = ("impression", "view", "click", "cart", "purchase", "rating")
SAMPLE_KINDS = (
    "query",
    "review",
    "description",
    "ad_copy",
    "profile",
    "interaction",
    "sequence",
    "negative",
)

# --- snapshot: what the event store held before night.start ----------------------------------

EVENTS = pa.schema(
    [
        ("user_key", STRING),
        ("item_id", STRING),
        ("kind", STRING),  # one of EVENT_KINDS
        ("occurred_at", TIME),
        ("value", pa.float64()),  # rating, or money paid; null when there is none
        ("quantity", pa.float64()),
        ("session_id", STRING),  # basket, invoice or visit
        ("tie", pa.int64()),  # seeded shuffle inside equal times of one user: sort by (time, tie)
    ]
)

ITEMS = pa.schema(  # sorted by item_id: the row number is the item's code
    [
        ("item_id", STRING),
        ("title", STRING),
        ("description", STRING),
        ("category", STRING),
        ("brand", STRING),
        ("price", pa.float64()),
        ("price_band", STRING),  # low, mid, high: terciles within the category
        ("listed_at", TIME),
        ("text", STRING),  # cleaned title, brand, category, description: what the encoder reads
        ("withheld", pa.bool_()),  # its events were removed from everything that learns
        ("events", pa.int64()),  # target events before start
        ("users", pa.int64()),  # distinct users of those
        ("last_event", TIME),
        ("events_7d", pa.int64()),  # of those, in the 7 days before start
    ]
)

USERS = pa.schema(  # sorted by user_key: the row number is the user's code
    [
        ("user_key", STRING),
        ("segment", STRING),  # what the shop says of the user, if anything
        ("events", pa.int64()),
        ("items", pa.int64()),
        ("first_event", TIME),
        ("last_event", TIME),
        ("top_categories", STRINGS),  # up to three, most frequent first
        ("price_band", STRING),
    ]
)

SEARCHES = pa.schema(
    [
        ("user_key", STRING),
        ("query", STRING),
        ("item_id", STRING),  # the item clicked or bought after it; null when none
        ("grade", pa.float64()),  # graded relevance where the shop has it
        ("occurred_at", TIME),
    ]
)

REVIEWS = pa.schema(
    [
        ("user_key", STRING),
        ("item_id", STRING),
        ("rating", pa.float64()),
        ("text", STRING),
        ("occurred_at", TIME),
    ]
)

# --- samples ----------------------------------------------------------------------------------

SAMPLES = pa.schema(
    [
        ("sample_id", STRING),  # content hash: same sample, same id
        ("kind", STRING),  # one of SAMPLE_KINDS
        ("strategy", STRING),
        # The target of an interaction, the last of a sequence, what a text is about, the negative
        # item; null for a profile.
        ("item_id", STRING),
        # Whose history it is: null for texts about items, and for customers that were made up.
        ("user_key", STRING),
        ("context_items", STRINGS),  # oldest first: what is in front of `item_id`
        ("text", STRING),
        ("label", pa.float64()),  # 1 positive, 0 negative, a rating for reviews
        ("weight", pa.float64()),
        ("scores", STRING),  # JSON object of floats: similarity, log-probability …
        ("lineage", STRING),  # JSON object: version, engine, model, prompt, seed, sources …
        ("night", STRING),
        ("shard", STRING),
    ]
)

QUARANTINE = SAMPLES.append(pa.field("reasons", STRINGS))  # names of the failed checks

TARGETS = pa.schema(  # plan: what is short of samples
    [
        ("target_id", pa.int64()),
        ("strategy", STRING),
        ("item_id", STRING),
        ("user_key", STRING),  # for strategies that work by user
        ("shortage", pa.float64()),  # 1 for none at all, towards 0 for enough
        ("budget", pa.int64()),  # samples wanted for this target
        ("shard", STRING),  # text_neighbours-000
        ("chunk", pa.int64()),
    ]
)

# --- evaluation -------------------------------------------------------------------------------

USER_METRICS = pa.schema(  # one row per (arm, seed, user, slice, metric)
    [
        ("arm", STRING),
        ("seed", pa.int64()),
        ("user_key", STRING),
        ("slice", STRING),
        ("metric", STRING),  # ndcg@10, recall@10, mrr
        ("value", pa.float64()),
    ]
)

RECOMMENDATIONS = pa.schema(
    [
        ("user_key", STRING),
        ("rank", pa.int32()),  # 1 is best
        ("item_id", STRING),
        ("score", pa.float32()),
        # Why (recommend.explain); null where it was not asked (score.explain).
        ("because", STRINGS),  # items of the user's history that carried it, the most first
        ("words", STRINGS),  # what its text has in common with theirs
        ("shares", STRING),  # JSON object: each term's share of what sets it above the mean item
    ]
)


@dataclass(frozen=True, slots=True)
class ResultRow:
    """One figure, in the one shape that reports, `--json` and benchmarks share.

    A row with `against` is a paired difference (`value`); `relative` is value / the other arm's
    mean and `ci95` the 95 % interval of `relative`. `n` counts users (or queries).
    `value_ci95` bounds `value`: it is there also when the other arm's mean is 0.
    """

    arm: str
    slice: str
    metric: str
    value: float
    n: int
    against: str | None = None
    relative: float | None = None
    ci95: tuple[float, float] | None = None
    seed: int | None = None
    value_ci95: tuple[float, float] | None = None


SLICES = (
    "overall",  # every item of the natural catalogue (withheld items are not in it)
    "warm",  # items with more than tail_events target events before start
    "tail",  # items with 1 to tail_events
    "cold",  # items with none, the withheld ones among them
    "new_users",  # users without any event before start
    "repeat",  # items that the user had before
    "new",  # items that the user never had
    "head_queries",
    "tail_queries",
)
