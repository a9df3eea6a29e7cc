"""Snapshot → samples: the plan, its shards, language models (`engines`), `strategies`."""
