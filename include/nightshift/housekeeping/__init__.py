"""Housekeeping: what stays in the lake, and what goes. Mark and sweep.

    inventory    what lies there: every dataset and every folder without a manifest, by listing
    keep         what is kept, and why; what the nights to come reach from it
    sweep        the rest, removed so that a kill at any point is mended by the next run
    caches       what is no dataset: chunks, scratch, local copies, old leases
    accounts     what was done, as a table and as JSON

Nothing of `registry/` is ever touched.
"""

from nightshift.housekeeping.accounts import Accounts
from nightshift.housekeeping.run import housekeep

__all__ = ["Accounts", "housekeep"]
