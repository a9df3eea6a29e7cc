"""Customers as rows of columns: the copula, the Bayesian network, and histories made of both."""
