"""Read the files of RAPID2, the RAPID of Python: tables in Parquet, external inflow and states in netCDF, a namelist in YAML.

Tables bear ids: ``con`` (riv, dwn; 0 at outlets), ``kpr`` (riv, kpr [s]), ``xpr`` (riv, xpr), ``bas`` (riv: what to route),
``crd`` (riv, lon, lat). ``Qext(time, rivid)`` is the mean inflow of a step [m3 s-1], stamped at its start and with bounds;
``Q00`` and ``Qfi`` hold ``Qout(time, rivid)`` of one instant. It routes as RAPID does: the namelist's IS_dtR is the routing
step, and the step of Qext is that of its bounds.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from xroute.exceptions import NetworkError, TimeAxisError, XRouteError, require, some
from xroute.ids import exact_ids
from xroute.io import rapid_series
from xroute.io.files import open_netcdf
from xroute.io.rapid_coordinates import Points, check_points, netcdf_points, place
from xroute.io.rapid_files import find_namelist
from xroute.io.rapid_network import Region, assemble, recipe_attrs, refuse_duplicates, rows_to_route
from xroute.stamps import unit_seconds

__all__ = [
    "find_files", "is_rapid2", "read_discharge", "read_namelist", "read_network", "read_runoff", "read_state", "resolve",
]  # fmt: skip

PathLike = str | os.PathLike[str]
logger = logging.getLogger(__name__)

#: Files by role, as the namelist calls them.
NAMELIST_NAMES: Mapping[str, str] = {
    "connect": "con_pqt", "k": "kpr_pqt", "x": "xpr_pqt", "basin_ids": "bas_pqt", "coordinates": "crd_pqt",
    "runoff": "Qex_ncf", "state": "Q00_ncf", "final": "Qfi_ncf", "discharge": "Qou_ncf",
}  # fmt: skip
#: Columns by which a table is known; the first that all are there.
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "connect": ("riv", "dwn"), "k": ("riv", "kpr"), "x": ("riv", "xpr"), "coordinates": ("riv", "lon", "lat"),
}  # fmt: skip
INPUTS = ("connect", "k", "x", "basin_ids", "runoff")
TABLES = (".parquet", ".pqt", ".pq")


def is_rapid2(path: PathLike) -> bool:
    """Whether a folder, a YAML file or a table is RAPID2's, by its content.

    Of a folder with the files of both, as RAPID2's converter leaves it, the namelist tells; with RAPID's own namelist, or
    none, it is RAPID's.
    """
    path = Path(path)
    if path.is_dir():
        if any(path.glob("rapid_connect*.csv")):
            if not _namelists(path):
                return False
            if find_namelist(path) is None:
                return True
            logger.info("%s holds set-ups of RAPID and RAPID2: RAPID's is read; RAPID2's is given by its namelist", path)
            return False
        return bool(_namelists(path)) or any(_role_of_table(table) == "connect" for table in _tables(path))
    if path.suffix.lower() in (".yml", ".yaml"):
        return path.is_file()
    return path.suffix.lower() in TABLES and path.is_file()


def find_files(folder_or_namelist: PathLike) -> dict[str, Path]:
    """Find RAPID2's files: those that the namelist names, and in a folder without one, by what is in them.

    Parameters
    ----------
    folder_or_namelist
        The folder, or the namelist. A file that it names is looked for by its base name beside the namelist, and then
        where its path leads from there or from a folder above, where RAPID2 may have been started.

    Returns
    -------
    dict
        Of the roles ``namelist``, ``connect``, ``k``, ``x``, ``basin_ids``, ``coordinates``, ``runoff``, ``state`` (Q00),
        ``final`` (Qfi) and ``discharge`` those that were found. Of several states or results of which the namelist names
        none, none is.

    Raises
    ------
    XRouteError
        When several files could play the same role.
    """
    path = Path(folder_or_namelist)
    if not path.exists():
        raise FileNotFoundError(f"no RAPID2 folder or namelist {path}")
    folder = path if path.is_dir() else path.parent
    found: dict[str, Path] = {}
    if path.is_dir():
        namelists = _namelists(path)
        if len(namelists) > 1:
            names = some(file.name for file in namelists)
            raise XRouteError(f"several namelists in {path}: {names}; give the one to use in place of the folder")
        found |= {"namelist": namelists[0]} if namelists else {}
    else:
        found["namelist"] = path
    if "namelist" in found:
        found |= _named_files(found["namelist"])
    for role, candidates in _by_content(folder).items():
        if role not in found and (len(candidates) == 1 or role in INPUTS):
            if len(candidates) > 1:
                names = some(file.name for file in candidates)
                raise XRouteError(f"several files in {folder} could be the {role}: {names}; name the one to use")
            found[role] = candidates[0]
    return found


def read_namelist(path: PathLike) -> dict[str, Any]:
    """Read RAPID2's namelist.

    Returns
    -------
    dict
        For example ``{"con_pqt": "input/con.parquet", "IS_dtR": 900, ...}``.

    Raises
    ------
    XRouteError
        If it is no YAML, or no mapping that names a connectivity file.
    """
    yaml = require("yaml", feature="reading RAPID2's namelist", extra="io")
    try:
        with open(path, encoding="utf-8-sig") as stream:
            values = yaml.safe_load(stream)
    except (yaml.YAMLError, UnicodeError) as error:
        raise XRouteError(f"{path} is not YAML: {error}") from error
    if not isinstance(values, dict) or "con_pqt" not in values:
        raise XRouteError(f"{path} is no namelist of RAPID2: it has no entry con_pqt, the connectivity file")
    return {str(name): value for name, value in values.items()}


def read_network(
    folder_or_connect: PathLike,
    k: PathLike | None = None,
    x: PathLike | None = None,
    basin_ids: PathLike | None = None,
    *,
    coordinates: PathLike | None = None,
    routing_step: Any = None,
) -> xr.Dataset:
    """Read a RAPID2 network.

    Parameters
    ----------
    folder_or_connect
        A folder with RAPID2's files, its namelist, or the connectivity table.
    k, x, basin_ids, coordinates
        Tables in place of those of the folder. With a connectivity table and neither ``k`` nor ``x``, the topology alone
        is read; without ``basin_ids``, all reaches are routed.
    routing_step
        RAPID2's IS_dtR: seconds, or text like ``"15min"``; by default the namelist's.

    Returns
    -------
    xarray.Dataset
        As `xroute.io.rapid.read_network` gives it.

    Raises
    ------
    NetworkError
        For ids that stand twice or lack a value, ids to route that are not in the connectivity, and tables that are missing,
        not readable, or without the columns that they need.

    Warns
    -----
    UserWarning
        When reaches that are routed lie downstream of reaches that are not, so that water is missing from them.
    """
    path = Path(folder_or_connect)
    files = {"connect": path} if path.suffix.lower() in TABLES and path.is_file() else find_files(path)
    given = {"k": k, "x": x, "basin_ids": basin_ids, "coordinates": coordinates}
    files |= {role: Path(file) for role, file in given.items() if file is not None}
    whole = "namelist" in files or path.is_dir()
    for role in ("connect", "k", "x") if whole else ():
        if role not in files:
            raise NetworkError(f"no table with the columns {' and '.join(COLUMNS[role])} in {path}: give {role}=")
    ids, downstream = _read_ids(files["connect"], "riv"), _read_ids(files["connect"], "dwn")
    refuse_duplicates([ids], [files["connect"]])
    rows = np.arange(ids.size)
    if "basin_ids" in files:
        rows = rows_to_route(_read_ids(files["basin_ids"], "riv"), files["basin_ids"], ids, files["connect"])
    values: dict[str, NDArray[np.float64]] = {
        name: _by_id(files[name], f"{name}pr", ids, files["connect"], rows) for name in ("k", "x") if name in files
    }
    region = Region(files["connect"], ids, downstream, rows, values=values)
    network = assemble([region], "RAPID2")
    if "scheme" in network.attrs:
        namelist = files.get("namelist")
        stated: dict[str, Any] = {} if namelist is None else read_namelist(namelist)
        step = _external_step(files["runoff"]) if "runoff" in files else None
        stated |= {} if step is None else {"step of Qext": step}
        network.attrs.update(recipe_attrs([stated], routing_step, ("IS_dtR", "step of Qext"), [namelist]))
    points, source = _points(files)
    return network if points is None else place(network, [points], [source])


def read_runoff(
    path: PathLike, network: Any = None, *, dt: float | None = None, start: Any = None, variable: str = "Qext"
) -> xr.DataArray:
    """Read external inflow, the runoff of RAPID2.

    Parameters
    ----------
    path
        The file, or a folder or namelist that has one.
    network
        Network whose reaches and order the result takes, by id; by default those of the file.
    dt, start, variable
        As for `xroute.io.rapid.read_runoff`.

    Returns
    -------
    xarray.DataArray
        ``runoff`` (time, reach) [m3 s-1], the mean over each step; ``time_label`` says what a time is of its step.

    Raises
    ------
    AlignmentError, TimeAxisError
        As `xroute.io.rapid.read_runoff`.
    """
    return rapid_series.read_runoff(resolve(path, "runoff"), network, dt=dt, start=start, variable=variable)


def read_discharge(path: PathLike, network: Any = None, *, variable: str = "Qout") -> xr.DataArray:
    """Read RAPID2's discharge (Qout).

    Parameters
    ----------
    path
        The file, or a folder or namelist that has one.
    network, variable
        As for `read_runoff`.

    Returns
    -------
    xarray.DataArray
        ``discharge`` (time, reach) [m3 s-1], the mean over each step.

    Raises
    ------
    FileNotFoundError, AlignmentError, TimeAxisError
        As `read_runoff`.
    """
    return rapid_series.read_discharge(resolve(path, "discharge"), network, variable=variable)


def read_state(path: PathLike, network: Any = None, *, variable: str = "Qout") -> xr.DataArray:
    """Read a state, Q00 or Qfi, as a snapshot for `xroute.initial_state`.

    Parameters
    ----------
    path
        The file, or a folder or namelist whose Q00 is read.
    network
        Network whose reaches and order the result takes, by id; by default those of the file.
    variable
        Name of the variable.

    Returns
    -------
    xarray.DataArray
        ``discharge`` (reach) [m3 s-1], of the instant that the attribute ``time`` names.

    Raises
    ------
    XRouteError
        If the file holds several times: a state has one.
    """
    file = resolve(path, "state")
    with open_netcdf(file, raw=True) as raw:
        n_times = raw.sizes.get("time", 1)
        times = raw["time"].load() if "time" in raw.variables else None
    if n_times != 1:
        raise XRouteError(f"{file} holds {n_times} times, and a state is of one: it is no Q00 or Qfi of RAPID2")
    state = rapid_series.read_state(file, network, variable=variable)
    if times is not None and "since" in str(times.attrs.get("units", "")):
        moment = rapid_series.decode_times(times, file).values[0]
        state.attrs["time"] = pd.Timestamp(moment).isoformat() if isinstance(moment, np.datetime64) else moment.isoformat()
    return state


# ── which file is which ───────────────────────────────────────────────────────────────────────────────────────────────


def resolve(path: PathLike, role: str) -> Path:
    """The file itself, or the one of a role in a folder or of a namelist.

    Raises
    ------
    FileNotFoundError
        If there is none.
    """
    path = Path(path)
    if not path.is_dir() and path.suffix.lower() not in (".yml", ".yaml"):
        return path
    found = find_files(path)
    if role not in found:
        raise FileNotFoundError(f"no {role} file of RAPID2 in {path}")
    return found[role]


def _namelists(folder: Path) -> list[Path]:
    """YAML files of a folder that are RAPID2's namelists; other YAML may lie beside."""
    found = []
    for path in sorted({*folder.glob("*.yml"), *folder.glob("*.yaml")}):
        try:
            read_namelist(path)
        except XRouteError:
            if b"con_pqt" in path.read_bytes():  # it is meant for one
                raise
            continue
        found.append(path)
    return found


def _named_files(namelist: Path) -> dict[str, Path]:
    """Files that a namelist names and that are there."""
    values = read_namelist(namelist)
    found = {}
    folder = namelist.resolve().parent
    for role, name in NAMELIST_NAMES.items():
        text = values.get(name)
        if text is None:
            continue
        if not isinstance(text, str):
            raise XRouteError(f"{namelist}: {name} is the name of a file, not {text!r}")
        base = PureWindowsPath(text.strip()).name  # takes slashes of both kinds
        places = [namelist.parent / base, *(above / text.strip() for above in (folder, *folder.parents[:3]))]
        path = next((place for place in places if place.is_file()), None)
        if path is not None:
            found[role] = path
            if path.parent != namelist.parent:
                logger.info("%s: %s is %s, outside of its folder", namelist, name, path)
        elif role in INPUTS:
            logger.warning("%s names %s as %s, and there is no such file", namelist, text, name)
    return found


def _by_content(folder: Path) -> dict[str, list[Path]]:
    """Files of a folder by role, as far as their content tells."""
    found: dict[str, list[Path]] = {}
    for path in _tables(folder):
        role = _role_of_table(path)
        if role is not None:
            found.setdefault(role, []).append(path)
    for path in sorted(folder.glob("*.nc*")):
        role = _role_of_netcdf(path)
        if role is not None:
            found.setdefault(role, []).append(path)
    return found


def _tables(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.iterdir()) if path.suffix.lower() in TABLES and path.is_file())


def _role_of_table(path: Path) -> str | None:
    parquet = require("pyarrow.parquet", feature="reading RAPID2's tables", extra="io")
    try:
        names = parquet.read_schema(path).names
    except (OSError, ValueError):  # what is named as one of the set-up is read, and then its fault is told
        return None
    if names == ["riv"]:
        return "basin_ids"
    return next((role for role, columns in COLUMNS.items() if set(columns) <= set(names)), None)


def _role_of_netcdf(path: Path) -> str | None:
    try:
        with open_netcdf(path, raw=True) as raw:
            if "Qext" in raw.variables:
                return "runoff"
            if "Qout" in raw.variables and "time_bnds" in raw.variables:
                return "discharge"
            if "Qout" in raw.variables:
                name = path.name.lower()
                return "final" if name.startswith("qfi") else "state" if name.startswith(("q00", "qini")) else None
    except (XRouteError, OSError):
        return None
    return None


# ── tables ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _column(path: Path, name: str) -> NDArray[Any]:
    parquet = require("pyarrow.parquet", feature="reading RAPID2's tables", extra="io")
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}")
    try:
        names = parquet.read_schema(path).names
        if name not in names:
            raise NetworkError(f"{path} has no column {name!r}; it has {some(names)}")
        column = parquet.read_table(path, columns=[name]).column(name)
    except NetworkError:
        raise
    except (OSError, ValueError) as error:  # Arrow's errors are of these kinds
        raise NetworkError(f"{path} is not readable as Parquet: {error}") from error
    if column.null_count and name in ("riv", "dwn"):
        raise NetworkError(f"{path}: {column.null_count} entries of {name!r} are missing, and ids must not be")
    return np.asarray(column.to_numpy())


def _read_ids(path: Path, name: str) -> NDArray[np.int64]:
    ids = exact_ids(_column(path, name), f"{name} of {path}")
    if ids.dtype.kind != "i":
        raise NetworkError(f"{path}: {name!r} holds text, and RAPID2's ids are whole numbers")
    if not ids.size:
        raise NetworkError(f"{path} is empty")
    return ids


def _by_id(
    path: Path, name: str, ids: NDArray[np.int64], connect: Path, rows: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Values of a table in the order of the connectivity; reaches that are not routed need none."""
    have, values = pd.Index(_read_ids(path, "riv")), _column(path, name)
    if not have.is_unique:
        raise NetworkError(f"{path} has several values of reaches {some(have[have.duplicated()].unique())}")
    if values.dtype.kind not in "fiu":
        raise NetworkError(f"{path}: {name!r} holds {values.dtype}, not numbers")
    at = have.get_indexer(pd.Index(ids))
    lacking = ids[rows][at[rows] < 0]
    if lacking.size:
        raise NetworkError(f"{path} has no {name} of {lacking.size} reaches of {connect}: {some(lacking)}")
    extra = len(have) - int((at >= 0).sum())
    if extra:
        logger.info("%d reaches of %s are not in %s", extra, path.name, connect.name)
    return np.where(at >= 0, values.astype(np.float64)[at], np.nan)


def _points(files: Mapping[str, Path]) -> tuple[Points | None, Path]:
    """Places, of the table of coordinates or of a netCDF file."""
    if "coordinates" in files:
        path = files["coordinates"]
        lon, lat = (_column(path, name).astype(np.float64) for name in ("lon", "lat"))
        return check_points(path, (_read_ids(path, "riv"), lon, lat)), path
    for role in ("runoff", "state", "discharge"):
        if role in files:
            points = netcdf_points(files[role])
            if points is not None:
                return points, files[role]
    return None, files["connect"]


def _external_step(path: Path) -> float | None:
    """Step of Qext [s], by the bounds of its times; None where they were not written.

    Raises
    ------
    TimeAxisError
        If steps differ.
    """
    with open_netcdf(path, raw=True) as raw:
        if "time" not in raw.variables or "time_bnds" not in raw.variables or not raw.sizes.get("time"):
            return None
        bounds = raw["time_bnds"].to_numpy()
        unit = (str(raw["time"].attrs.get("units", "")).split() or ["seconds"])[0]
    length = unit_seconds(unit)
    if bounds.ndim != 2 or bounds.shape[1] != 2 or length is None:
        return None
    widths = np.unique(np.diff(bounds.astype(np.float64), axis=1))
    if widths.size > 1:
        raise TimeAxisError(f"the steps of {path} are not all of a length: {some(widths)} {unit} by its time_bnds")
    return float(widths[0]) * length if widths[0] > 0 else None
