"""Choosing a recipe on an inner night."""
