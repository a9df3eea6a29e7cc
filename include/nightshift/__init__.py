"""Nightshift: the night crew of an online shop.

The library behind the DAGs. Every stage of a night is a folder; `nightshift.stages` runs one,
`nightshift.cli` is the same from a shell. Nothing in here imports Airflow.
"""

__version__ = "0.1.0"
