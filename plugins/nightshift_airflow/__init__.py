"""What of Nightshift must know Airflow: the stage operator, the night of a run, the local stack.

The library under `nightshift` imports no Airflow; a stage cannot tell who runs it.
"""
