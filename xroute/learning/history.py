"""What is told of a run, epoch by epoch: loss, NSE by gauge, learning rate, and what is learned, by group or in quantiles."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from xroute.bounded import BoundedParameter
from xroute.learning.problem import Problem
from xroute.router import Router

__all__ = ["History", "group_dims", "parameter_keys"]

Tensor = torch.Tensor
QUANTILES = (0.05, 0.5, 0.95)
"""What is told of values that each reach has its own of."""
MOST_GAUGES = 2000
"""Up to so many gauges each has its NSE in the history; of more there are quantiles."""


def parameter_keys(router: Router) -> dict[str, BoundedParameter]:
    """Parameters that a Router learns, by their names, with the scheme's where several have the name."""
    learned = router.learned_parameters
    names = [name for _, name in learned]
    return {
        name if names.count(name) == 1 else f"{name}_{scheme}": module for (scheme, name), module in learned.items()
    }


def group_dims(modules: Mapping[str, BoundedParameter]) -> dict[str, str]:
    """Dimension of the groups of each parameter that has groups: ``group`` if all have the same, else its own."""
    grouped = {key: module.groups for key, module in modules.items() if module.groups is not None}
    first = next(iter(grouped.values()), None)
    same = first is not None and all(
        g.labels.tolist() == first.labels.tolist() and g.name == first.name for g in grouped.values()
    )
    return {key: "group" if same else f"{key}_group" for key in grouped}


class History:
    """Rows of a run's history.

    Parameters
    ----------
    problem, router
        Of the run.
    parameters
        Gives parameters of the reaches where they are not the Router's own.
    """

    def __init__(self, problem: Problem, router: Router, parameters: Callable[[], Mapping[str, Tensor]] | None) -> None:
        self._problem, self._router, self._parameters = problem, router, parameters
        self.rows: list[dict[str, Any]] = []
        self._modules = parameter_keys(router) if parameters is None else {}

    @property
    def first_loss(self) -> float:
        """Loss at the start."""
        return float(self.rows[0]["loss"])

    @property
    def last_loss(self) -> float:
        """Loss of the last epoch."""
        return float(self.rows[-1]["loss"]) if self.rows else np.nan

    def watched(self, looks: bool) -> dict[str, Tensor]:
        """What is learned, as it is now: values of groups, and if it is looked at, quantiles of others; on the device."""
        with torch.no_grad():
            found = {k: m.group_values() for k, m in self._modules.items() if m.groups is not None}
            if looks:
                free = {k: m.group_values() for k, m in self._modules.items() if m.groups is None}
                given = free if self._parameters is None else self._parameters()
                found |= {k: _quantiles(v) for k, v in given.items()}
            return {k: v.detach().clone() for k, v in found.items()}

    def row(
        self,
        epoch: int,
        loss: Tensor,
        rate: float,
        nse: Tensor,
        tested: tuple[float, Tensor] | None,
        watched: Mapping[str, Tensor],
    ) -> dict[str, Any]:
        """An epoch, which `add` adds: all that lies on the device is fetched at once, since each time is waited for it."""
        names = list(watched)
        scored = [] if tested is None else [_told(tested[1])]
        first, second, *rest = _fetched(
            [loss.reshape(1), _told(nse), *(watched[n].reshape(-1) for n in names), *scored]
        )
        row = {"epoch": epoch, "loss": float(first[0]), "learning_rate": rate, "train": second}
        row["parameters"] = dict(zip(names, rest, strict=False))
        return row if tested is None else {**row, "test_loss": tested[0], "test": rest[-1]}

    def add(self, row: dict[str, Any]) -> None:
        """Add an epoch."""
        self.rows.append(row)

    def tree(self) -> list[dict[str, Any]]:
        """Rows as a file keeps them."""
        return list(self.rows)

    def load(self, rows: list[dict[str, Any]]) -> None:
        """Go on after some rows."""
        self.rows = list(rows)

    def dataset(self) -> xr.Dataset:
        """The history, by epoch."""
        epoch = np.array([row["epoch"] for row in self.rows])
        attrs = {
            "loss": "loss in the training period, at the start of the epoch; the last entry is that of what was kept",
            "test_loss": "loss in the test period", "learning_rate": "learning rate",
        }  # fmt: skip
        data: dict[Hashable, Any] = {
            name: ("epoch", np.array([row.get(name, np.nan) for row in self.rows]), {"long_name": text})
            for name, text in attrs.items()
        }
        coords: dict[Hashable, Any] = {"epoch": epoch}
        self._add_scores(data, coords)
        self._add_parameters(data, coords)
        return xr.Dataset(data, coords)

    def _add_scores(self, data: dict[Hashable, Any], coords: dict[Hashable, Any]) -> None:
        observations = self._problem.observations
        few = observations.n_gauges <= MOST_GAUGES
        if few:
            gauges = observations.labelled().isel({observations.time_dim: 0}, drop=True)
            coords |= dict(gauges.coords)
        else:
            coords["quantile"] = list(QUANTILES)
        dims = ("epoch", observations.dim if few else "quantile")
        for period in ("train", "test"):
            if any(period in row for row in self.rows):
                name = "nse" if period == "train" else "test_nse"
                text = f"Nash-Sutcliffe efficiency in the {period} period" + ("" if few else ", quantiles over gauges")
                data[name] = (dims, _stacked([row.get(period) for row in self.rows]), {"long_name": text, "units": "1"})

    def _add_parameters(self, data: dict[Hashable, Any], coords: dict[Hashable, Any]) -> None:
        dims = group_dims(self._modules)
        for key in dict.fromkeys(k for row in self.rows for k in row["parameters"]):
            module, dim = self._modules.get(key), dims.get(key, "quantile")
            values = _stacked([row["parameters"].get(key) for row in self.rows])
            attrs = (
                {}
                if module is None
                else {"long_name": module.parameter.long_name or key, "units": module.parameter.units}
            )
            if module is not None and module.form == "scale":
                attrs = {"long_name": f"factor on {key}", "units": "1"}
            if dim == "quantile":
                coords["quantile"] = list(QUANTILES)
            elif module is not None and module.groups is not None:
                coords[dim] = (dim, module.groups.labels, {"long_name": module.groups.name})
            data[key] = (("epoch", dim), values, attrs)


def _told(nse: Tensor) -> Tensor:
    """What is told of the gauges' scores: all of them, or if they are very many, quantiles."""
    return _quantiles(nse) if nse.numel() > MOST_GAUGES else nse.detach()


def _fetched(tensors: list[Tensor]) -> list[NDArray[np.float64]]:
    """Tensors [n] as arrays of the host, in one transfer."""
    whole = torch.cat([t.detach().to(torch.float64) for t in tensors]).cpu().numpy()
    return np.split(whole, np.cumsum([t.numel() for t in tensors])[:-1])


def _quantiles(values: Tensor) -> Tensor:
    """Quantiles of values that are there, by the nearest ranks: of any number of them."""
    ordered = values.detach()[~values.isnan()].sort().values
    if not ordered.numel():
        return values.new_full((len(QUANTILES),), torch.nan)
    at = [round(q * (ordered.numel() - 1)) for q in QUANTILES]
    return ordered[at]


def _stacked(rows: list[NDArray[np.float64] | None]) -> NDArray[np.float64]:
    """Rows of an array, NaN where there is none."""
    shape = next(row.shape for row in rows if row is not None)
    return np.stack([np.full(shape, np.nan) if row is None else row for row in rows])
