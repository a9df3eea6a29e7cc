"""Alembic's folder: one file a version, oldest first."""
