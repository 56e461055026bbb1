"""Windows: how many taps of a long response are kept, and how what is cut off is given back."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from xroute.exceptions import ParameterError, some
from xroute.schemes.base import Float, Scheme
from xroute.schemes.registry import SCHEMES

if TYPE_CHECKING:
    import torch

__all__ = ["MAX_TAPS", "TAIL", "find_windows", "give_back"]

MAX_TAPS = 2048
"""Longest window of a scheme with finite memory, in routing steps."""
TAIL = 1e-6
"""Share of a reach's mass that a window may leave out, before it is given back (`give_back`)."""


def find_windows(
    scheme: Scheme, dt: float, values: Mapping[str, Any], ids: NDArray[Any], max_taps: int
) -> NDArray[np.int64]:
    """Fewest taps [reach] with all but `TAIL` of the mass, by bisection, and some beyond the mean.

    Raises
    ------
    ParameterError
        Naming the reaches whose response is longer than ``max_taps``.
    """
    assert scheme.window is not None
    arrays = {name: v.detach().cpu().numpy() for name, v in values.items()}
    least = np.ones(ids.size)
    if scheme.window.mean is not None:  # what is given back stands at least half a step after the mean
        mean: Float = scheme.window.mean(dt, **{name: v.detach() for name, v in values.items()}).cpu().numpy()
        least = np.floor(mean + 0.5) + 2
    if scheme.window.length is not None:
        least = np.fmax(scheme.window.length(dt, **arrays), least)
        _refuse_long(scheme, dt, least > max_taps, ids, max_taps)
        return least.astype(np.int64)
    assert scheme.window.mass_within is not None
    mass_within = partial(scheme.window.mass_within, dt, **arrays)
    low, high = np.zeros(ids.size), np.full(ids.size, float(max_taps))
    with np.errstate(all="ignore"):  # what is not finite is found in the taps
        _refuse_long(scheme, dt, (mass_within(high) < 1 - TAIL) | (least > max_taps), ids, max_taps)
        while (high - low > 1).any():
            middle = np.where(high - low > 1, np.floor((low + high) / 2), high)
            enough = mass_within(middle) >= 1 - TAIL
            high, low = np.where(enough, middle, high), np.where(enough, low, middle)
    return np.fmax(high, least).astype(np.int64)


def _refuse_long(scheme: Scheme, dt: float, long: NDArray[np.bool_], ids: NDArray[Any], max_taps: int) -> None:
    if not long.any():
        return
    cure = "Route with a longer step, or check their parameters and units"
    if scheme.name in SCHEMES:
        *others, last = sorted(s.name for s in SCHEMES.values() if not s.windowed and not s.from_user)
        cure = (
            "Route with a longer step, split those reaches, or give them the scheme "
            f"{', '.join(others)} or {last}, which have no window"
        )
    raise ParameterError(
        f"{scheme.name}: the response of {int(long.sum())} reaches is longer than max_taps = {max_taps} steps of "
        f"{dt:g} s: {some(ids[long])}. {cure}"
    )


def give_back(taps: torch.Tensor, window: NDArray[np.int64], mean: torch.Tensor | None) -> torch.Tensor:
    """Taps [reach, K], cut off at their windows [reach], made to keep all mass and the mean travel time [reach], in steps.

    Scaling alone would lose the travel time of the tail: a millionth of the mass, but more of the mean, and nearly all of
    it on a reach much shorter than a step. So the last tap gets what brings the mean back, which is little more than the
    tail (the last tap stands nearer than the tail did), and the others are scaled to make place for it.
    """
    import torch

    k = torch.arange(taps.shape[1], dtype=torch.float64, device=taps.device)
    last = torch.from_numpy(window - 1).to(taps.device)
    taps = torch.where(k <= last[:, None], taps, 0.0)
    mass = taps.sum(dim=1)
    if mean is None:
        return taps / mass[:, None]
    kept = (taps * k).sum(dim=1) / mass
    share = ((mean - kept) / (last - kept)).clamp(min=0.0)  # the tail is later than the rest: below zero is rounding
    return taps * ((1 - share) / mass)[:, None] + share[:, None] * (k == last[:, None])
