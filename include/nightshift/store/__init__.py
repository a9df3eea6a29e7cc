"""The event store: the Postgres database with the shop's items, users, events, searches, reviews.

`engine` reaches it, `schema` migrates it, `loaders` fill it, `embedded` runs a server of our own
when there is none, `pseudonyms` keeps user ids inside.
"""
