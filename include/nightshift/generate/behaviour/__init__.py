"""What the strategies that make up customers share: stretches, conditions, vectors, models.

A made-up customer is a stretch of a history that nobody had. A model learns from stretches of real
histories; what a stretch is like (its condition) is drawn from the shop, the items by the model.
"""
