"""What synthetic rivers have in common: a network Dataset from plain arrays, random numbers from a seed, and the plane."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.exceptions import ParameterError
from xroute.schemes import SCHEMES

__all__ = ["KM_PER_DEGREE", "make_river", "number_generator", "whole_number"]

Float = NDArray[np.float64]

KM_PER_DEGREE = 111.2
"""Of latitude."""


def make_river(
    *,
    ids: NDArray[Any],
    downstream_position: NDArray[np.int64],
    length: Float,
    celerity: Float,
    weight: Float,
    area: Float,
    lon: Float,
    lat: Float,
    scheme: str,
    title: str,
) -> xr.Dataset:
    """Network Dataset of reaches with these places and sizes, and with the parameters that their scheme gives them.

    Parameters
    ----------
    ids
        Ids of the reaches.
    downstream_position
        Position of the reach downstream, negative for none.
    length, celerity, weight
        Length [m], celerity of the flood wave [m s-1] and Muskingum weight, from which the parameters follow
        (`xroute.schemes.Scheme.of_reach`).
    area
        Area of the reach's own catchment [km2].
    lon, lat
        Place [degrees].
    scheme, title
        As the attributes have them.

    Raises
    ------
    ParameterError
        If there is no such scheme, or it does not say what a reach has of it.
    """
    marker = ids.dtype.type()  # 0 or ""
    downstream = np.where(downstream_position < 0, marker, ids[downstream_position])
    variables: dict[str, tuple[NDArray[Any], dict[str, Any]]] = {
        "downstream": (downstream, {"long_name": "id of the reach downstream", "outlet": marker}),
        **_parameters(scheme, length=length, celerity=celerity, weight=weight),
        "length": (length, {"units": "m", "long_name": "reach length"}),
        "area": (area, {"units": "km2", "long_name": "area of the reach's own catchment"}),
    }
    coordinates: dict[str, tuple[NDArray[Any], dict[str, Any]]] = {
        "reach": (ids, {"cf_role": "timeseries_id", "long_name": "reach id"}),
        "lon": (lon, {"standard_name": "longitude", "units": "degrees_east"}),
        "lat": (lat, {"standard_name": "latitude", "units": "degrees_north"}),
    }
    return xr.Dataset(
        {name: ("reach", values, attrs) for name, (values, attrs) in variables.items()},
        {name: ("reach", values, attrs) for name, (values, attrs) in coordinates.items()},
        {"Conventions": "CF-1.11", "title": title, "scheme": scheme},
    )


def _parameters(name: str, **reach: Float) -> dict[str, tuple[Float, dict[str, str]]]:
    """Values and attributes of a scheme's parameters, for reaches of one travel time and, where it has any, one attenuation."""
    scheme = SCHEMES.get(name)
    if scheme is None or scheme.of_reach is None:
        made = ", ".join(s.name for s in SCHEMES.values() if s.of_reach is not None)
        raise ParameterError(f"no parameters are made for scheme {name!r}: choose one of {made}")
    units = {p.name: {"units": p.units} | ({"long_name": p.long_name} if p.long_name else {}) for p in scheme.parameters}
    return {name: (values, units[name]) for name, values in scheme.of_reach(**reach).items()}


def whole_number(name: str, value: Any) -> None:
    """Refuse what is no whole number.

    Raises
    ------
    ParameterError
        Naming the option.
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise ParameterError(f"{name} is a whole number, not {value!r}")


def number_generator(seed: Any) -> np.random.Generator:
    """Random numbers of a seed.

    Raises
    ------
    ParameterError
        If it is none.
    """
    try:
        return np.random.default_rng(seed)
    except (TypeError, ValueError) as error:
        raise ParameterError(f"seed is a whole number, not negative, and not {seed!r}") from error
