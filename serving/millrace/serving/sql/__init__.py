"""SQL APIs: filters, groups and aggregates over an asset, as a tree that a store's own SQL is compiled from.

    tree or builder ─▶ parse ─▶ plan ─▶ compile ─▶ execute
       JSON            typed    against   a dialect's  the reader of
                       nodes    the API   statement    the store

All stages but the last are pure. Values never become text: they are bound by the store.
"""
