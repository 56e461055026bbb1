"""Travel times: how long water takes from each reach to its outlet, in the mean, and how much that varies.

Exact, from the filters that route, and without routing: along a way, means and variances add up. A step of runoff with several
substeps is the one place where that is not enough: in which step of discharge water is seen depends on the substep in which it
arrives, and how water is spread over these the transfer functions of the filters tell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.engine.moments import below_moments, below_waves, filter_moments, filter_waves
from xroute.engine.schedule import csr
from xroute.filters import NetworkFilters, filters_of
from xroute.responses import reaches_given
from xroute.settings import RoutingSettings

if TYPE_CHECKING:
    from xroute.network import Network

__all__ = ["travel_time"]

Float = NDArray[np.float64]
Complex = NDArray[np.complex128]

ROUNDING = 1e-9
"""Variances below zero by no more than this, in parts of the square of the mean, are zero."""


def travel_time(network: Network, to: Any = None, dt: Any = None, **options: Any) -> xr.Dataset:
    """Mean and spread of travel times (target, reach) [s]: see `xroute.Network.travel_time`."""
    targets, single = (np.array([-1]), True) if to is None else reaches_given(network, to)
    filters = filters_of(network, dt, **options)
    is_outlet = np.bincount(network.links.upstream, minlength=network.n_reaches) == 0
    each = np.arange(network.n_reaches)
    found = [_times(filters, is_outlet if target < 0 else each == target) for target in targets]
    texts = {
        "mean": {"long_name": "mean travel time", "units": "s"},
        "spread": {"long_name": "standard deviation of travel time", "units": "s"},
        "share": {"long_name": "share of runoff that gets there", "units": "1"},
    }
    variables = {
        name: (("target", "reach"), np.stack([times[k] for times in found]), text)
        for k, (name, text) in enumerate(texts.items())
    }
    settings = filters.settings
    attrs = {
        "dt": filters.step, "substeps": settings.substeps, "sampling": settings.sampling, "lateral": settings.lateral
    }  # fmt: skip
    dataset = xr.Dataset(variables, {"reach": network["reach"].variable}, attrs)
    if to is not None:
        ids = network.ids[targets]
        dataset = dataset.assign_coords(target=("target", ids, {"long_name": "reach at the end of the way"}))
    return dataset.isel(target=0) if single else dataset


class _Delay(NamedTuple):
    """Mass, mean and variance [reach] of delays, in routing steps."""

    mass: Float
    mean: Float
    variance: Float


class _Waves(NamedTuple):
    """``E[z^L]`` and ``E[(L - mean) z^L]`` [reach] of delays L, at a point z of the unit circle."""

    wave: Complex
    slope: Complex

    def then(self, other: _Waves) -> _Waves:
        """Of one delay after another."""
        return _Waves(self.wave * other.wave, self.slope * other.wave + self.wave * other.slope)


def _times(filters: NetworkFilters, is_target: NDArray[np.bool_]) -> tuple[Float, Float, Float]:
    """Mean and standard deviation of travel times to targets [s], and the share of runoff that gets there, [reach]."""
    taps, pointer, pole, gain = filters.channel.arrays()
    settings = filters.settings
    way = _way_down(filters, is_target)
    reach = _Delay(*filter_moments(taps, pointer, pole))
    below = _Delay(*below_moments(*way, *reach))
    own = reach
    if settings.lateral == "outlet":
        own = _Delay(np.ones_like(pole), np.zeros_like(pole), np.zeros_like(pole))
    elif settings.lateral == "interval":  # it is put in at the ends of steps, and falls by the pole from there
        own = _Delay(gain / (1 - pole), pole / (1 - pole), pole / (1 - pole) ** 2)
    late = np.full(pole.size, float(settings.sampling == "start-mean"))  # means at the starts have it a substep later,
    late[is_target & (settings.lateral == "outlet")] = 0.0  # but not runoff at the outlet itself
    share, mean, variance = own.mass * below.mass, own.mean + below.mean + late, own.variance + below.variance
    if settings.substeps > 1:

        def waves(z: complex) -> _Waves:
            of_reach = _Waves(*filter_waves(taps, pointer, pole, reach.mean, z))
            further = _Waves(*below_waves(*way, reach.mass, reach.mean, below.mass, below.mean, *of_reach))
            first = of_reach
            if settings.lateral == "outlet":
                first = _Waves(np.ones_like(pole, complex), np.zeros_like(pole, complex))
            elif settings.lateral == "interval":
                wave = (1 - pole) / (1 - pole * z)
                first = _Waves(wave, wave * (pole * z / (1 - pole * z) - own.mean))
            there = first.then(further)
            return _Waves(there.wave * z**late, there.slope * z**late)

        mean, variance = _in_steps(settings, mean, variance, waves)
    if filters.slopes is not None:  # they act on steps of runoff
        slope = _Delay(*filter_moments(*filters.slopes.arrays()[:3]))
        share, mean, variance = share * slope.mass, mean + slope.mean, variance + slope.variance
    mean, variance = np.where(share != 0.0, mean, np.nan), np.where(share != 0.0, variance, np.nan)
    variance = np.where((variance < 0) & (variance >= -ROUNDING * (mean**2 + 1)), 0.0, variance)
    with np.errstate(invalid="ignore"):
        return mean * filters.step, np.sqrt(variance) * filters.step, share


def _way_down(filters: NetworkFilters, is_target: NDArray[np.bool_]) -> tuple[Any, ...]:
    """Order, links out of each reach (CSR) and targets, as kernels take them."""
    network = filters.network
    pointer, link = csr(network.links.upstream, network.n_reaches)
    return network.plan.order, pointer, network.links.downstream[link], network.links.fraction[link], is_target


def _in_steps(settings: RoutingSettings, mean: Float, variance: Float, waves: Any) -> tuple[Float, Float]:
    """Mean and variance of travel times in steps of runoff, of those in routing steps, of which there are n in a step.

    Water falls in each substep of a step alike. With r what is left of its time L over whole steps, it is seen L / n steps
    later in the mean of these; a step later or not, as it fell late or early in its step, which adds ``r (n - r) / n**2`` to
    the variance. Of the last values in steps, one of n shows it: that in which it has taken ``(L - r) / n`` steps. Means
    of functions of r are sums of waves, by the discrete Fourier transform.
    """
    n = settings.substeps
    r, is_last = np.arange(float(n)), settings.sampling == "last"
    functions = {"r": r, "square": r**2} if is_last else {"spread": r * (n - r) / n**2}
    coefficients = {name: np.fft.fft(f) / n for name, f in functions.items()}
    found = {name: np.full(mean.shape, c[0].real) for name, c in coefficients.items()}
    covariance = np.zeros(mean.shape)
    for k in range(1, n // 2 + 1):
        there = waves(np.exp(2j * np.pi * k / n))
        twice = 1.0 if 2 * k == n else 2.0
        for name, c in coefficients.items():
            found[name] += twice * (c[k] * there.wave).real
        if is_last:
            covariance += twice * (coefficients["r"][k] * there.slope).real
    if not is_last:
        return mean / n, variance / n**2 + found["spread"]
    of_rest = found["square"] - found["r"] ** 2
    return (mean - found["r"]) / n, (variance - 2 * covariance + of_rest) / n**2
