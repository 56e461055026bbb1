"""What the numbers of direction grids mean, in each convention: one table, and the decoding of a whole grid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.exceptions import NetworkError, one_of, some
from xroute.ids import declared_fills
from xroute.settings import CONVENTION, Convention
from xroute.wording import argument

__all__ = ["CODES", "EAST", "NONE", "NORTH", "PIT", "decode", "find_convention"]

NORTH = np.array([1, 1, 0, -1, -1, -1, 0, 1, 0])
"""Steps northwards of the eight ways, from north clockwise, and of a pit."""
EAST = np.array([0, 1, 1, 1, 0, -1, -1, -1, 0])
"""Steps eastwards of the same."""
PIT, NONE = 8, -1
"""The way of a cell whose water goes nowhere, and of one that is none."""


class Codes(NamedTuple):
    """Numbers of a convention.

    Attributes
    ----------
    ways
        Of the eight neighbours: N, NE, E, SE, S, SW, W, NW.
    pits
        Of cells that drain nowhere: depressions, mouths, cells that drain off the map.
    nodata
        Of what is no cell, such as the sea, beside NaN and declared fill values.
    """

    ways: tuple[int, ...]
    pits: tuple[int, ...]
    nodata: tuple[int, ...]


CODES: Mapping[Convention, Codes] = dict(
    zip(
        CONVENTION,
        (
            Codes((64, 128, 1, 2, 4, 8, 16, 32), (0, -1, 255), (-9, 247, -9999, -32768)),  # esri
            Codes((3, 2, 1, 8, 7, 6, 5, 4), (0,), (-1, 255, -9999, -32768)),  # taudem
            Codes((2, 1, 8, 7, 6, 5, 4, 3), tuple(range(-8, 1)), (-9999, 255)),  # grass
            Codes((8, 9, 6, 3, 2, 1, 4, 7), (5,), (0, 255, -9999, -(2**31))),  # ldd
            Codes((128, 1, 2, 4, 8, 16, 32, 64), (0,), (-1, 255, -9999, -32768)),  # whitebox
        ),
        strict=True,
    )
)
"""By convention."""
ALSO = {"arcgis": "esri", "d8": "esri", "pcraster": "ldd"}
"""Other names of conventions."""


def find_convention(name: str) -> Convention:
    """The convention of a name, in capitals or not.

    Raises
    ------
    NetworkError
        If there is none.
    """
    plain = ALSO.get(name.lower(), name.lower()) if isinstance(name, str) else name
    one_of("convention", plain, CONVENTION, NetworkError)
    return plain  # type: ignore[return-value]


def decode(direction: xr.DataArray, convention: Convention, nodata: tuple[float, ...]) -> NDArray[np.int8]:
    """Ways of cells, 0 to 7 from north clockwise, `PIT` or `NONE`, in the shape of the grid.

    Raises
    ------
    NetworkError
        For numbers that the convention does not have; those that have all of them are named.
    """
    values = np.asarray(direction.values)
    if values.dtype.kind not in "iuf":
        raise NetworkError(f"directions are whole numbers, not {values.dtype}")
    absent = np.isnan(values) if values.dtype.kind == "f" else np.zeros(values.shape, bool)
    for fill in (*declared_fills(direction), *nodata):
        absent |= values == fill
    present, inverse = np.unique(values[~absent], return_inverse=True)
    meaning = np.array([_way(CODES[convention], number) for number in present.tolist()], np.int8)
    wrong = present[meaning == _UNKNOWN]
    if wrong.size:
        fits = [name for name in CONVENTION if all(_way(CODES[name], n) != _UNKNOWN for n in present.tolist())]
        n_wrong = int(np.isin(values[~absent], wrong).sum())
        raise NetworkError(
            f"{n_wrong} cells have numbers that are no directions in {argument('convention', convention)}: {some(wrong)}. "
            + (f"They are in {' or '.join(argument('convention', name) for name in fits)}. " if fits else "")
            + ("128 is -128 where whole numbers have 8 bits: astype('uint8') mends that. " if (wrong == -128).any() else "")
            + f"If they mark what is no cell, give them as {argument('nodata')}"
        )
    ways = np.full(values.shape, NONE, np.int8)
    ways[~absent] = meaning[inverse.ravel()]
    return ways


_UNKNOWN = -2


def _way(codes: Codes, number: float) -> int:
    if number in codes.ways:
        return codes.ways.index(int(number))
    return PIT if number in codes.pits else NONE if number in codes.nodata else _UNKNOWN
