"""One idea a file: pure functions over Polars expressions and numpy arrays."""
