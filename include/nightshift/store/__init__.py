"""The event store: the Postgres database with the shop's items, users, events, searches, reviews.

Five views in the schema `nightshift` are all that is read of a shop. `nightshift load` fills our
own tables behind them; a shop with tables of its own writes the views over those (`nightshift store
migrate` leaves a view alone that is there already):

    items_v     item_id, title, description, category, brand, price, currency,
                listed_at (null: always listed; a risk of looking ahead, counted)
    users_v     user_id, segment
    events_v    event_id, user_id, item_id,
                kind (impression, view, click, cart, purchase, rating),
                occurred_at, recorded_at (when the store learnt of it; null: at once),
                value (rating, or money paid), quantity, session_id (basket, invoice, visit)
    searches_v  user_id, query, item_id (clicked or bought after it), grade,
                occurred_at (null: always known)
    reviews_v   user_id, item_id, rating, text, occurred_at (null: always known)

Ids are text or can be cast to it, times are timestamptz, money is numeric. A column that the shop
does not have is null. The shop's own row (name, repeats, target kinds) is in `nightshift.shop`, or
comes from the settings.

`engine` reaches the store, `arrow` streams out of it, `schema` migrates it, `loaders` fill it,
`embedded` runs a server of our own when there is none, `pseudonyms` keeps user ids inside.
"""
