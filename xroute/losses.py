"""Losses for training through rivers: NSE, KGE, RMSE and log-NSE of tensors, which skip gaps and never give NaN gradients.

Each takes simulated and observed discharge [..., gauge, time] and gives a loss for each gauge [..., gauge], lower is better and
0 is best (`rmse` has the units of discharge, the others none). Times at which either is NaN are left out, in values and in
gradients. A gauge that says nothing (no pair is left, or its observations do not vary where the score divides by that) has the
value ``undefined`` and no gradient. For scores of labelled arrays, as people read them, there is `xroute.scores`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch

from xroute.exceptions import ParameterError
from xroute.settings import LOSS

__all__ = [
    "LOSSES",
    "Spread",
    "kge",
    "log",
    "log_offset",
    "nse",
    "rmse",
    "spread_of",
]

Tensor = torch.Tensor

LOG_OFFSET = 0.01
"""What is added to discharge before its logarithm is taken, in parts of the observations' mean (Pushpalatha et al. 2012)."""


class Pairs(NamedTuple):
    """Simulated and observed values where both are there, 0 where one is missing; which are there; and how many [..., gauge]."""

    simulated: Tensor
    observed: Tensor
    there: Tensor
    n_pairs: Tensor

    def mean(self, values: Tensor) -> Tensor:
        """Mean over the pairs [..., gauge] of values that are 0 elsewhere; 0 where there is no pair."""
        return values.sum(dim=-1) / self.n_pairs.clamp(min=1)


class Spread(NamedTuple):
    """What NSE divides by: the spread of observations.

    A window of a series may be measured by the spread of the whole: then the losses of windows, weighed by their pairs, make up
    that of the whole.

    Attributes
    ----------
    mean : tensor [..., gauge]
        Mean, in the units of discharge.
    variance : tensor [..., gauge]
        Mean squared deviation from it, in these units squared.
    n_pairs : tensor [..., gauge]
        Number of observations.

    Examples
    --------
    >>> import torch
    >>> from xroute.losses import nse, spread_of
    >>> observed = torch.tensor([[1.0, 3.0, 5.0, torch.nan]])
    >>> whole = spread_of(observed)
    >>> nse(observed[:, 1:] + 1, observed[:, 1:], spread=whole)  # 1 over the variance of the whole
    tensor([0.3750])
    """

    mean: Tensor
    variance: Tensor
    n_pairs: Tensor

    @property
    def varies(self) -> Tensor:
        """Whether NSE has a meaning: there are several observations, which differ by more than rounding (bool [..., gauge])."""
        return _varies(self.mean, self.variance) & (self.n_pairs > 1)


def pairs_of(simulated: Tensor, observed: Tensor) -> Pairs:
    """Pairs of two tensors [..., gauge, time], of which neither is NaN."""
    observed = _beside(simulated, observed)
    there = ~(torch.isnan(simulated) | torch.isnan(observed))
    zero = simulated.new_zeros(())
    real = _real(simulated)
    own, given = torch.where(there, simulated, zero).to(real), torch.where(there, observed.to(real), zero)
    return Pairs(own, given, there, there.sum(dim=-1).to(real))


def spread_of(observed: Tensor) -> Spread:
    """Spread of observations, gaps left out.

    Parameters
    ----------
    observed : [..., gauge, time]
        Discharge, in any units; NaN where there is none.

    Returns
    -------
    Spread
        Of each gauge.

    Raises
    ------
    ParameterError
        For what is no tensor.

    Examples
    --------
    >>> import torch
    >>> from xroute.losses import spread_of
    >>> observed = torch.tensor([[1.0, 3.0, 5.0, torch.nan]])
    >>> spread_of(observed).mean
    tensor([3.])
    """
    return _spread(pairs_of(observed, observed))


def nse(simulated: Tensor, observed: Tensor, *, spread: Spread | None = None, undefined: float = 0.0) -> Tensor:
    """1 - NSE: the squared error in parts of the observations' squared deviation from their mean (Nash and Sutcliffe 1970).

    Parameters
    ----------
    simulated, observed : [..., gauge, time]
        Discharge, in the same units; NaN where there is none.
    spread
        What to measure by, in place of the spread of these observations: that of a whole series, of which these are a part.
    undefined
        Loss of a gauge without pairs, or whose observations do not vary; it has no gradient.

    Returns
    -------
    tensor [..., gauge]
        0 is a perfect fit, 1 as good as the observations' mean.

    Raises
    ------
    ParameterError
        For what are no tensors, and shapes that do not fit; so do the other losses.

    Examples
    --------
    >>> import torch
    >>> from xroute.losses import nse
    >>> simulated = torch.tensor([[1.0, 2.0, 3.0, 9.0]], requires_grad=True)
    >>> nse(simulated, torch.tensor([[1.0, 2.0, 4.0, torch.nan]]))
    tensor([0.2143], grad_fn=<WhereBackward0>)
    """
    pairs = pairs_of(simulated, observed)
    spread = _spread(pairs) if spread is None else spread
    error = pairs.mean((pairs.simulated - pairs.observed).square())
    return _ratio(error, spread.variance, spread.varies & (pairs.n_pairs > 0), undefined)


def log(
    simulated: Tensor,
    observed: Tensor,
    *,
    spread: Spread | None = None,
    offset: Tensor | None = None,
    undefined: float = 0.0,
) -> Tensor:
    """1 - NSE of the logarithms of discharge, which weighs low flows as much as high ones.

    To discharge is added an offset before its logarithm is taken, so that zeros have one (Pushpalatha et al. 2012). Below zero,
    where a scheme may dip, the logarithm goes on along its tangent, so that there is a gradient that leads back.

    Parameters
    ----------
    simulated, observed : [..., gauge, time]
        As for `nse`.
    spread
        As for `nse`, but of the observations' logarithms (`log_transform`).
    offset : [..., gauge]
        What is added, in the units of discharge; by default a hundredth of the mean of the observations (`log_offset`).
    undefined
        As for `nse`; also where the offset is not above zero.

    Returns
    -------
    tensor [..., gauge]
        0 is a perfect fit.

    Raises
    ------
    ParameterError
        As `nse`.

    Examples
    --------
    >>> import torch
    >>> from xroute.losses import log
    >>> log(torch.tensor([[0.0, 2.0, 4.0]]), torch.tensor([[0.0, 2.0, 4.0]]))
    tensor([0.])
    """
    observed = _beside(simulated, observed)
    offset = log_offset(torch.where(torch.isnan(simulated), torch.nan, observed)) if offset is None else offset
    positive = offset > torch.finfo(_real(offset)).tiny  # of less there is no finite reciprocal
    safe = torch.where(positive, offset, torch.ones_like(offset))
    found = nse(log_transform(simulated, safe), log_transform(observed, safe), spread=spread, undefined=undefined)
    return torch.where(positive, found, found.new_full((), undefined))


def log_offset(observed: Tensor) -> Tensor:
    """What `log` adds to the discharge of each gauge: a hundredth of the mean of its observations (Pushpalatha et al. 2012).

    Parameters
    ----------
    observed : [..., gauge, time]
        Discharge, in any units; NaN where there is none.

    Returns
    -------
    tensor [..., gauge]
        In the units of discharge.

    Raises
    ------
    ParameterError
        For what is no tensor.

    References
    ----------
    Pushpalatha, R. et al. (2012). A review of efficiency criteria suitable for evaluating low-flow simulations. Journal of
    Hydrology, 420-421, 171-182.

    Examples
    --------
    >>> import torch
    >>> from xroute.losses import log_offset
    >>> observed = torch.tensor([[1.0, 3.0, 5.0, torch.nan]])
    >>> log_offset(observed)
    tensor([0.0300])
    """
    pairs = pairs_of(observed, observed)
    return LOG_OFFSET * pairs.mean(pairs.observed)


def log_transform(values: Tensor, offset: Tensor) -> Tensor:
    """``log(values + offset)`` of values [..., gauge, time], and below zero its tangent at zero; NaN stays NaN."""
    offset = offset[..., None].to(_real(values))
    above = torch.clamp(values, min=0.0)
    return torch.log(above + offset) + torch.clamp(values, max=0.0) / offset


def rmse(simulated: Tensor, observed: Tensor, *, undefined: float = 0.0) -> Tensor:
    """Root of the mean squared error, in the units of discharge; where the fit is perfect its gradient is 0.

    Parameters
    ----------
    simulated, observed : [..., gauge, time]
        As for `nse`; observations need not vary.
    undefined
        Loss of a gauge without pairs; it has no gradient.

    Returns
    -------
    tensor [..., gauge]
        In the units of discharge.

    Raises
    ------
    ParameterError
        As `nse`.

    Examples
    --------
    >>> import torch
    >>> from xroute.losses import rmse
    >>> rmse(torch.tensor([[1.0, 2.0, 9.0]]), torch.tensor([[4.0, 6.0, torch.nan]]))
    tensor([3.5355])
    """
    pairs = pairs_of(simulated, observed)
    root = _norm(pairs.simulated - pairs.observed) / pairs.n_pairs.clamp(min=1).sqrt()
    return torch.where(pairs.n_pairs > 0, root, root.new_full((), undefined))


def kge(simulated: Tensor, observed: Tensor, *, undefined: float = 0.0) -> Tensor:
    """1 - KGE: how far correlation, ratio of spreads and ratio of means are from 1 (Gupta et al. 2009).

    Parameters
    ----------
    simulated, observed : [..., gauge, time]
        As for `nse`. Simulated discharge that does not vary counts as uncorrelated.
    undefined
        As for `nse`; also where the mean of the observations is zero.

    Returns
    -------
    tensor [..., gauge]
        0 is a perfect fit.

    Raises
    ------
    ParameterError
        As `nse`.

    Examples
    --------
    >>> import torch
    >>> from xroute.losses import kge
    >>> kge(torch.tensor([[2.0, 4.0, 6.0]]), torch.tensor([[1.0, 2.0, 3.0]]))  # twice the mean, and twice the spread
    tensor([1.4142])
    """
    pairs = pairs_of(simulated, observed)
    spread = _spread(pairs)
    mean_o = spread.mean
    mean_s = pairs.mean(pairs.simulated)
    deviation_s = _where(pairs.there, pairs.simulated - mean_s[..., None])
    deviation_o = _where(pairs.there, pairs.observed - mean_o[..., None])
    root = pairs.n_pairs.clamp(min=1).sqrt()
    std_s, std_o = _norm(deviation_s) / root, spread.variance.sqrt()
    defined = spread.varies & (mean_o.abs() > _eps(mean_o) * std_o)
    varies = defined & _varies(mean_s.detach(), std_s.detach().square())
    one = torch.ones_like(std_o)
    product = torch.where(varies, std_s, one) * torch.where(defined, std_o, one)
    r = torch.where(varies, pairs.mean(deviation_s * deviation_o) / product, torch.zeros_like(product))
    alpha = std_s / torch.where(defined, std_o, one)
    beta = mean_s / torch.where(defined, mean_o, one)
    distance = _norm(torch.stack([r - 1, alpha - 1, beta - 1], dim=-1))
    return torch.where(defined, distance, distance.new_full((), undefined))


LOSSES: Mapping[str, Callable[..., Tensor]] = dict(zip(LOSS, (nse, kge, rmse, log), strict=True))
"""Losses by name."""


def _beside(simulated: Tensor, observed: Tensor) -> Tensor:
    """Observed discharge on the device of the simulated; refused where torch would repeat one step, or raise of itself."""
    for name, given in (("simulated", simulated), ("observed", observed)):
        if not isinstance(given, Tensor):
            raise ParameterError(f"{name} is a tensor, not a {type(given).__name__}: torch.as_tensor makes one")
    a, b = tuple(simulated.shape), tuple(observed.shape)
    fits = bool(a and b) and a[-1] == b[-1] and all(m == n or 1 in (m, n) for m, n in zip(a[::-1], b[::-1], strict=False))
    if not fits:
        raise ParameterError(
            f"simulated discharge has the shape {a}, and observed {b}: both are [..., gauge, time], of the same gauges and times"
        )
    return observed.to(simulated.device)


def _real(tensor: Tensor) -> torch.dtype:
    return tensor.dtype if tensor.dtype in (torch.float32, torch.float64) else torch.float32


def _where(there: Tensor, values: Tensor) -> Tensor:
    return torch.where(there, values, values.new_zeros(()))


def _spread(pairs: Pairs) -> Spread:
    mean = pairs.mean(pairs.observed)
    deviation = _where(pairs.there, pairs.observed - mean[..., None])
    return Spread(mean, pairs.mean(deviation.square()), pairs.n_pairs)


def _eps(tensor: Tensor) -> float:
    return 4 * torch.finfo(tensor.dtype).eps


def _varies(mean: Tensor, variance: Tensor) -> Tensor:
    """Whether values with this mean and variance vary by more than rounding."""
    return variance > (_eps(mean) * mean).square() + torch.finfo(mean.dtype).tiny


def _ratio(above: Tensor, below: Tensor, defined: Tensor, undefined: float) -> Tensor:
    """A ratio where it is defined; elsewhere a value without gradient."""
    ratio = torch.where(defined, above, above.new_zeros(())) / torch.where(defined, below, torch.ones_like(below))
    return torch.where(defined, ratio, ratio.new_full((), undefined))


def _norm(values: Tensor) -> Tensor:
    """Euclidean norm along the last dimension, with a gradient of 0 where it is 0, and none that overflows."""
    scale = (
        values.detach().abs().amax(dim=-1, keepdim=True) if values.shape[-1] else values.new_ones(*values.shape[:-1], 1)
    )
    scale = torch.where((scale > 0) & torch.isfinite(scale), scale, torch.ones_like(scale))
    return torch.linalg.vector_norm(values / scale, dim=-1) * scale[..., 0]
