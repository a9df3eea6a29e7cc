"""Customers as prompts show them, and judges of what they would take."""
