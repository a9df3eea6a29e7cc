"""A stage's pod: what it is made of, what became of it, and what was left behind."""
