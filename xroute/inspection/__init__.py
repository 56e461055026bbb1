"""What a file holds and what is wrong with it, in words: the reports behind ``xroute info``.

Unlike `xroute.Network`, which refuses at the first problem, an inspection goes on and lists as many as it can.
"""

from __future__ import annotations

from xroute.inspection.catchments import inspect_catchments
from xroute.inspection.folder import inspect_folder
from xroute.inspection.network import inspect_network
from xroute.inspection.report import Report, inspect_other, kind
from xroute.inspection.scores import inspect_scores, inspect_scores_table
from xroute.inspection.series import inspect_series

__all__ = [
    "Report", "inspect_catchments", "inspect_folder", "inspect_network", "inspect_other", "inspect_scores",
    "inspect_scores_table", "inspect_series", "kind",
]  # fmt: skip
