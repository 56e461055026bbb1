"""Runoff of several files and variables. Merge hint: branch w-d has the whole of this module; take that one."""

from __future__ import annotations

import glob
import os
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from xroute.exceptions import TimeAxisError, UnitsError, XRouteError, some
from xroute.io.files import open_dataset

__all__ = ["expand_paths", "open_runoff"]

PathLike = str | os.PathLike[str]


def expand_paths(paths: PathLike | Sequence[PathLike]) -> list[Path]:
    """Files of paths and patterns, each once."""
    found: list[Path] = []
    for one in [paths] if isinstance(paths, (str, os.PathLike)) else paths:
        if Path(one).exists():
            found.append(Path(one))
            continue
        matches = sorted(Path(name) for name in glob.glob(os.fspath(one)))
        if not matches:
            raise FileNotFoundError(f"no file {one}")
        found += matches
    return list(dict.fromkeys(found))


def open_runoff(
    paths: PathLike | Sequence[PathLike],
    variables: str | Sequence[str] | None = None,
    *,
    reach_dim: Hashable | None = None,
    time_dim: Hashable | None = None,
) -> xr.DataArray:
    """Runoff of files: several follow one another in time, several variables are added up."""
    names = [variables] if isinstance(variables, str) else variables
    arrays = [_pick(open_dataset(path), names, path) for path in expand_paths(paths)]
    if len(arrays) == 1:
        return arrays[0]
    dim = time_dim or "time"
    arrays = sorted((a.load() for a in arrays), key=lambda a: a[dim].values[0])
    whole = xr.concat(arrays, dim, join="exact")
    if not whole.indexes[dim].is_unique:
        raise TimeAxisError(f"the same time stands in two files: {some(whole.indexes[dim][whole.indexes[dim].duplicated()])}")
    return whole


def _pick(dataset: xr.Dataset, names: Sequence[str] | None, path: Path) -> xr.DataArray:
    if names:
        lacking = [name for name in names if name not in dataset.data_vars]
        if lacking:
            raise XRouteError(f"{path} has no variable {some(lacking)}; it has {some(dataset.data_vars)}")
        units = {dataset[name].attrs.get("units") for name in names}
        if len(units) > 1:
            raise UnitsError(f"{some(names)} of {path} are in {some(units)}, and cannot be added up")
        total: Any = sum(dataset[name] for name in names[1:]) + dataset[names[0]] if len(names) > 1 else dataset[names[0]]
        return total.assign_attrs(dataset[names[0]].attrs)
    bounds = {variable.attrs.get("bounds") for variable in dataset.variables.values()}
    candidates = [n for n, v in dataset.data_vars.items() if v.ndim > 1 and v.dtype.kind in "fiu" and n not in bounds]
    if "runoff" in candidates:
        return dataset["runoff"]
    if len(candidates) == 1:
        return dataset[candidates[0]]
    what = (
        f"several variables ({some(candidates)})" if candidates else f"no variable on time and reach ({some(dataset)})"
    )
    raise XRouteError(f"{path} has {what}; name the runoff: --variable")
