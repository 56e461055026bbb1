"""What a water budget looks like: a Dataset on basins with its terms, in all too; and a table of text."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import xarray as xr

from xroute.budget.accounts import TERMS, Accounts
from xroute.exceptions import ParameterError, some
from xroute.labels import Layout
from xroute.run import Run

__all__ = ["budget_dataset", "budget_table", "kept_coords"]


def kept_coords(layout: Layout, runoff: xr.DataArray, per: str) -> dict[Hashable, Any]:
    """Coordinates of the runoff that the budget keeps: those of its members, and per step of its times."""
    dims = {*layout.batch_dims} | ({layout.time_dim} if per == "step" else set())
    return {n: c.variable for n, c in runoff.coords.items() if set(c.dims) <= dims}


def budget_dataset(
    terms: Mapping[str, xr.DataArray], run: Run, accounts: Accounts, coords: Mapping[Hashable, Any]
) -> xr.Dataset:
    """Label the terms (..., basin) of a budget, and add them up over all basins."""
    taken = {"basin", *TERMS} & {*map(str, coords), *map(str, run.layout.batch_dims)}
    if taken:
        raise ParameterError(f"runoff has a coordinate {some(sorted(taken))}, a name that the budget needs: rename it")
    variables: dict[str, Any] = {}
    for name, (long_name, units, _) in TERMS.items():
        unknown = units == "m3" and run.units is None
        attrs = {"long_name": long_name} | ({} if unknown else {"units": units})
        term = terms[name].astype(np.int64) if units == "1" else terms[name]
        variables[name] = term.assign_attrs(attrs)
    for name, (long_name, _, _) in TERMS.items():
        if name != "from_other_basins":
            total = variables[name].sum("basin", keep_attrs=True, skipna=False)
            variables[f"{name}_total"] = total.assign_attrs(long_name=f"{long_name}, in all basins")
    ids = xr.Variable("basin", run.network.ids[accounts.outlet], {"long_name": "outlet of the basin", "cf_role": "timeseries_id"})
    balance = " ".join(f"{'+' if term.sign > 0 else '-'} {name}" for name, term in TERMS.items() if term.sign).lstrip("+ ")
    return xr.Dataset(variables, {**coords, "basin": ids}, {"title": "Water budget", "balance": f"residual = {balance}"})


def budget_table(budget: xr.Dataset, most: int = 10) -> str:
    """A budget of a run in a table of text: in all, and of the basins that most water came into; members together."""
    shown = [name for name in TERMS if name != "negative_steps"]
    sums = budget[list(TERMS)]
    sums = sums.sum([d for d in sums.dims if d != "basin"])
    first = np.argsort(-np.abs(sums["inflow"].values), kind="stable")[:most]
    columns = {"in all": {name: float(sums[name].sum()) for name in TERMS}}
    for k in first if sums.sizes["basin"] > 1 else ():
        columns[f"basin {sums['basin'].values[k]}"] = {name: float(sums[name][k]) for name in TERMS}
    names = [name for name in shown if any(column[name] for column in columns.values()) or name in ("inflow", "residual")]
    rows = [["[m3]", *(name.replace("_", " ") for name in names)]]
    rows += [[label, *(f"{column[name]:.6g}" for name in names)] for label, column in columns.items()]
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(w) if not k else cell.rjust(w) for k, (cell, w) in enumerate(zip(row, widths, strict=True)))
             for row in rows]  # fmt: skip
    if sums.sizes["basin"] > most:
        lines.append(f"... and {sums.sizes['basin'] - most:,} other basins")
    return "\n".join(lines)
