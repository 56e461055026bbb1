"""What pairs of simulated and observed discharge are measured by: one row for each score, and the pairs that they share.

Each score sees the same pairs: a step counts where both are known, and else for none of them. The package ``scores`` is handed
series that it can do (at least two pairs, observations that vary, a mean that is not zero); where a series is not, the score is
NaN, not infinite.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.exceptions import ParameterError, some
from xroute.scores.flows import high_bias, low_bias
from xroute.scores.peaks import peak_errors

__all__ = ["EPSILON", "HIGH", "LOW", "MEASURES", "WINDOW", "Measure", "Options", "Pairs", "measure", "named_measures"]

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]

EPSILON = 0.01
"""Share of the mean observed flow that is added before logarithms are taken (Pushpalatha et al. 2012)."""
HIGH, LOW = 0.02, 0.3
"""Shares of time that are the high and the low end of a flow-duration curve (Yilmaz et al. 2008)."""
WINDOW = "10D"
"""How far from an observed peak its simulated one is looked for."""


@dataclass(frozen=True)
class Options:
    """What scores may be asked otherwise: see the functions of `xroute.scores.single`.

    Attributes
    ----------
    window
        In the units of the pairs' times; None for anywhere.
    """

    epsilon: float = EPSILON
    low_epsilon: float = 0.0
    high: float = HIGH
    low: float = LOW
    window: float | None = None
    events: int = 1


@dataclass(eq=False)
class Pairs:
    """Pairs of simulated and observed discharge [case, time], NaN in both where one of them is.

    Attributes
    ----------
    times : float64 [time]
        When, in seconds or in steps.
    """

    simulated: Float
    observed: Float
    times: Float
    options: Options
    _kge: dict[bytes, Mapping[str, Float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        unknown = np.isnan(self.simulated) | np.isnan(self.observed)
        # in one layout, whatever the arrays' own is: the sums of a series have the same bits alone and among others
        self.simulated, self.observed = (
            np.ascontiguousarray(np.where(unknown, np.nan, q)) for q in (self.simulated, self.observed)
        )
        self.n = (~unknown).sum(axis=1)

    @cached_property
    def enough(self) -> Bool:
        """Which cases have two pairs, without which nothing is a score."""
        return self.n > 1

    @cached_property
    def varies(self) -> Bool:
        """Of which cases the observations vary."""
        return self.enough & _varies(self.observed)

    @cached_property
    def both_vary(self) -> Bool:
        """Of which cases the simulation varies as well."""
        return self.varies & _varies(self.simulated)

    @cached_property
    def mean(self) -> Float:
        """Mean of the observations; 0 where there are none."""
        return np.asarray(np.nansum(self.observed, axis=1) / np.maximum(self.n, 1))

    @cached_property
    def has_mean(self) -> Bool:
        """Of which cases the observations have a mean that is not zero."""
        return self.enough & (self.mean != 0)

    @cached_property
    def peaks(self) -> tuple[Float, Float]:
        """`xroute.scores.peaks.peak_errors`; of observations that vary."""
        later, higher = peak_errors(self.simulated, self.observed, self.times, self.options.window, self.options.events)
        return np.where(self.varies, later, np.nan), np.where(self.varies, higher, np.nan)

    def by_package(self, function: Callable[..., Any], usable: Bool, **options: Any) -> Float:
        """A score of the package; NaN for cases that are not usable, of which it sees a series that it can do."""
        found = function(*self._seen(self.simulated, self.observed, usable), reduce_dims="time", **options)
        return np.where(usable, found.values, np.nan)

    def kge(self, usable: Bool, method: str, part: str) -> Float:
        """A part of the package's KGE, of the cases that are usable for it."""
        from scores.continuous import kge

        key = method.encode() + usable.tobytes()
        if key not in self._kge:
            seen = self._seen(self.simulated, self.observed, usable)
            found = kge(*seen, reduce_dims="time", include_components=True, method=method)
            self._kge[key] = {str(name): values.values for name, values in found.items()}
        return np.where(usable, self._kge[key][part], np.nan)

    def log_nse(self) -> Float:
        """NSE of logarithms; NaN where the simulation is so far below zero that it has none."""
        from scores.continuous import nse

        epsilon = self.options.epsilon * np.where(self.mean > 0, self.mean, np.nan)[:, None]
        flows = [self.simulated + epsilon, self.observed + epsilon]
        usable = self.varies & ~np.any([(q <= 0).any(axis=1) for q in flows], axis=0) & (self.mean > 0)
        logs = [np.log(np.where(usable[:, None], q, 1.0)) for q in flows]
        found = nse(*self._seen(logs[0], logs[1], usable), reduce_dims="time")
        return np.where(usable, found.values, np.nan)

    def _seen(self, simulated: Float, observed: Float, usable: Bool) -> list[xr.DataArray]:
        ramp = np.arange(float(observed.shape[1]))
        arrays = (np.where(usable[:, None], q, ramp) for q in (simulated, observed))
        return [xr.DataArray(a, dims=("case", "time")) for a in arrays]


def _varies(values: Float) -> Bool:
    """Whether there are two different values in each case; means of equal ones differ from them by rounding."""
    known = ~np.isnan(values)
    low = np.where(known, values, np.inf).min(axis=1, initial=np.inf)
    return np.asarray(np.where(known, values, -np.inf).max(axis=1, initial=-np.inf) > low)


@dataclass(frozen=True)
class Measure:
    """A score.

    Attributes
    ----------
    of
        Makes it of pairs [case].
    long_name, best
        What it is, in words, and its value for a simulation that is the observations.
    units
        ``"flow"`` for those of discharge, ``"time"`` for hours (steps, where times are no dates).
    needs
        What observations must be like, in words; None where any two pairs do.
    """

    of: Callable[[Pairs], Any]
    long_name: str
    units: str
    best: float | None
    needs: str | None = None


def _package(name: str, usable: str) -> Callable[[Pairs], Float]:
    def of(pairs: Pairs) -> Float:
        import scores.continuous

        return pairs.by_package(getattr(scores.continuous, name), getattr(pairs, usable))

    return of


def _kge(usable: str, method: str, part: str) -> Callable[[Pairs], Float]:
    def of(pairs: Pairs) -> Float:
        mask = getattr(pairs, usable)
        return pairs.kge(mask & pairs.has_mean if part in ("kge", "gamma") else mask, method, part)

    return of


def _where(usable: Bool, values: Float) -> Float:
    return np.where(usable, values, np.nan)


_VARY = "observations that vary"
MEASURES: Mapping[str, Measure] = {
    "nse": Measure(_package("nse", "varies"), "Nash-Sutcliffe efficiency", "1", 1.0, _VARY),
    "kge": Measure(_kge("both_vary", "2009", "kge"), "Kling-Gupta efficiency (2009)", "1", 1.0, _VARY),
    "kge_2012": Measure(_kge("both_vary", "2012", "kge"), "Kling-Gupta efficiency (2012)", "1", 1.0, _VARY),
    "correlation": Measure(_kge("both_vary", "2009", "rho"), "Pearson correlation", "1", 1.0, _VARY),
    "alpha": Measure(_kge("varies", "2009", "alpha"), "standard deviation, simulated over observed", "1", 1.0, _VARY),
    "beta": Measure(_kge("has_mean", "2009", "beta"), "mean, simulated over observed", "1", 1.0),
    "gamma": Measure(_kge("varies", "2012", "gamma"), "coefficient of variation, simulated over observed", "1", 1.0, _VARY),
    "pbias": Measure(_package("pbias", "has_mean"), "bias of the volume, above zero where there is too much", "%", 0.0),
    "rmse": Measure(_package("rmse", "enough"), "root-mean-square error", "flow", 0.0),
    "mae": Measure(_package("mae", "enough"), "mean absolute error", "flow", 0.0),
    "log_nse": Measure(Pairs.log_nse, "Nash-Sutcliffe efficiency of logarithms", "1", 1.0, _VARY),
    "fhv": Measure(lambda p: _where(p.enough, high_bias(p.simulated, p.observed, p.n, p.options.high)),
                   "bias of the high end of the flow-duration curve", "%", 0.0),
    "flv": Measure(lambda p: _where(p.enough, low_bias(*_lifted(p), p.n, p.options.low)),
                   "bias of the low end of the flow-duration curve", "%", 0.0),
    "peak_timing": Measure(lambda p: p.peaks[0], "how much later the highest flow comes", "time", 0.0, _VARY),
    "peak_error": Measure(lambda p: 100 * p.peaks[1], "by how much the highest flow is higher", "%", 0.0, _VARY),
    "n": Measure(lambda p: p.n, "number of pairs", "1", None),
}  # fmt: skip
"""The scores that there are, in the order of a table."""


def _lifted(pairs: Pairs) -> tuple[Float, Float]:
    epsilon = pairs.options.low_epsilon * pairs.mean[:, None]
    return pairs.simulated + epsilon, pairs.observed + epsilon


def named_measures(metrics: str | Sequence[str] | None) -> list[str]:
    """Names of scores that a caller asks for; all of them for None.

    Raises
    ------
    ParameterError
        Naming those that do not exist.
    """
    if metrics is None:
        return list(MEASURES)
    names = [metrics] if isinstance(metrics, str) else list(metrics)
    strange = [name for name in names if name not in MEASURES]
    if strange or not names:
        wrong = f"there is no score {some(strange)}" if strange else "no score is asked for"
        raise ParameterError(f"{wrong}; there are {', '.join(MEASURES)}")
    return list(dict.fromkeys(names))


def measure(
    simulated: Float, observed: Float, times: Float, names: Sequence[str], options: Options
) -> NDArray[np.float64]:
    """Scores [..., name] of series [..., time]; NaN where one has no meaning."""
    simulated, observed = np.broadcast_arrays(simulated, observed)
    shape, n_times = observed.shape[:-1], observed.shape[-1]
    pairs = Pairs(simulated.reshape(-1, n_times), observed.reshape(-1, n_times), times, options)
    found = np.full((len(pairs.n), len(names)), np.nan)
    for k, name in enumerate(names):
        if name == "n" or (n_times > 1 and len(pairs.n)):
            with np.errstate(over="ignore"):
                value = np.asarray(MEASURES[name].of(pairs), np.float64)
            found[:, k] = np.where(np.isfinite(value), value, np.nan)
    return found.reshape(*shape, len(names))
