"""RAPID's plain files: their usual names, headerless csv, and the namelist."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from xroute.exceptions import NetworkError
from xroute.io.files import locate

__all__ = ["PATTERNS", "find_files", "read_floats", "read_integers", "read_namelist"]

#: Usual names of the files of a RAPID folder; the first pattern with a match wins.
PATTERNS: dict[str, tuple[str, ...]] = {
    "connect": ("rapid_connect.csv", "rapid_connect*.csv"),
    "k": ("k.csv", "k_*.csv"),
    "x": ("x.csv", "x_*.csv"),
    "basin_ids": ("riv_bas_id.csv", "riv_bas_id*.csv"),
    "runoff": ("m3_riv*.nc*", "m3*.nc*", "inflow*.nc*", "Vlat*.nc*"),
    "namelist": ("rapid_namelist", "rapid_namelist*", "*namelist*"),
    "discharge": ("Qout*.nc*",),
}


def find_files(folder: str | os.PathLike[str]) -> dict[str, Path]:
    """Find RAPID's files in a folder by their usual names.

    Parameters
    ----------
    folder
        The folder to look in (not below it).

    Returns
    -------
    dict
        Of the roles ``connect``, ``k``, ``x``, ``basin_ids``, ``runoff``, ``namelist`` and ``discharge`` that were
        found.

    Raises
    ------
    XRouteError
        When several files could play the same role.
    """
    found = {role: locate(folder, patterns, role) for role, patterns in PATTERNS.items()}
    return {role: path for role, path in found.items() if path is not None}


def read_integers(path: Path) -> np.ndarray:
    """Headerless comma-separated integers, exact; short rows are filled with 0."""
    with open(path) as lines:
        n_columns = max((line.count(",") + 1 for line in lines if line.strip()), default=0)
    if not n_columns:
        raise NetworkError(f"{path} is empty")
    text = pd.read_csv(path, header=None, names=range(n_columns), dtype=str, na_filter=False, skipinitialspace=True)
    values = text.where(text != "", "0").to_numpy(dtype=object)
    try:
        return values.astype(np.int64)
    except (ValueError, OverflowError):
        row, column = next(
            (r, c) for r, c in np.ndindex(values.shape) if not re.fullmatch(r"\s*[-+]?\d{1,18}\s*", str(values[r, c]))
        )
        raise NetworkError(
            f"{path}, row {row + 1}, column {column + 1}: {values[row, column]!r} is not a whole number "
            f"(the file has no header)"
        ) from None


def read_floats(path: Path) -> np.ndarray:
    """Return the first column of a headerless file, as float64."""
    try:
        # Through text: pandas' own parser is a last digit off in some versions.
        text = pd.read_csv(path, header=None, usecols=[0], dtype=str, na_filter=False)
        return text[0].to_numpy(dtype=object).astype(np.float64)
    except ValueError as error:
        raise NetworkError(f"{path} is not a column of numbers without a header: {error}") from None


def read_namelist(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a RAPID namelist: names to bool, int, float or str.

    Parameters
    ----------
    path
        The ``rapid_namelist`` file.

    Returns
    -------
    dict
        For example ``{"ZS_TauR": 10800, "BS_opt_Qinit": False, "k_file": "k.csv", ...}``.
    """
    values: dict[str, Any] = {}
    for line in Path(path).read_text(errors="replace").splitlines():
        match = re.match(r"""\s*(\w+)\s*=\s*('[^']*'|"[^"]*"|[^!,\s]+)""", line)
        if match:
            values[match[1]] = _namelist_value(match[2])
    return values


def _namelist_value(text: str) -> bool | int | float | str:
    if text[0] in "'\"":
        return text[1:-1]
    if text.lower() in (".true.", ".t.", "t", ".false.", ".f.", "f"):
        return text.lower().strip(".").startswith("t")
    for kind in (int, float):
        try:
            return kind(re.sub("[dD]", "e", text))
        except ValueError:
            continue
    return text
