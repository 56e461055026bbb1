"""`scores`: how well discharge is simulated, against observations and beside benchmarks, labelled by gauge.

What the package ``scores`` has (NSE, KGE and its parts, percent bias, RMSE, MAE, correlation) comes from it; what it lacks stands
here. `xroute.scores.matching` (`places`, `steps`) says which value is compared with which, `measures` what is made of the pairs,
`flows` and `peaks` hold the hydrological ones, `benchmarks` what a simulation is set beside, `table` makes one Dataset of all.
"""

from xroute.scores.benchmarks import climatology, skill, unrouted
from xroute.scores.flows import flow_duration
from xroute.scores.hydrological import fhv, flv, peak_error, peak_timing
from xroute.scores.single import correlation, kge, log_nse, mae, nse, pbias, rmse
from xroute.scores.table import scores
from xroute.scores.text import scores_text

__all__ = [
    "climatology", "correlation", "fhv", "flow_duration", "flv", "kge", "log_nse", "mae", "nse", "pbias", "peak_error",
    "peak_timing", "rmse", "scores", "scores_text", "skill", "unrouted",
]  # fmt: skip

# `import xroute; xroute.scores` is the function, so that what else is in here is to be had from it, too
vars(scores).update({name: globals()[name] for name in __all__ if name != "scores"})
