"""The assets of Nightshift: what other DAGs may wait for, and what nights may wait for.

Their scheme is our own ("x-nightshift"), which Airflow leaves alone. Each event's `extra` names the
night; those that we emit say where its dataset lies as well.
"""

from airflow.sdk import Asset

EVENTS = Asset(name="nightshift_events", uri="x-nightshift://store/events")
"""In: the shop's own loading says that a night's events are in the store."""
SNAPSHOT = Asset(name="nightshift_snapshot", uri="x-nightshift://lake/snapshot")
ACCEPTED = Asset(name="nightshift_accepted_samples", uri="x-nightshift://lake/inspection")
MODEL = Asset(name="nightshift_model", uri="x-nightshift://lake/state")
RECOMMENDATIONS = Asset(
    name="nightshift_recommendations", uri="x-nightshift://lake/recommendations"
)
