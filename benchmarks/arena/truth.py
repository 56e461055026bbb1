"""What a peer's convention gives, in float64: one loop over reaches, upstream first, for each step; nothing of xroute's engine.

Muskingum as McCarthy (1938) has it, with the lateral inflow of David and others (2011): constant over the routing step, at both
of its ends.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import xarray as xr
from numpy.typing import NDArray

import xroute
from arena.problems import DT, Problem, runoff_of

__all__ = ["CONVENTIONS", "Convention", "differences"]


@dataclass(frozen=True)
class Convention:
    """How a peer routes, and in xroute's words."""

    options: dict[str, Any]
    """Options of `xroute.route`; none for sums, which are not routed in time."""
    sums: bool = False
    floor: float = -math.inf
    """What the peer sets lower discharge to."""
    allowed: float = 2e-5
    """Difference, relative to the largest discharge: rounding of float32."""
    has_substeps: bool = True
    """Whether the peer may route in shorter steps than those of runoff and discharge."""
    own: bool = False
    """Whether the truth is xroute's in float64, by the scheme of the peer's ordinates, which tests hold to its arithmetic."""


CONVENTIONS = {
    "river-route": Convention({"lateral": "interval", "sampling": "mean"}, floor=0.0),
    "rapid2": Convention({"lateral": "interval", "sampling": "start-mean"}),
    "earthkit-hydro": Convention({}, sums=True, has_substeps=False),
    "diffroute": Convention({"lateral": "head", "sampling": "mean"}, allowed=5e-2, has_substeps=False),
    "mizuroute": Convention({"lateral": "outlet", "sampling": "mean"}, has_substeps=False, own=True),
    "scipy": Convention({"lateral": "interval", "sampling": "mean"}),
}


@numba.njit(cache=True)
def _muskingum(runoff, below, c1, c2, c3, substeps, at_start, head, flow, inflow, lateral, out):  # type: ignore[no-untyped-def]
    """Discharge of some steps; ``flow``, ``inflow`` and ``lateral`` [reach] of the step before: at the end, of the last."""
    n = below.size
    arriving = np.empty(n)
    for t in range(runoff.shape[0]):
        out[t] = 0.0
        for _ in range(substeps):
            arriving[:] = 0.0
            for i in range(n):
                own = float(runoff[t, i])
                if at_start:
                    out[t, i] += flow[i]
                if head:  # runoff enters with what comes from upstream
                    new = c1[i] * (arriving[i] + own) + c2[i] * (inflow[i] + lateral[i]) + c3[i] * flow[i]
                else:
                    new = c1[i] * arriving[i] + c2[i] * inflow[i] + c3[i] * flow[i] + (c1[i] + c2[i]) * own
                lateral[i] = own
                flow[i] = new
                if not at_start:
                    out[t, i] += new
                if below[i] >= 0:
                    arriving[below[i]] += new
            inflow[:] = arriving
        for i in range(n):
            out[t, i] /= substeps


@numba.njit(cache=True)
def _sums(runoff, below, out):  # type: ignore[no-untyped-def]
    for t in range(runoff.shape[0]):
        for i in range(below.size):
            out[t, i] = runoff[t, i]
        for i in range(below.size):
            if below[i] >= 0:
                out[t, below[i]] += out[t, i]


def _in_float64(problem: Problem, runoff: NDArray[Any], state: Any, how: dict[str, Any]) -> tuple[NDArray[Any], Any]:
    """Discharge of some steps by xroute, on a CPU in float64, and the state at their end."""
    array = xr.DataArray(runoff.astype(float), {"reach": problem.network.ids}, ("time", "reach"), attrs={"units": "m3 s-1"})
    options = {**how, "substeps": problem.substeps, "dt": DT * problem.substeps, "device": "cpu"}
    discharge, state = xroute.route(array, problem.network, initial_state=state, return_state=True, **options)
    return np.array(discharge.transpose("time", "reach")), state


def differences(problem: Problem, convention: Convention, found: dict[str, NDArray[Any]]) -> dict[str, float]:
    """By name, how far discharge (time, reach) is from the truth at most, of the largest one; NaN if it has another shape."""
    n, k, x, half = problem.n, problem.k.astype(float), problem.x.astype(float), DT / 2
    c1, c2, c3 = (c / (k * (1 - x) + half) for c in (half - k * x, half + k * x, k * (1 - x) - half))
    state: Any = None if convention.own else [np.zeros(n) for _ in range(3)]
    largest, worst = 0.0, dict.fromkeys(found, 0.0)
    how = convention.options
    for steps in problem.pieces():
        runoff = runoff_of(problem, steps)
        expected = np.empty(runoff.shape)
        if convention.own:
            expected, state = _in_float64(problem, runoff, state, how)
        elif convention.sums:
            _sums(runoff, problem.below, expected)
        else:
            at_start, head = how["sampling"] == "start-mean", how["lateral"] == "head"
            _muskingum(runoff, problem.below, c1, c2, c3, problem.substeps, at_start, head, *state, expected)
        np.maximum(expected, convention.floor, out=expected)
        largest = max(largest, float(np.abs(expected).max()))
        for name, values in found.items():
            if values.shape != (problem.steps, n):
                worst[name] = math.nan
                continue
            off = np.maximum(values[steps], convention.floor) - expected  # NaN stays NaN
            worst[name] = float(np.maximum(worst[name], np.abs(off, out=off).max()))
    return {name: value / largest for name, value in worst.items()}
