"""Pictures of rivers: maps, hydrographs, profiles, animations, overviews, calibrations, budgets, scores and footprints.

Each function draws on an Axes, or makes one, and returns what it drew on; matplotlib is imported only when one is
called. Colours are safe for colour-blind readers: viridis for amounts, Okabe and Ito (2008) for gauges.
"""

from __future__ import annotations

from xroute.plotting.animation import animate
from xroute.plotting.budget import plot_budget
from xroute.plotting.calibration import plot_calibration
from xroute.plotting.footprints import plot_footprint
from xroute.plotting.hydrographs import plot_hydrographs
from xroute.plotting.interactive import explore
from xroute.plotting.maps import plot_network
from xroute.plotting.overview import choose_gauges, overview
from xroute.plotting.profiles import plot_profile
from xroute.plotting.scores import plot_score_map, plot_scores

__all__ = [
    "animate", "choose_gauges", "explore", "overview", "plot_budget", "plot_calibration", "plot_footprint", "plot_hydrographs",
    "plot_network", "plot_profile", "plot_score_map", "plot_scores",
]  # fmt: skip
