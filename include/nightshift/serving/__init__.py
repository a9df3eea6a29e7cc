"""The server of the live model: what it holds, how it follows the alias, what it answers."""
