"""The registry: verdicts, the live alias, rollback, model cards."""
