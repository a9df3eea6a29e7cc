"""Blend: real rows and accepted samples become one training set per arm."""
