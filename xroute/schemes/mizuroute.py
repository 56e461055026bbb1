"""mizuRoute's impulse response function (IRF), with its own ordinates: for those who need its numbers.

It is the diffusive wave of the scheme ``hayami``, discretised in another way. The response is evaluated at whole hours, without
its factor 1/t, for 240 hours at most, scaled to sum to one, spread over the hours of a routing step, which shifts it by an hour,
and summed up by routing steps. So the mean travel time is not kept: a reach takes an hour at least. The hours of the hydrograph
stay hours whatever the step: with a step below an hour, each ordinate counts for one step, as it does there.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from xroute.schemes.base import Float, Parameter, Scheme, Window

if TYPE_CHECKING:
    import torch

__all__ = ["HEADWATER", "MIZUROUTE_IRF", "and_headwater", "irf_length", "irf_taps"]

HOUR = 3600.0
HOURS = 240
"""As long as the hydrograph may be, in hours."""
FARTHEST = 69.0
"""Exponent beyond which the response is taken for zero."""
MOST, ENOUGH = 0.99999, 0.9999
"""Share of the hydrograph that is kept: at each of its ends before it is spread, and at its end after that."""
BLOCK = 1024
"""Reaches whose hydrographs are made at a time, in cache: an hourly one has 240 numbers."""


def irf_taps(
    dt: float, n_taps: int, /, *, length: torch.Tensor, diffusivity: torch.Tensor, celerity: torch.Tensor
) -> tuple[torch.Tensor, None]:
    """Ordinates of `make_uh` (after Lohmann et al. 1996, equations 13 to 15) by routing steps; NaN where it has none."""
    import torch

    n_sub = hours_in_step(dt)
    made = []
    for hourly, _ in _blocks(n_sub, length, diffusivity, celerity):
        whole = torch.nn.functional.pad(hourly, (0, -HOURS % n_sub)).unflatten(1, (-1, n_sub)).sum(dim=2)
        made.append(torch.nn.functional.pad(whole, (0, max(n_taps - whole.shape[1], 0)))[:, :n_taps])
    return torch.cat(made) if made else length.new_zeros((0, n_taps)), None


def irf_length(dt: float, /, *, length: Float, diffusivity: Float, celerity: Float) -> Float:
    """Number of ordinates; 1 where there are none, so that their reaches are named (`xroute.schemes.making`)."""
    import torch

    n_sub = hours_in_step(dt)
    with torch.no_grad():
        given = [torch.as_tensor(v, dtype=torch.float64) for v in (length, diffusivity, celerity)]
        counts = [torch.ceil((last + 1) / n_sub).numpy() for _, last in _blocks(n_sub, *given)]
    return np.concatenate([np.zeros(0), *counts])


def hours_in_step(dt: float) -> int:
    """Hours over which the runoff of a routing step is spread: its own, rounded up."""
    return max(math.ceil(dt / HOUR - 1e-9), 1)


def _blocks(
    n_sub: int, length: torch.Tensor, diffusivity: torch.Tensor, celerity: torch.Tensor
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Of some reaches at a time, `_hourly`."""
    return [
        _hourly(n_sub, *(v[i : i + BLOCK, None] for v in (length, diffusivity, celerity)))
        for i in range(0, length.shape[0], BLOCK)
    ]


def _hourly(
    n_sub: int, length: torch.Tensor, diffusivity: torch.Tensor, celerity: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Hydrograph [reach, hour] of runoff that is spread over ``n_sub`` hours, and the position of its last hour [reach]."""
    import torch

    t = torch.arange(1, HOURS + 1, dtype=torch.float64, device=length.device) * HOUR
    exponent = (celerity * t - length) ** 2 / (4 * diffusivity * t)
    near = exponent <= FARTHEST
    wave = length / (2 * torch.sqrt(math.pi * diffusivity * t)) * torch.exp(-torch.where(near, exponent, 0.0))
    wave = torch.where(near, wave, 0.0)
    wave = wave / wave.sum(dim=1, keepdim=True)  # of nothing: NaN
    first, last = HOURS - 1 - _until(wave.flip(1), MOST), _until(wave, MOST)
    hour = torch.arange(HOURS, device=length.device)
    wave = torch.where((hour >= first[:, None]) & (hour <= last[:, None]), wave, torch.where(wave.isnan(), wave, 0.0))
    spread = torch.zeros_like(wave)
    for k in range(1, min(n_sub, HOURS - 1) + 1):  # what comes in in an hour goes on from the next one on
        spread = spread + torch.nn.functional.pad(wave[:, :-k], (k, 0)) / n_sub
    spread = spread / spread.sum(dim=1, keepdim=True)
    last = _until(spread, ENOUGH)
    spread = torch.where((hour <= last[:, None]) | spread.isnan(), spread, 0.0)
    return spread / spread.sum(dim=1, keepdim=True), last


def _until(share: torch.Tensor, mass: float) -> torch.Tensor:
    """Position of the first hour by which more than a share of the mass is over [reach]; 0 where there is no mass."""
    import torch

    over = (torch.cumsum(share.detach(), dim=1) > mass).to(torch.int8)
    return torch.argmax(over, dim=1)


def _positive(name: str, units: str, long_name: str, usual: tuple[float, float]) -> Parameter:
    return Parameter(name, units, low=0.0, low_open=True, long_name=long_name, usual=usual)


def _of_reach(length: Float, celerity: Float, weight: Float) -> dict[str, Float]:
    return {"celerity": celerity, "diffusivity": np.fmax(celerity * length * (0.5 - weight), 500.0), "length": length}


MIZUROUTE_IRF = Scheme(
    "mizuroute_irf",
    (
        _positive("length", "m", "reach length", (300.0, 10_000.0)),
        _positive("diffusivity", "m2 s-1", "diffusivity of the flood wave", (1000.0, 5000.0)),
        _positive("celerity", "m s-1", "celerity of the flood wave", (0.8, 3.0)),
    ),
    irf_taps,
    summary="diffusive wave with mizuRoute's hourly ordinates, which do not keep it",
    travel_time="length / celerity",
    window=Window(length=irf_length),
    discretises="hayami",
    of_reach=_of_reach,
)
"""The row of the scheme."""
HEADWATER = (
    Parameter("headwater_length", "m", low=0.0, long_name="length of a headwater that routes its own runoff, 0 for none",
              usual=(0.0, 10_000.0)),
    *(p for p in MIZUROUTE_IRF.parameters if p.name != "length"),
)  # fmt: skip
"""Parameters that `and_headwater` adds to those of a hillslope."""


def and_headwater(slope: Callable[..., Any], bins: Callable[..., Float]) -> tuple[Callable[..., Any], Window]:
    """A hillslope and then the whole of a headwater, whose runoff joins at its top (``<hw_drain_point> 1``); 0 for none."""

    def taps(dt: float, n_taps: int, /, *, headwater_length: torch.Tensor, celerity: torch.Tensor,
             diffusivity: torch.Tensor, **own: torch.Tensor) -> tuple[torch.Tensor, None]:  # fmt: skip
        import torch

        step, there = torch.arange(n_taps, device=celerity.device), headwater_length > 0
        n = torch.as_tensor(bins(dt, **{name: v.detach().cpu().numpy() for name, v in own.items()}), device=celerity.device)
        first = torch.where(step < n[:, None], slope(dt, n_taps, **own)[0], 0.0)
        length = torch.where(there, headwater_length, 10 * HOUR * celerity)  # where there is none it has no part in it
        wave, _ = irf_taps(dt, n_taps, length=length, celerity=celerity, diffusivity=diffusivity)
        wave = torch.where(there[:, None], wave, (step == 0).to(wave.dtype))
        parts = [wave[:, k, None] * torch.nn.functional.pad(first, (k, 0))[:, :n_taps] for k in range(n_taps)]
        return torch.stack(parts).sum(dim=0) / first.sum(dim=1, keepdim=True), None

    def length(dt: float, /, *, headwater_length: Float, celerity: Float, diffusivity: Float, **own: Float) -> Float:
        wave = irf_length(dt, length=headwater_length, celerity=celerity, diffusivity=diffusivity)
        return bins(dt, **own) + np.where(headwater_length > 0, wave - 1, 0)

    return taps, Window(length=length)
