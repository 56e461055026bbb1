"""Stored numbers and what they mean: fill values, packing, dates, and ids, which must not pass through floating point.

Nothing here opens a file: `xroute.files.opening` does.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from xroute.exceptions import XRouteError
from xroute.stamps import decodable

__all__ = ["DEFAULT_FILL", "PACKED_AS", "declare_default_fill", "decode", "is_id_name", "mask_fill"]

#: Names of variables that hold ids, in the files of our users' systems (in small letters); see `is_id_name`.
ID_NAMES = frozenset(
    "reach downstream upstream_reach downstream_reach link to toid comid rivid linkno dslinkno next_down segment tosegment"
    " nextdown hru gru basin riv dwn feature river station gauge gage catchment".split()
)
#: Fill values of the netCDF library for variables that were never written and declare none.
DEFAULT_FILL: Mapping[str, Any] = {
    "i2": -32767, "i4": -2147483647, "i8": -9223372036854775806,
    "f4": np.float32(9.969209968386869e36), "f8": 9.969209968386869e36,
}  # fmt: skip
#: What the encoding of an array says of numbers that its file packs.
PACKED_AS = ("dtype", "scale_factor", "add_offset")


def declare_default_fill(variable: xr.Variable) -> None:
    """Declare the fill value of records that were never written, where a file of numbers declares no other.

    Whole numbers that are not packed are left: their fill value may be an id, or a count.
    """
    packed = variable.dtype.kind in "iu" and "scale_factor" in variable.attrs
    if variable.dtype.kind != "f" and not packed:
        return
    declared = [variable.attrs[name] for name in ("_FillValue", "missing_value") if name in variable.attrs]
    default = DEFAULT_FILL.get(variable.dtype.str[1:])
    if default is not None and all(np.all(value != value) for value in declared):
        variable.attrs.pop("missing_value", None)
        variable.attrs["_FillValue"] = variable.dtype.type(default)


def is_id_name(name: Hashable, variable: xr.Variable) -> bool:
    """Whether a variable says that it holds ids: by its role, as coordinate of its own dimension, or by its name."""
    small = str(name).lower()
    return (
        variable.attrs.get("cf_role") == "timeseries_id"
        or (variable.dims == (name,) and "units" not in variable.attrs)
        or small in ID_NAMES
        or small.endswith("id")
        or (small.startswith("downstream") and small != "downstream_area")
    )


def decode(source: xr.Dataset) -> xr.Dataset:
    """Decode all but ids, which must not pass through floating point, and durations, which are parameters."""
    raw = source
    whole = {name: _whole_numbers(name, variable) for name, variable in raw.variables.items()}
    masked = {name: value is None for name, value in whole.items()}
    attrs = {name: dict(raw.variables[name].attrs) for name, value in whole.items() if value is not None}
    for name, value in whole.items():
        if value is not None:
            for attribute in _PACKING:
                raw.variables[name].attrs.pop(attribute, None)
            if value.dtype != raw.variables[name].dtype:
                raw = _with_values(raw, name, value)
        elif _fill_of_plain(raw.variables[name]):
            attrs[name], masked[name] = dict(raw.variables[name].attrs), False
            _mask_lazily(raw.variables[name])
    times: Any = decodable(raw) or True  # the others stay numbers, which is told where they are needed, and of which file
    for variable in raw.variables.values():
        variable.encoding.setdefault("source", source.encoding.get("source"))
    decoded = xr.decode_cf(raw, mask_and_scale=masked, decode_times=times, decode_timedelta=False)  # type: ignore[arg-type]
    for name, given in attrs.items():  # kept, so that an id that is a fill value is refused where it is used
        fills = {key: given[key] for key in ("_FillValue", "missing_value") if key in given}
        decoded.variables[name].encoding.update(fills)
    for name in [n for n, v in decoded.variables.items() if isinstance(v.dtype, np.dtypes.StringDType)]:
        decoded = _with_values(decoded, name, np.array(decoded[name].to_numpy().tolist(), dtype=str))
    decoded.set_close(source.close)
    return decoded


_PACKING = ("_FillValue", "missing_value", "_Unsigned", "scale_factor", "add_offset")


def _whole_numbers(name: Hashable, variable: xr.Variable) -> np.ndarray | None:
    """Values of a variable that is, or could be, of ids, as whole numbers; None for what is to be decoded.

    Every series of integers in one dimension could be. Where it does not say so and has gaps, it is decoded if floating
    point holds it exactly: then it may be a parameter.
    """
    attrs = variable.attrs
    if variable.dtype.kind not in "iu" or variable.ndim > 1 or " since " in str(attrs.get("units", "")):
        return None
    named = is_id_name(name, variable)
    if attrs.get("scale_factor", 1) != 1 or attrs.get("add_offset", 0) != 0:
        if named and variable.dims == (name,):
            raise XRouteError(
                f"{name!r} holds ids packed with scale_factor={attrs.get('scale_factor')}, "
                f"add_offset={attrs.get('add_offset')}, which cannot be told exactly: store them as integers"
            )
        return None
    values = variable.to_numpy()
    if str(attrs.get("_Unsigned", "")).lower() in ("true", "false"):
        kind = "u" if str(attrs["_Unsigned"]).lower() == "true" else "i"
        values = values.view(f"{kind}{values.dtype.itemsize}")
    if named:
        return values
    fills = [value for key in _PACKING[:2] if key in attrs for value in np.atleast_1d(attrs[key])]
    gaps = np.isin(values, fills) if fills else np.zeros(values.shape, bool)
    exact = (
        not values.size or int(values[~gaps].max(initial=0)) < 2**53 and int(values[~gaps].min(initial=0)) > -(2**53)
    )
    return None if gaps.any() and exact else values


def _fill_of_plain(variable: xr.Variable) -> bool:
    """Whether a variable is of numbers that are stored as they are, lazily opened, but for one value that stands for none."""
    attrs, dtype = variable.attrs, variable.dtype
    fill = attrs.get("_FillValue", np.nan)
    return (
        dtype in (np.float32, np.float64) and dtype.isnative and variable.ndim > 1 and variable.chunks is None
        and isinstance(fill, np.number | float) and fill == fill
        and not {"missing_value", "scale_factor", "add_offset"} & set(attrs) and " since " not in str(attrs.get("units", ""))
    )  # fmt: skip


def _mask_lazily(variable: xr.Variable) -> None:
    """Let a variable have NaN in place of its fill value, as xarray would, but in no more memory where there is none."""
    fill = variable.attrs.pop("_FillValue")
    variable.data = indexing.MemoryCachedArray(indexing.LazilyIndexedArray(_Masked(variable.copy(deep=False), fill)))


class _Masked(BackendArray):
    """Values of a file's variable, with NaN in place of its fill value."""

    def __init__(self, variable: xr.Variable, fill: Any) -> None:
        self.variable, self.fill = variable, variable.dtype.type(fill)
        self.shape, self.dtype = variable.shape, variable.dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self._read)

    def _read(self, key: tuple[Any, ...]) -> Any:
        values = self.variable[key].to_numpy()
        missing = values == self.fill
        return np.where(missing, self.dtype.type(np.nan), values) if missing.any() else values


def _with_values(dataset: xr.Dataset, name: Hashable, values: np.ndarray) -> xr.Dataset:
    changed = dataset[name].copy(data=values)
    return dataset.assign_coords({name: changed}) if name in dataset.coords else dataset.assign({name: changed})


def mask_fill(array: xr.DataArray, *, zero_is_data: bool = False) -> xr.DataArray:
    """Replace fill values of a variable that was opened raw by NaN.

    Parameters
    ----------
    array
        As stored, with ``_FillValue`` and ``missing_value`` among its attributes if declared. Without, the netCDF
        library's default fill value is taken.
    zero_is_data
        A declared fill value of 0 is not believed (old RAPID files declare it, and their zeros are zeros).

    Returns
    -------
    xarray.DataArray
        The same, without the two attributes. Integers stay integers when nothing is masked.
    """
    declared = [array.attrs.get(name) for name in ("_FillValue", "missing_value")]
    fills = [value for item in declared if item is not None for value in np.atleast_1d(item)]
    if not fills:
        default = DEFAULT_FILL.get(array.dtype.str[1:])
        fills = [] if default is None else [default]
    if zero_is_data:
        fills = [value for value in fills if value != 0]
    attrs = {name: value for name, value in array.attrs.items() if name not in ("_FillValue", "missing_value")}
    values = array.to_numpy()
    masked = np.zeros(values.shape, bool)
    for value in fills:
        masked |= values == value
    if masked.any():
        array = array.copy(
            data=np.where(masked, np.nan, values).astype(values.dtype if values.dtype.kind == "f" else float)
        )
    array = array.copy(deep=False)
    array.attrs = attrs
    return array
