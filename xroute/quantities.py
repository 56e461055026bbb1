"""Units that pint has attached: arrays with a `pint.Quantity` inside, taken apart before routing and put together after.

Pint-xarray is not needed. Left alone, numpy strips a Quantity of its units with no more than a warning of pint's.
"""

from __future__ import annotations

from typing import Any

import xarray as xr

from xroute.exceptions import UnitsError, XRouteError, some
from xroute.unit_text import read_unit_text

__all__ = ["dataset_without_pint", "is_quantity", "require_array", "with_pint_of", "without_pint"]


def is_quantity(array: xr.DataArray | xr.Variable) -> bool:
    """Whether an array's data is a Quantity of pint; nothing is loaded."""
    data = array.variable._data if isinstance(array, xr.DataArray) else array._data
    return type(data).__module__.partition(".")[0] == "pint" and hasattr(data, "magnitude")


def require_array(array: Any, what: str = "runoff") -> xr.DataArray:
    """The array, without units that pint has attached (they are in its attributes then); what is not a DataArray is refused."""
    if not isinstance(array, xr.DataArray):
        hint = f": choose one of {some(array.data_vars)}" if isinstance(array, xr.Dataset) else ""
        raise XRouteError(f"{what} is an xarray.DataArray, not a {type(array).__name__}{hint}")
    return without_pint(array, what)


def without_pint(array: xr.DataArray, what: str = "runoff") -> xr.DataArray:
    """The array with plain data, lazy where it was, and the units in its attributes; itself where pint has no hand in it."""
    if not is_quantity(array):
        return array
    return array.copy(deep=False, data=array.data.magnitude).assign_attrs(units=_units(array.variable, what))


def dataset_without_pint(dataset: xr.Dataset, what: str = "network") -> xr.Dataset:
    """A Dataset with plain data, as `without_pint`."""
    found = {n: v for n, v in dataset.variables.items() if is_quantity(v)}
    if not found:
        return dataset
    plain = {
        n: (v.dims, v.data.magnitude, {**v.attrs, "units": _units(v, f"{what}: {n!r}")}, v.encoding)
        for n, v in found.items()
    }
    return dataset.assign(plain).set_coords([n for n in found if n in dataset.coords])


def with_pint_of(result: xr.DataArray, given: xr.DataArray) -> xr.DataArray:
    """The result as a Quantity of the registry of what was given, if that was one; the units leave the attributes."""
    if not is_quantity(given):
        return result
    own, is_flux = given.data._REGISTRY, given.data.check("[length]**3/[time]")
    units = given.data.units if is_flux else own.parse_units("meter**3/second")
    made = result.copy(deep=False, data=own.Quantity(result.data, units))
    made.attrs = {n: v for n, v in result.attrs.items() if n != "units"}
    return made


def _units(variable: xr.Variable, what: str) -> str:
    attached = format(variable.data.units, "D") or "1"
    stated = variable.attrs.get("units")
    if stated is None:
        return attached
    of_pint, of_attrs = read_unit_text(attached, what), read_unit_text(stated, what)
    same = of_pint.dimensions == of_attrs.dimensions and abs(of_pint.in_si / of_attrs.in_si - 1) < 1e-9
    if not same:
        raise UnitsError(f"{what} is in {attached!r} by pint, and in {stated!r} by its attributes: drop one of them")
    return attached
