"""Evaluation: the arms on the morning after, paired, per slice, with intervals."""
