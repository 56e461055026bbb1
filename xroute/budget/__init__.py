"""`budget`: where the water of a run went, by basin and in all.

Runoff and discharge are summed as they are given. What rivers store is worked out from states; where the budget needs what nobody
has kept (the state at the end, every step's storage, means of steps of which discharge holds one value), the run is routed again.
No term is found by closing the budget, so that the residual is a check. Where water counts: `xroute.budget.accounts`.
"""

from xroute.budget.public import budget

__all__ = ["budget"]
