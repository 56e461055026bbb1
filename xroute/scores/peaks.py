"""Peaks: when the highest flows come, and how high they are. Functions of plain arrays; NaN stands where there is no pair."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["peak_errors"]

Float = NDArray[np.float64]


def peak_errors(
    simulated: Float, observed: Float, times: Float, window: float | None, events: int
) -> tuple[Float, Float]:
    """How much later the simulated peaks come, and by which share of the observed ones they are higher.

    Parameters
    ----------
    simulated, observed : float64 [case, time]
        Pairs, NaN where there is none.
    times : float64 [time]
        When, in seconds or in steps, ascending.
    window
        How far from an observed peak its simulated one is looked for, in the same; None for anywhere.
    events
        How many of the highest observed peaks are looked at, at least ``window`` apart.

    Returns
    -------
    later : float64 [case]
        Mean over the events; NaN where there is none.
    higher : float64 [case]
        Mean of (simulated - observed) / observed.
    """
    case = np.arange(observed.shape[0])
    high_o = np.where(np.isnan(observed), -np.inf, observed)
    high_s = np.where(np.isnan(simulated), -np.inf, simulated)
    candidates = _summits(high_o) if events > 1 else high_o
    later, higher, count = np.zeros(case.size), np.zeros(case.size), np.zeros(case.size)
    for event in range(events):
        among = high_o if event == 0 else candidates
        peak = among.argmax(axis=1)
        found = np.isfinite(among[case, peak])
        near = np.ones(observed.shape, bool) if window is None else np.abs(times - times[peak][:, None]) <= window
        answer = np.where(near, high_s, -np.inf).argmax(axis=1)
        top, its = observed[case, peak], simulated[case, answer]
        found &= top > 0
        later += np.where(found, times[answer] - times[peak], 0.0)
        higher += np.where(found, (its - top) / np.where(found, top, 1.0), 0.0)
        count += found
        candidates = np.where(near, -np.inf, candidates)
    some = count > 0
    count = np.where(some, count, np.nan)
    return later / count, higher / count


def _summits(values: Float) -> Float:
    """Values [case, time] that are at least as high as those before and after them; -inf elsewhere, and at both ends."""
    inside = (values[:, 1:-1] >= values[:, :-2]) & (values[:, 1:-1] >= values[:, 2:])
    higher = (values[:, 1:-1] > values[:, :-2]) | (values[:, 1:-1] > values[:, 2:])
    found = np.full(values.shape, -np.inf)
    found[:, 1:-1] = np.where(inside & higher, values[:, 1:-1], -np.inf)
    return found
