"""Search with a stored model: words, meaning and what was learnt of searches."""
