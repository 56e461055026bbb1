"""Datasets of plain numbers in memory, put into a netCDF file by the netCDF library itself.

The file is the one that xarray would write, in a fraction of the time that its stores take before and after the values, which is
that of routing a small river. All else is left to xarray: Dask, other files, text, dates that have no bounds, packed numbers.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from xarray.conventions import encode_dataset_coordinates

__all__ = ["as_it_lies", "write_plain"]

KINDS = frozenset("i1 i2 i4 i8 u1 u2 u4 u8 f4 f8".split())
FILTERS = frozenset({"_FillValue", "zlib", "complevel", "shuffle"})
"""Encodings that are the netCDF library's own, and mean the same to it."""
LARGE = 2**20
"""Bytes of an array that is worth several threads."""
TICKS: Mapping[str, Any] = {"seconds": "s", "milliseconds": "ms", "microseconds": "us", "nanoseconds": "ns"}
MEANS_MORE = frozenset({"_FillValue", "missing_value", "scale_factor", "add_offset", "_Unsigned", "dtype"})
"""Attributes of which xarray makes something else."""


def write_plain(dataset: xr.Dataset, path: Path, encoding: Mapping[str, Mapping[str, Any]]) -> bool:
    """Write a Dataset without encodings of its own to a new netCDF file; False, with nothing done, where that is for xarray."""
    if not dataset.variables or "coordinates" in dataset.attrs or not _is_plain_attrs(dataset.attrs):
        return False
    variables, attrs = encode_dataset_coordinates(dataset)
    stamps = _stamps(variables, encoding)
    if not all(_is_plain(name, variable, stamps, encoding.get(str(name), {})) for name, variable in variables.items()):
        return False
    import netCDF4

    with netCDF4.Dataset(path, "w", format="NETCDF4") as file:
        file.setncatts(attrs)
        for dim, size in dataset.sizes.items():
            file.createDimension(str(dim), size)
        for name, variable in variables.items():
            values, attrs = stamps.get(name, (variable.values, variable.attrs))
            filters = {key: value for key, value in encoding.get(str(name), {}).items() if key in FILTERS}
            fill = filters.pop("_FillValue", np.asarray(np.nan, values.dtype) if values.dtype.kind == "f" else None)
            stored = file.createVariable(name, values.dtype.newbyteorder("="), variable.dims, fill_value=fill, **filters)
            stored.setncatts(attrs)
            stored.set_auto_maskandscale(False)
            with as_it_lies(values) as whole:
                stored[...] = whole
    return True


@contextmanager
def as_it_lies(values: np.ndarray) -> Iterator[np.ndarray]:
    """Values in the order of a file, C-contiguous: discharge of runoff with time first lies with time last, and is turned over.

    By all threads; the netCDF library would turn it over itself, on one and value by value.
    """
    turned = 2 <= values.ndim <= 3 and not values.flags.c_contiguous and values.swapaxes(-1, -2).flags.c_contiguous
    if not turned or values.nbytes < LARGE or values.dtype.str[1:] not in ("f4", "f8"):
        yield values
        return
    from xroute.engine.cpu.transpose import laid_out  # with numba, which small files need not wait for

    with laid_out(values if values.ndim == 3 else values[None], values.dtype) as whole:
        yield whole if values.ndim == 3 else whole[0]


def _is_plain(name: Hashable, variable: xr.Variable, stamps: Mapping[Hashable, Any], encoding: Mapping[str, Any]) -> bool:
    """Whether the netCDF library stores a variable as xarray would have it stored."""
    if any(not isinstance(n, str) or "/" in n for n in (name, *variable.dims)):
        return False
    if not variable._in_memory or variable.encoding or not _is_plain_attrs(variable.attrs):
        return False
    if name in stamps:
        return not {"units", "calendar"} & set(variable.attrs)
    dtype = variable.dtype
    return isinstance(dtype, np.dtype) and dtype.isnative and dtype.str[1:] in KINDS and FILTERS.issuperset(encoding)


def _is_plain_attrs(attrs: Mapping[Any, Any]) -> bool:
    """Whether attributes are text and numbers, and xarray makes something else of none of them."""
    return MEANS_MORE.isdisjoint(attrs) and all(
        isinstance(name, str) and name and isinstance(value, str | Real) and not isinstance(value, bool)
        for name, value in attrs.items()
    )


def _stamps(
    variables: Mapping[Hashable, xr.Variable], encoding: Mapping[str, Mapping[str, Any]]
) -> dict[Hashable, tuple[np.ndarray, dict[str, Any]]]:
    """Stored values and attributes of dates and their bounds, whose encoding says that they are whole numbers of one unit."""
    found: dict[Hashable, tuple[np.ndarray, dict[str, Any]]] = {}
    for name, variable in variables.items():
        how, bounds = encoding.get(str(name), {}), variable.attrs.get("bounds")
        if set(how) != {"units", "dtype", "_FillValue"} or bounds not in variables:
            continue
        pair, (unit, since, start) = (variable, variables[bounds]), str(how["units"]).partition(" since ")
        if not since or any(not isinstance(v.dtype, np.dtype) or v.dtype.kind != "M" for v in pair):
            continue
        own, its = ((v.values - np.datetime64(start)) // np.timedelta64(1, TICKS[unit]) for v in pair)
        units = f"{unit} since {start.removesuffix(' 00:00:00').replace(' ', 'T')}"  # as xarray has it
        found[name] = own, {**variable.attrs, "units": units, "calendar": "proleptic_gregorian"}
        found[bounds] = its, dict(variables[bounds].attrs)
    return found
