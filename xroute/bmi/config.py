"""The configuration file of the model: YAML, in which each entry is an option of `xroute.route` or says what a coupler must know.

Dates stay text until the calendar is known, and an entry that stands twice is refused, as YAML itself wants it.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Hashable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from xroute.exceptions import ParameterError, XRouteError, one_of, require, some
from xroute.settings import HILLSLOPE, NAN
from xroute.units import DISCHARGE_UNITS
from xroute.wording import Words

__all__ = ["DTYPES", "ENTRIES", "BmiConfig", "read_config"]

DTYPES = ("float64", "float32")
"""Types that runoff and discharge may have."""
ENTRIES = Words(lambda name, value: f"{name}: " + ("..." if value is None else str(value)), {})
"""What messages call an argument: an entry of the configuration file."""
DATES, MERGE = "tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:merge"


@dataclass(frozen=True, kw_only=True)
class BmiConfig:
    """What the configuration file says; paths are absolute, or relative to the file's folder there.

    Attributes
    ----------
    network
        Path of the network: Zarr, netCDF or a table.
    dt
        Step of runoff, and of an update: seconds, or text such as ``1h``. By default the network's ``runoff_step``.
    units
        Units of runoff: a volume flux, or any others that `xroute.route` takes.
    dtype
        Type of runoff and discharge, ``float64`` or ``float32``.
    start_time, calendar
        Date of time 0, and its CF calendar. Without a date, states bear none.
    end_time
        When the run ends: a date, or a span since the start in seconds or as text (``30D``). By default never.
    initial_state
        Path of the state to start from; by default rivers are dry.
    runoff_name, discharge_name
        Names of the variables, in place of CSDMS's.
    device
        Where to compute.
    scheme, substeps, sampling, lateral, hillslope, nan
        As for `xroute.route`; ``nan`` is ``raise`` or ``zero``.
    """

    network: Path
    dt: Any = None
    units: str = DISCHARGE_UNITS
    dtype: str = "float64"
    start_time: str | None = None
    calendar: str = "standard"
    end_time: Any = None
    initial_state: Path | None = None
    runoff_name: str | None = None
    discharge_name: str | None = None
    device: str = "cpu"
    scheme: str | None = None
    substeps: Any = None
    sampling: Any = None
    lateral: Any = None
    hillslope: Any = None
    nan: Any = "raise"

    def __post_init__(self) -> None:
        one_of("dtype", self.dtype, DTYPES)
        one_of("nan", self.nan, NAN)
        for name in ("units", "calendar", "device", "start_time", "runoff_name", "discharge_name", "scheme"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, str) or not value.strip()):
                raise ParameterError(f"{name} is text, not {value!r}: put it in quotes")
        if self.runoff_name is not None and self.runoff_name == self.discharge_name:
            raise ParameterError(f"runoff_name and discharge_name are both {self.runoff_name!r}: each needs its own")


def read_config(path: str | os.PathLike[str]) -> BmiConfig:
    """Read a configuration file.

    Raises
    ------
    XRouteError
        If it is no YAML, or no mapping.
    ParameterError
        For entries that are unknown, missing or impossible.
    FileNotFoundError
        If there is no file.
    """
    if not isinstance(path, (str, os.PathLike)) or not str(path):
        raise XRouteError(f"initialize takes the path of a configuration file in YAML, not {path!r}")
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"there is no configuration file {file}")
    entries = {str(name): value for name, value in _load(file).items() if value is not None}  # an empty one is none
    known = [field.name for field in fields(BmiConfig)]
    unknown = [name for name in entries if name not in known]
    if unknown:
        near = difflib.get_close_matches(str(unknown[0]), known, 1)
        raise ParameterError(
            f"{file} has entries that are unknown here: {some(unknown)}. "
            + (f"Is {near[0]!r} meant? " if near else "")
            + f"There are {', '.join(known)}"
        )
    if "network" not in entries:
        raise ParameterError(f"{file} names no network: give the path of one, network: rivers.nc")
    for name in ("network", "initial_state"):
        if name in entries:
            entries[name] = _path(entries[name], name, file)
    slope = entries.get("hillslope")
    if isinstance(slope, str) and slope not in HILLSLOPE:
        entries["hillslope"] = _path(slope, "hillslope", file)
    elif isinstance(slope, list):
        entries["hillslope"] = _numbers(slope, file)
    try:
        return BmiConfig(**entries)
    except ParameterError as error:
        raise ParameterError(f"{file}: {error}") from error


def _path(value: Any, name: str, file: Path) -> Path:
    if not isinstance(value, str) or not value.strip():
        raise ParameterError(f"{file}: {name} is a path, not {value!r}")
    return file.absolute().parent / Path(value).expanduser()


def _numbers(values: list[Any], file: Path) -> Any:
    try:
        return np.array(values, np.float64)
    except (TypeError, ValueError) as error:
        raise ParameterError(f"{file}: the ordinates of hillslope are numbers, not {some(values, 3)}") from error


def _load(file: Path) -> dict[Hashable, Any]:
    """Entries of a YAML file."""
    yaml = require("yaml", feature="the configuration file of BMI", extra="bmi")

    class Loader(yaml.SafeLoader):  # type: ignore[name-defined]
        """Leaves dates text, so that those of all calendars can be given."""

        yaml_implicit_resolvers = {
            first: [pair for pair in pairs if pair[0] != DATES]
            for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
            """Refuse an entry that stands twice."""
            names = [self.construct_object(name, deep=True) for name, _ in node.value if name.tag != MERGE]
            twice = [name for k, name in enumerate(names) if name in names[:k]]
            if twice:
                raise XRouteError(f"{file} has the entry {some(twice)} more than once: leave one")
            found: dict[Hashable, Any] = super().construct_mapping(node, deep)
            return found

    try:
        with open(file, encoding="utf-8-sig") as stream:
            entries = yaml.load(stream, Loader)
    except (yaml.YAMLError, UnicodeError) as error:
        raise XRouteError(f"{file} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(entries, dict):
        raise XRouteError(f"{file} is no configuration: it holds no entries such as 'network: rivers.nc'")
    return entries
