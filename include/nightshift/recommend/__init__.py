"""The recommender: model, training, tuning, refreshing, ranking, scoring.

`ranker` is the public face for other stages; the rest is this room's own.
"""
