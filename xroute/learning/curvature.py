"""How well observations determine what was calibrated: the curvature of the loss, and standard errors that come of it.

Residuals are linear in small changes of the parameters, :math:`e(u + d) = e(u) - J d`; :math:`J` comes from routing with each
value moved a little both ways (central differences), between bounds in parts of the range, beside one in the logarithm of the
distance from it. With the weights :math:`a` of the loss, its Gauss-Newton Hessian is :math:`2 H`, :math:`H = J^T a J`. Least
squares that are weighed otherwise than the errors vary, and errors that are larger where flow is, have the covariance
:math:`H^{-1} S H^{-1}`, with :math:`S` the covariance of :math:`J^T a e` (White 1980; Huber 1967): here once of single
residuals and once of stretches of time, within which errors hang together, the larger of both being taken. What was known before
(nothing but a range: `PRIOR`) is added, so that values which nothing determines have a standard error of that size.

The weights are those of squared errors, each gauge's in parts of the variance of its observations (`nse`; in logarithms for
`log`). For other losses, too, this is how much squared errors say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from xroute import losses
from xroute.bounded import BoundedParameter
from xroute.exceptions import ParameterError
from xroute.groups import Learned
from xroute.learning.history import parameter_keys
from xroute.learning.problem import Problem
from xroute.router import Router

__all__ = ["DETERMINED", "curvature_of"]

Tensor = torch.Tensor
Float = NDArray[np.float64]

DETERMINED = {"log": 0.025, "range": 0.04}
"""A value counts as determined if its standard error is less than this part of it, or between two bounds, of their distance: the
truth lies within twice that in 95 of 100 cases, which is 5 % of a travel time, and 0.04 of a weight between 0 and 0.5."""
PRIOR = {"log": 1.0, "range": 12**-0.5}
"""Standard deviation of what is known without observations: of a logarithm, and of a place between two bounds (all alike)."""
FLOOR = 1e-3
"""Observations are believed no better than to this part of their standard deviation: rounding is no noise to rely on."""
MOST_PROBES = 1000
"""Values of more groups than these are not looked at: each takes two runs."""
MOST_VALUES = 2e7
"""Values of J that are kept at a time; of more, evenly picked gauges stand for all."""


@dataclass(frozen=True, eq=False)
class _Probe:
    """Something to move: one value of a group, or those of all reaches of a Strahler order."""

    key: str
    label: Any
    at: Tensor
    of: str


def curvature_of(problem: Problem, router: Router, learnable: Mapping[str, Learned]) -> xr.Dataset:
    """How well each value is determined by the observations of the training period.

    Parameters
    ----------
    problem, router
        Of the run; the Router has what was calibrated.
    learnable
        What was to be learned, on the reaches of the whole network: groups that no gauge is downstream of are told too.

    Returns
    -------
    xarray.Dataset
        On ``parameter`` and ``group`` (for values that each reach has its own of: Strahler order, whose reaches are moved
        together): ``value`` and ``standard_error`` in the parameter's SI units (of a factor: none), ``curvature`` of the loss
        in the logarithm of the value (between two bounds: in its place between them), ``determined`` (see `DETERMINED`),
        ``n_reaches``.
    """
    modules = parameter_keys(router)
    probes = _probes(problem, router, modules)
    if len(probes) > MOST_PROBES:
        return xr.Dataset(attrs={"note": f"{len(probes)} values are more than {MOST_PROBES}, and were not looked at"})
    sample = _Sample(problem, len(probes))
    jacobian, values = _jacobian(sample, router, modules, probes)
    hessian, covariance = _covariance(jacobian, sample, problem, router, [_prior(modules[p.key]) for p in probes])
    error = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    curved = 2 * np.diag(hessian)
    rows = []
    for k, probe in enumerate(probes):
        module = modules[probe.key]
        unit = _unit(module, values[k])
        seen = curved[k] > 0
        rows.append({
            "parameter": probe.key, "group": probe.label, "of": probe.of, "value": values[k], "curvature": curved[k],
            "standard_error": error[k] * unit, "determined": bool(seen and error[k] < DETERMINED[_kind(module)]),
            "n_reaches": probe.at.numel() if module.groups is None else int(module.groups.sizes[int(probe.at[0])]),
        })  # fmt: skip
    return _dataset(rows + _unseen(problem, modules, learnable))


# ── what is moved ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _probes(problem: Problem, router: Router, modules: Mapping[str, BoundedParameter]) -> list[_Probe]:
    probes = []
    positions = _positions(router)
    for key, module in modules.items():
        if module.groups is not None:
            labels = module.groups.labels.tolist()
            probes += [_Probe(key, label, torch.tensor([k]), module.groups.name) for k, label in enumerate(labels)]
            continue
        order = problem.network.strahler.values[positions[key]]
        probes += [
            _Probe(key, int(s), torch.from_numpy(np.flatnonzero(order == s)), "strahler") for s in np.unique(order)
        ]
    return probes


def _positions(router: Router) -> dict[str, NDArray[np.int64]]:
    """Positions in the network of the reaches of each parameter that is learned."""
    of = {id(m): k for k, m in parameter_keys(router).items()}
    everywhere = np.arange(router.n_reaches)
    return {of[id(m)]: router._at.get(scheme, everywhere) for (scheme, _), m in router.learned_parameters.items()}


def _kind(module: BoundedParameter) -> str:
    low, high = module.parameter.low, module.parameter.high
    return "range" if module.form == "value" and np.isfinite(low) and np.isfinite(high) else "log"


def _prior(module: BoundedParameter) -> float:
    return PRIOR[_kind(module)]


def _unit(module: BoundedParameter, value: float) -> float:
    """Change of a value that a change of one in its coordinate makes."""
    low, high = module.parameter.low, module.parameter.high
    if _kind(module) == "range":
        return high - low
    if module.form == "scale" or not (np.isfinite(low) or np.isfinite(high)):
        return abs(value)
    return value - low if np.isfinite(low) else high - value


def _moved(module: BoundedParameter, raw: Tensor, at: Tensor, step: float) -> Tensor:
    """Raw values with some of them moved by a step of their coordinate, kept a little inside of their bounds."""
    with torch.no_grad():
        module.raw.copy_(raw)
        values = module.group_values()[at]
        low, high = module.parameter.low, module.parameter.high
        if _kind(module) == "range":
            inside = 1e-6 * (high - low)
            values = (values + step * (high - low)).clamp(low + inside, high - inside)
        elif module.form == "scale" or not (np.isfinite(low) or np.isfinite(high)):
            values = values * np.exp(step)
        else:
            values = low + (values - low) * np.exp(step) if np.isfinite(low) else high - (high - values) * np.exp(step)
        moved = raw.clone()
        moved[at] = module.raw_of(values, at)
        return moved


def _jacobian(
    sample: _Sample, router: Router, modules: Mapping[str, BoundedParameter], probes: list[_Probe]
) -> tuple[Float, Float]:
    """Derivative of discharge [probe, gauge, step] of the training period to each coordinate, and values [probe]."""
    found = np.zeros((len(probes), *sample.observed.shape))
    values = np.zeros(len(probes))
    step = 1e-2 if sample.problem.source.dtype.itemsize == 4 else 1e-3
    for k, probe in enumerate(probes):
        module = modules[probe.key]
        raw, at = module.raw.detach().clone(), probe.at.to(module.raw.device)
        own = module.group_values().detach()[at]
        values[k] = float(own.median())
        ends: list[tuple[Tensor, Tensor]] = []
        try:
            for by in (-step, step):
                with torch.no_grad():
                    module.raw.copy_(_moved(module, raw, at, by))
                    place = _coordinate(module, module.group_values()[at]).mean()
                    discharge = sample.simulated(router)
                ends.append((place, discharge))
        except ParameterError:  # a window that would be too long: nothing is known of it
            ends = []
        finally:
            with torch.no_grad():
                module.raw.copy_(raw)
        if ends:
            (a, low), (b, high) = ends
            apart = float(b - a)
            found[k] = ((high - low) / apart).cpu().numpy() if apart > 0 else 0.0
    return found, values


def _coordinate(module: BoundedParameter, values: Tensor) -> Tensor:
    low, high = module.parameter.low, module.parameter.high
    if _kind(module) == "range":
        return (values - low) / (high - low)
    if module.form == "scale" or not (np.isfinite(low) or np.isfinite(high)):
        return values.abs().log()
    return (values - low).log() if np.isfinite(low) else (high - values).log()


class _Sample:
    """Gauges that stand for all, and their observations in the training period, as the loss sees them [gauge, step]."""

    def __init__(self, problem: Problem, n_probes: int) -> None:
        self.problem = problem
        n, n_steps = problem.observations.n_gauges, sum(p.stop - p.start for p in problem.train)
        most = int(max(1, MOST_VALUES // (n_probes * n_steps)))
        self.gauges = np.arange(n) if n <= most else np.unique(np.linspace(0, n - 1, most).round().astype(np.int64))
        self._at = torch.from_numpy(self.gauges).to(problem.device)
        values = np.concatenate([problem.observations.values[:, p][self.gauges] for p in problem.train], axis=1)
        observed = torch.from_numpy(values).to(problem.device)
        offset = losses.log_offset(observed)
        self._offset = torch.where(offset > 0, offset, 1.0)
        self.observed = self._as_seen(observed).cpu().numpy()

    def simulated(self, router: Router) -> Tensor:
        """What a Router gives of them, float64."""
        found = [q[self._at].double() for q in self.problem.simulate(router, self.problem.train)]
        return self._as_seen(torch.cat(found, dim=1))

    def _as_seen(self, discharge: Tensor) -> Tensor:
        return losses.log_transform(discharge, self._offset) if self.problem.request.loss == "log" else discharge


# ── what it says ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _covariance(
    jacobian: Float, sample: _Sample, problem: Problem, router: Router, priors: list[float]
) -> tuple[Float, Float]:
    """Gauss-Newton half Hessian of the loss, and covariance of the coordinates."""
    n_steps, gauges, observed = jacobian.shape[2], sample.gauges, sample.observed
    error = observed - sample.simulated(router).cpu().numpy()
    there = np.isfinite(error)
    error = np.where(there, error, 0.0)
    count = there.sum(axis=1)
    mean = np.where(there, observed, 0.0).sum(axis=1) / np.maximum(count, 1)
    variance = np.where(there, (observed - mean[:, None]) ** 2, 0.0).sum(axis=1) / np.maximum(count, 1)
    weights = problem.gauge_weights[gauges]
    weights = weights / weights.sum() if weights.sum() > 0 else weights
    useful = (variance > 0) & (count > 1) & (weights > 0)
    a = np.where(useful, weights / np.where(useful, variance * count, 1.0), 0.0)
    weighed = jacobian * there * np.sqrt(a)[None, :, None]
    flat = weighed.reshape(len(priors), -1)
    hessian = flat @ flat.T
    least = FLOOR**2 * variance[:, None] * there
    squared = np.maximum(error**2, least) * a[:, None]
    single = (flat * squared.reshape(-1)) @ flat.T
    scores = np.einsum("pgt,gt->pt", weighed, error * np.sqrt(a)[:, None])
    n_blocks = max(1, min(100, n_steps // 10))
    edges = np.linspace(0, n_steps, n_blocks + 1).astype(int)[:-1]
    sums = np.add.reduceat(scores, edges, axis=1)
    together = sums @ sums.T * (n_blocks / max(1, n_blocks - 1)) + FLOOR**2 * hessian * (a * variance).max(initial=0.0)
    known = np.diag(1 / np.asarray(priors) ** 2)
    found = [np.linalg.inv(known + _information(hessian, s)) for s in (single, together)]
    larger = np.maximum(np.diag(found[0]), np.diag(found[1]))
    scale = np.sqrt(larger / np.maximum(np.diag(found[0]), np.finfo(float).tiny))
    return np.asarray(hessian), np.asarray(found[0] * scale[:, None] * scale[None, :])


def _information(hessian: Float, meat: Float) -> Float:
    """Inverse of the sandwich, H S^+ H: 0 in directions in which nothing curves."""
    size = np.sqrt(np.maximum(np.diag(hessian), np.finfo(float).tiny))
    h, s = hessian / size[:, None] / size[None, :], meat / size[:, None] / size[None, :]
    found = h @ np.linalg.pinv(s, rcond=1e-10, hermitian=True) @ h
    return np.asarray(found * size[:, None] * size[None, :])


def _unseen(
    problem: Problem, modules: Mapping[str, BoundedParameter], learnable: Mapping[str, Learned]
) -> list[dict[str, Any]]:
    """Groups of the whole network that no gauge is downstream of."""
    rows = []
    for key, module in modules.items():
        how = learnable.get(module.parameter.name)
        if how is None or how.groups is None or module.groups is None:
            continue
        seen = set(module.groups.labels.tolist())
        rows += [
            {"parameter": key, "group": label, "of": how.groups.name, "value": np.nan, "curvature": 0.0, "standard_error": np.inf,
             "determined": False, "n_reaches": int(size)}
            for label, size in zip(how.groups.labels.tolist(), how.groups.sizes, strict=True)
            if label not in seen
        ]  # fmt: skip
    return rows


def _dataset(rows: list[dict[str, Any]]) -> xr.Dataset:
    """Rows as a Dataset by parameter and group."""
    parameters = list(dict.fromkeys(row["parameter"] for row in rows))
    labels = list(dict.fromkeys(row["group"] for row in rows))
    if len({isinstance(v, str) for v in labels}) > 1:  # groups of several kinds: as text
        rows = [{**row, "group": str(row["group"])} for row in rows]
        labels = list(dict.fromkeys(str(v) for v in labels))
    labels = sorted(labels)
    column = {label: k for k, label in enumerate(labels)}
    shape = len(parameters), len(labels)
    attrs = {
        "value": "value, in SI units; of a scale, the factor",
        "standard_error": "standard error of the value",
        "curvature": "curvature of the loss (Gauss-Newton) in the logarithm of the value, or in its place between two bounds",
        "determined": f"whether the standard error is less than {DETERMINED['log']:.1%} of the value, or "
        f"{DETERMINED['range']:.0%} of the distance of its bounds",
        "n_reaches": "reaches of the group",
    }
    fills: dict[str, Any] = {
        "value": np.nan,
        "standard_error": np.nan,
        "curvature": np.nan,
        "determined": False,
        "n_reaches": 0,
    }
    data = {name: np.full(shape, fill) for name, fill in fills.items()}
    for row in rows:
        at = parameters.index(row["parameter"]), column[row["group"]]
        for name in data:
            data[name][at] = row[name]
    groups = ", ".join(dict.fromkeys(row["of"] for row in rows))
    return xr.Dataset(
        {name: (("parameter", "group"), values, {"long_name": attrs[name]}) for name, values in data.items()},
        {"parameter": parameters, "group": ("group", labels, {"long_name": groups})},
        {"title": "What observations say of each value"},
    )
