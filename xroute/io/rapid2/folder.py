"""Which file of a RAPID2 set-up plays which part: by its namelist, and without one by what is in the files."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path, PureWindowsPath
from typing import Any

from xroute.exceptions import XRouteError, require, some
from xroute.files.opening import PathLike, open_netcdf
from xroute.io.rapid.folder import find_namelist

__all__ = ["COLUMNS", "TABLES", "find_files", "is_rapid2", "read_namelist", "resolve"]

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

    Parameters
    ----------
    path
        The folder or the file.

    Returns
    -------
    bool
        Whether it is.

    Raises
    ------
    XRouteError
        When several files could play the same role.

    Examples
    --------
    >>> import tempfile
    >>> from xroute.datasets import rapid_folder
    >>> from xroute.io import rapid2
    >>> folder = rapid_folder(tempfile.mkdtemp(), version=2, days=1)
    >>> rapid2.is_rapid2(folder)
    True
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

    Examples
    --------
    >>> import tempfile
    >>> from xroute.datasets import rapid_folder
    >>> from xroute.io import rapid2
    >>> folder = rapid_folder(tempfile.mkdtemp(), version=2, days=1)
    >>> rapid2.find_files(folder)["runoff"].name
    'Qext_tutorial.nc4'
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

    Parameters
    ----------
    path
        The YAML file.

    Returns
    -------
    dict
        For example ``{"con_pqt": "input/con.parquet", "IS_dtR": 900, ...}``.

    Raises
    ------
    XRouteError
        If it is no YAML, or no mapping that names a connectivity file.

    Examples
    --------
    >>> import tempfile
    >>> from xroute.datasets import rapid_folder
    >>> from xroute.io import rapid2
    >>> folder = rapid_folder(tempfile.mkdtemp(), version=2, days=1)
    >>> rapid2.read_namelist(folder / "nml_tutorial.yml")["IS_dtR"]
    900
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


def resolve(path: PathLike, role: str) -> Path:
    """The file itself, or the one of a role in a folder or of a namelist.

    Parameters
    ----------
    path
        The file, the folder, or the namelist.
    role
        As `find_files` names it.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    FileNotFoundError
        If there is none.
    XRouteError
        When several files could play the role.

    Examples
    --------
    >>> import tempfile
    >>> from xroute.datasets import rapid_folder
    >>> from xroute.io import rapid2
    >>> folder = rapid_folder(tempfile.mkdtemp(), version=2, days=1)
    >>> rapid2.resolve(folder, "runoff").name
    'Qext_tutorial.nc4'
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
