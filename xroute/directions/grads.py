"""Control files of GrADS (``.ctl``), which say what binary maps hold: CaMa-Flood's maps, runoff and discharge have them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from xroute.exceptions import XRouteError, some

__all__ = ["Control", "read_control"]

SYMBOLS = {"%y4": "%Y", "%y2": "%y", "%m2": "%m", "%d2": "%d", "%h2": "%H", "%n2": "%M"}
"""Of the dates in names of files, and what Python calls them."""
STEPS = {"mn": "min", "hr": "h", "dy": "D"}


@dataclass(frozen=True)
class Control:
    """What a control file says.

    Attributes
    ----------
    file
        The binary file, or with a ``template`` the pattern of several, dates in it.
    lon, lat
        Middles of columns, and of rows in the order of the file [degrees].
    big_endian
        Byte order of the numbers.
    undefined
        Number of what is missing.
    variables
        Names, with the levels of each.
    times
        Start of each step; none if the file has no dates.
    template
        Whether there is a file a date.
    """

    file: Path
    lon: NDArray[np.float64]
    lat: NDArray[np.float64]
    big_endian: bool
    undefined: float | None
    variables: dict[str, int]
    times: pd.DatetimeIndex = field(default_factory=lambda: pd.DatetimeIndex([]))
    template: bool = False

    @property
    def dtype(self) -> str:
        """Of the numbers, which are float32."""
        return ">f4" if self.big_endian else "<f4"

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east and north edge [degrees]."""
        dx, dy = (abs(axis[1] - axis[0]) if axis.size > 1 else 1.0 for axis in (self.lon, self.lat))
        return (float(self.lon.min() - dx / 2), float(self.lat.min() - dy / 2), float(self.lon.max() + dx / 2),
                float(self.lat.max() + dy / 2))  # fmt: skip

    def files(self) -> list[Path]:
        """Files of the steps: one, or one for each date."""
        if not self.template:
            return [self.file]
        name = self.file.name
        for symbol, code in SYMBOLS.items():
            name = name.replace(symbol, code)
        return list(dict.fromkeys(self.file.with_name(time.strftime(name)) for time in self.times))


def read_control(path: Path) -> Control:
    """Read a control file.

    Raises
    ------
    XRouteError
        For one that lacks what a map needs, or has axes that are not linear.
    """
    words: dict[str, list[str]] = {}
    names: dict[str, int] = {}
    within = False
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        parts = line.split()
        if not parts or line.startswith("*"):
            continue
        key = parts[0].lower()
        if key in ("vars", "endvars"):
            within = key == "vars"
        elif within:
            names[parts[0]] = int(parts[1]) if len(parts) > 1 and parts[1].isdigit() else 0
        else:
            words.setdefault(key, []).extend(parts[1:])
    lacking = [key for key in ("dset", "xdef", "ydef") if key not in words]
    if lacking:
        raise XRouteError(f"{path} is no control file of GrADS: it has no line {some(lacking)}")
    options = {word.lower() for word in words.get("options", [])}
    lon, lat = (_axis(words[key], key, path) for key in ("xdef", "ydef"))
    name = words["dset"][0]
    file = path.parent / name[1:] if name.startswith("^") else Path(name)
    return Control(
        file, lon, lat[::-1] if "yrev" in options else lat, "big_endian" in options,
        float(words["undef"][0]) if "undef" in words else None, names,
        _times(words["tdef"], path) if "tdef" in words else pd.DatetimeIndex([]), "template" in options,
    )  # fmt: skip


def _axis(words: list[str], key: str, path: Path) -> NDArray[np.float64]:
    try:
        n, kind = int(words[0]), words[1].lower()
        if kind == "levels":
            values = np.array([float(word) for word in words[2:]])
            if values.size == n:
                return values
        elif kind == "linear":
            return np.asarray(float(words[2]) + np.arange(n) * float(words[3]), np.float64)
    except (IndexError, ValueError) as error:
        raise XRouteError(f"{path}: {key} {' '.join(words[:6])!r} is no axis such as '360 linear -179.5 1'") from error
    raise XRouteError(f"{path}: {key} {' '.join(words[:6])!r} is no axis such as '360 linear -179.5 1'")


def _times(words: list[str], path: Path) -> pd.DatetimeIndex:
    """Times of ``tdef``, such as ``62 linear 00Z01jan2000 1dy``."""
    text = " ".join(words)
    found = re.fullmatch(r"(\d+) linear (?:(\d+)(?::(\d+))?z)?(\d+)?([a-z]{3})(\d{4}) (\d+)(mn|hr|dy|mo|yr)", text.lower())
    if found is None:
        raise XRouteError(f"{path}: tdef {text!r} is no time such as '62 linear 00Z01jan2000 1dy'")
    n, hour, minute, day, month, year, size, unit = found.groups()
    start = pd.Timestamp(f"{year}-{month}-{day or 1} {hour or 0}:{minute or '00'}")
    if unit in ("mo", "yr"):
        months = pd.DateOffset(months=int(size) * (1 if unit == "mo" else 12))
        return pd.date_range(start, periods=int(n), freq=months)
    return pd.date_range(start, periods=int(n), freq=f"{size}{STEPS[unit]}")
