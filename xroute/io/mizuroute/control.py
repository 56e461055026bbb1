"""mizuRoute's control file: what a run is made of, by tags; and the namelist of its parameters.

A line is ``<tag> value ! comment``; what begins with ``!`` is comment. Relative folders are looked for from the folder of the
control file, and from those above it, where mizuRoute may have been started. Nothing else is read here.
"""

from __future__ import annotations

import glob
import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from xroute.exceptions import ParameterError, XRouteError, some, warn
from xroute.files.opening import PathLike
from xroute.guards import reading
from xroute.io.mizuroute.tags import unknown_tags
from xroute.io.rapid.folder import read_namelist
from xroute.io.rapid.tables import text_encoding

__all__ = ["DEFAULTS", "Control", "as_control", "find_control", "is_control", "read_control", "read_parameters"]

logger = logging.getLogger(__name__)

PATTERNS = ("*.control", "*control*.txt", "*.ctl", "control*")
LINE = re.compile(r"\s*<\s*(?P<tag>[^<>\s]+)\s*>(?P<rest>.*)")

DEFAULTS: Mapping[str, str] = {
    "dname_sseg": "seg", "dname_nhru": "hru", "varname_segId": "segId", "varname_downSegId": "downSegId",
    "varname_HRUid": "HRUid", "varname_hruSegId": "hruSegId", "varname_area": "area", "varname_length": "length",
    "varname_slope": "slope", "vname_qsim": "runoff", "vname_time": "time", "dname_time": "time", "vname_hruid": "hru",
    "dname_hruid": "hru", "dname_xlon": "lon", "dname_ylat": "lat", "vname_hruid_in_remap": "polyid",
    "vname_weight": "weight", "vname_qhruid": "overlapPolyId", "vname_num_qhru": "overlaps", "vname_i_index": "i_index",
    "vname_j_index": "j_index", "ro_time_stamp": "start", "route_opt": "1", "doesBasinRoute": "1", "hw_drain_point": "2",
    "is_remap": "F", "min_length_route": "0", "runoffMin": "0", "outputFrequency": "1", "case_name": "mizuroute",
}  # fmt: skip
"""What mizuRoute takes where a control file does not say."""
NEEDED = ("fname_ntopOld",)
NONLINEAR = {"2": "Lagrangian kinematic wave", "3": "kinematic wave", "4": "Muskingum-Cunge", "5": "diffusive wave"}
"""Routing options that are no linear filters."""
NOT_HERE = {
    "is_lake_sim": "lakes", "is_flux_wm": "abstraction and injection", "is_vol_wm": "target volumes of lakes",
    "tracer": "constituents", "qmodOption": "insertion of observed discharge",
}  # fmt: skip
"""Options that change discharge, and that nothing here has."""


@dataclass(frozen=True)
class Control:
    """A control file.

    Attributes
    ----------
    path
        The file; None for mizuRoute's own defaults.
    values
        Text by tag, without brackets, as the file has it.
    """

    path: Path | None = None
    values: Mapping[str, str] = field(default_factory=dict)

    def __contains__(self, tag: str) -> bool:
        return tag in self.values

    def text(self, tag: str) -> str | None:
        """What a tag says, or mizuRoute's default; None for neither.

        Parameters
        ----------
        tag
            Without brackets.

        Returns
        -------
        str or None
            The text, without quotes and blanks around it.

        Examples
        --------
        >>> from xroute.io.mizuroute.control import Control
        >>> Control().text("varname_segId")
        'segId'
        """
        return self.values.get(tag, DEFAULTS.get(tag))

    def flag(self, tag: str) -> bool:
        """A logical value, by Fortran's rules: T, F, .true., .false., and 1 and 0."""
        text = (self.text(tag) or "F").strip(".").lower()
        if text[:1] not in tuple("tf01"):
            raise ParameterError(f"{self.path}: <{tag}> is T or F, not {self.text(tag)!r}")
        return text[0] in "t1"

    def number(self, tag: str) -> float | None:
        """A finite number; None where neither the file nor mizuRoute has one."""
        text = self.text(tag)
        if text is None:
            return None
        try:
            number = float(re.sub("[dD]", "e", text.split()[0].rstrip(",")))
        except (ValueError, IndexError):
            number = np.nan
        if not np.isfinite(number):
            raise ParameterError(f"{self.path}: <{tag}> is a number, not {text!r}")
        return number

    def seconds(self, tag: str) -> float | None:
        """A positive number of seconds; None where the file has none."""
        number = self.number(tag)
        if number is not None and number <= 0:
            raise ParameterError(f"{self.path}: <{tag}> is a positive number of seconds, not {self.text(tag)!r}")
        return number

    def file(self, tag: str, folder: str) -> Path:
        """The file that a tag names in the folder of another tag.

        Raises
        ------
        XRouteError
            If the tag is not there.
        FileNotFoundError
            If the file is not there; the places where it was looked for are named.
        """
        name = self.text(tag)
        if not name:
            raise XRouteError(f"{self.path} has no <{tag}>")
        places = self._places(folder, name)
        found = next((place for place in places if place.is_file()), None)
        if found is None:
            raise FileNotFoundError(
                f"{self.path}: <{tag}> is {name!r}, and there is no such file in <{folder}> {self.text(folder) or ''!r}: looked "
                "for " + some(map(str, places), 4)
            )
        return found

    def files(self, tag: str, folder: str) -> list[Path]:
        """Files that a tag names: one netCDF file, a text file that lists several, or a pattern with wildcards."""
        name = self.text(tag) or ""
        if glob.has_magic(name):
            for place in self._places(folder, name):
                found = sorted(Path(match) for match in glob.glob(str(place)))
                if found:
                    return found
            raise FileNotFoundError(f"{self.path}: no file fits <{tag}> {name!r} in <{folder}> {self.text(folder) or ''!r}")
        file = self.file(tag, folder)
        with reading(file), open(file, "rb") as stream:
            if stream.read(4) in (b"CDF\x01", b"CDF\x02", b"CDF\x05", b"\x89HDF"):
                return [file]
        listed = [line.strip().strip("'\"") for line in _lines(file)]
        listed = [line for line in listed if line and not line.startswith("!")]
        if not listed:
            raise XRouteError(f"{file}, which <{tag}> names, is neither netCDF nor a list of netCDF files: it is empty")
        found = []
        for line in listed:
            places = [file.parent / line, *self._places(folder, line)]
            there = next((place for place in places if place.is_file()), None)
            if there is None:
                raise FileNotFoundError(f"{file} lists {line!r}, and there is no such file: {some(map(str, places), 4)}")
            found.append(there)
        return found

    def folder(self, tag: str) -> Path | None:
        """The folder that a tag names, where it is there."""
        return next((place for place in self._places(tag, "") if place.is_dir()), None)

    def _places(self, folder: str, name: str) -> list[Path]:
        """Where a file of a folder's tag may be, the likeliest first. mizuRoute puts one text behind the other."""
        said = os.path.expandvars(self.values.get(folder, ""))
        here = Path.cwd() if self.path is None else self.path.resolve().parent
        starts = [here, *here.parents[:3], Path.cwd()]
        tails = [Path(said) / name] + ([Path(said + name)] if said and name and not said.endswith("/") else [])
        found = [start / tail for tail in tails for start in starts]
        return list(dict.fromkeys([*found, here / Path(said).name / name, here / Path(name).name if name else here]))

    def warn_of_what_is_not_here(self) -> None:
        """Warn, once, of options that change discharge and that xroute does not have."""
        options = [f"<{tag}> ({what})" for tag, what in NOT_HERE.items() if tag in self.values and self.flag(tag)]
        if options:
            warn(f"{self.path} turns on {', '.join(options)}, which xroute does not have: its discharge will be another")
        chosen = self.text("route_opt") or "1"
        if "1" not in chosen:
            names = [NONLINEAR[d] for d in chosen if d in NONLINEAR] or ["the sum of runoff"]
            warn(
                f"{self.path} routes by {', '.join(names)} (<route_opt> {chosen}), which is no linear filter: the network gets "
                "the impulse response function (1) of its namelist, and other discharge will come of it"
            )


def is_control(path: PathLike) -> bool:
    """Whether a file is a control file, by its content: a text with a tag in angle brackets that begins a line."""
    file = Path(path)
    if not file.is_file():
        return False
    with reading(file), open(file, "rb") as stream:
        head = stream.read(65536)
    return b"\0" not in head and b"\x89HDF" != head[:4] and re.search(rb"^\s*<[A-Za-z_]+>", head, re.M) is not None


def find_control(folder: PathLike) -> Path | None:
    """The control file of a folder, or of its folder ``settings``; None for none.

    Raises
    ------
    XRouteError
        If there are several.
    """
    for place in (Path(folder), Path(folder) / "settings"):
        fitting = {path for pattern in PATTERNS for path in place.glob(pattern) if is_control(path)}
        if len(fitting) > 1:
            names = some(sorted(path.name for path in fitting))
            raise XRouteError(f"several control files in {place}: {names}; give the one to use in place of the folder")
        if fitting:
            return fitting.pop()
    return None


def as_control(source: Any) -> Control:
    """A control file that is given as a `Control`, its path, or the folder that holds it."""
    if isinstance(source, Control):
        return source
    path = Path(source)
    if path.is_dir():
        found = find_control(path)
        if found is None:
            raise FileNotFoundError(f"no control file of mizuRoute in {path} ({', '.join(PATTERNS)}): give its path")
        path = found
    return read_control(path)


def read_control(path: PathLike) -> Control:
    r"""Read a control file.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    Control
        What it says, by tags. Of a tag that stands twice the last one counts, as for mizuRoute.

    Raises
    ------
    XRouteError
        If a line is none, or no network is named; the line is named.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from xroute.io.mizuroute.control import read_control
    >>> path = pathlib.Path(tempfile.mkdtemp(), "run.control")
    >>> _ = path.write_text("! a run\n<fname_ntopOld>  topology.nc  ! the network\n<dt_qsim>  3600  !\n")
    >>> read_control(path).number("dt_qsim")
    3600.0
    """
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"no control file {path}")
    values: dict[str, str] = {}
    for number, line in enumerate(_lines(file), 1):
        if not line.strip() or line.lstrip().startswith("!"):
            continue
        match = LINE.match(line)
        if match is None:
            raise XRouteError(f"{file}, line {number} is neither <tag> value ! comment nor a comment: {line.strip()[:60]!r}")
        tag, value = match["tag"], match["rest"].partition("!")[0].strip()
        if len(value) > 1 and value[0] in "'\"" and value[-1] == value[0]:
            value = value[1:-1].strip()
        if values.get(tag, value) != value:
            warn(f"{file} has <{tag}> twice, {values[tag]!r} and then {value!r}: the last one counts")
        values[tag] = value
    lacking = [tag for tag in NEEDED if not values.get(tag)]
    if lacking:
        raise XRouteError(f"{file} is no control file of mizuRoute: it has no <{lacking[0]}>, but {some(values) or 'no tags'}")
    strange = unknown_tags(values)
    if strange:
        warn(f"{file} has tags that mizuRoute does not know, which are left out: {some(f'<{tag}>' for tag in strange)}")
    return Control(file, values)


def read_parameters(path: PathLike) -> dict[str, float]:
    r"""Read the namelist of parameters (``param.nml``).

    Parameters
    ----------
    path
        The file, with the groups ``&HSLOPE`` and ``&IRF_UH``.

    Returns
    -------
    dict
        ``fshape`` [1], ``tscale`` [s], ``velo`` [m s-1] and ``diff`` [m2 s-1], as far as they are there.

    Raises
    ------
    ParameterError
        For values that are no positive numbers.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from xroute.io import mizuroute
    >>> path = pathlib.Path(tempfile.mkdtemp(), "param.nml")
    >>> _ = path.write_text("&HSLOPE\n  fshape = 2.5\n  tscale = 86400\n/\n&IRF_UH\n  velo = 1.5, diff = 5.d3\n/\n")
    >>> mizuroute.read_parameters(path)
    {'fshape': 2.5, 'tscale': 86400.0, 'velo': 1.5, 'diff': 5000.0}
    """
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"no namelist of parameters {path}")
    read = {str(name).lower(): value for name, value in read_namelist(file).items()}
    found: dict[str, float] = {}
    for name in ("fshape", "tscale", "velo", "diff"):
        if name not in read:
            continue
        value = read[name]
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < np.inf:
            raise ParameterError(f"{file}: {name} is a positive number, not {value!r}")
        found[name] = float(value)
    return found


def _lines(path: Path) -> list[str]:
    with reading(path):
        return path.read_text(encoding=text_encoding(path), errors="replace").splitlines()
