"""RAPID's folder: which file plays which part, by its namelist (read by Fortran's rules) and by their usual names."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np

from xroute.exceptions import NetworkError, XRouteError, some
from xroute.files.opening import PathLike, only_match
from xroute.io.rapid.tables import text_encoding

__all__ = ["PATTERNS", "find_file", "find_files", "find_namelist", "namelist_seconds", "read_namelist"]

logger = logging.getLogger(__name__)

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


def find_files(folder: PathLike, namelist: PathLike | None = None) -> dict[str, Path]:
    """Find RAPID's files in a folder, by what its namelist calls them and by their usual names.

    Parameters
    ----------
    folder
        The folder to look in (not below it). A file that the namelist names is looked for by its base name in the folder,
        since the paths of a namelist are often those of another machine, and then where its path leads from the folder.
    namelist
        The namelist, where there are several or it lies elsewhere.

    Returns
    -------
    dict
        Of the roles ``connect``, ``k``, ``x``, ``basin_ids``, ``runoff``, ``namelist``, ``discharge`` and ``state`` (the
        initial flow, if the namelist says that it is read) those that were found.

    Raises
    ------
    XRouteError
        When several files could play the same role.

    Examples
    --------
    >>> import tempfile
    >>> from xroute.datasets import rapid_folder
    >>> from xroute.io import rapid
    >>> folder = rapid_folder(tempfile.mkdtemp(), days=1)
    >>> rapid.find_files(folder)["k"].name
    'k.csv'
    """
    chosen = find_namelist(folder) if namelist is None else Path(namelist)
    stated = {} if chosen is None else read_namelist(chosen)
    named = {} if chosen is None else _named_files(chosen, Path(folder))
    found: dict[str, Path] = {}
    for role in (*PATTERNS, "state"):
        path = chosen if role == "namelist" else named.get(role)
        if path is None and role in PATTERNS:
            path = only_match(folder, PATTERNS[role], role)
            text = stated.get(NAMELIST_NAMES.get(role, ""))
            if path is not None and role in ("connect", "k", "x", "basin_ids") and isinstance(text, str) and text.strip():
                logger.warning("%s names %s as %s, and there is no such file: %s is read instead", chosen, text, role, path)
        if path is not None:
            found[role] = path
    if "basin_ids" not in found and stated.get("riv_bas_id_file"):
        logger.warning("%s names the ids to route, and that file is not in %s: all reaches are routed", chosen, folder)
    return found


def find_file(folder: PathLike, role: str) -> Path | None:
    """Find the file of one role in a folder, as `find_files` does."""
    namelist = find_namelist(folder)
    named = {} if namelist is None else _named_files(namelist, Path(folder))
    return named.get(role) or (only_match(folder, PATTERNS[role], role) if role in PATTERNS else None)


def find_namelist(folder: PathLike) -> Path | None:
    """The namelist of a folder, if it has one."""
    for pattern in PATTERNS["namelist"]:
        found = sorted(p for p in Path(folder).glob(pattern) if p.is_file() and p.suffix.lower() not in (".yml", ".yaml"))
        if len(found) > 1:
            names = some(path.name for path in found)
            raise XRouteError(f"several files in {folder} could be the namelist ({pattern}): {names}; name the one to use")
        if found:
            return found[0]
    return None


def _named_files(namelist: Path, folder: Path) -> dict[str, Path]:
    """Files that a namelist names and that are in a folder, or where it says."""
    values = read_namelist(namelist)
    found = {}
    for role, name in NAMELIST_NAMES.items():
        text = values.get(name)
        if not isinstance(text, str) or not text.strip() or (role == "state" and values.get("BS_opt_Qinit") is not True):
            continue
        base = PureWindowsPath(text.strip()).name  # takes slashes of both kinds
        for path in (folder / base, namelist.parent / text.strip()):
            if path.is_file() and not (role in ("runoff", "discharge") and path.suffix.lower() in (".csv", ".txt")):
                found[role] = path
                if path.parent != folder:
                    logger.info("%s: %s is %s, outside of the folder", namelist, name, path)
                elif not any(path.match(pattern) for pattern in PATTERNS.get(role, ())):
                    logger.info("%s: %s is the file %s of the folder", namelist, name, base)
                break
    return found


#: What a namelist calls them.
NAMELIST_NAMES: Mapping[str, str] = {
    "connect": "rapid_connect_file",
    "k": "k_file",
    "x": "x_file",
    "basin_ids": "riv_bas_id_file",
    "runoff": "Vlat_file",
    "discharge": "Qout_file",
    "state": "Qinit_file",
}
#: Fortran does not tell capitals from small letters: these are given as RAPID writes them.
KNOWN_NAMES = {n.lower(): n for n in (*NAMELIST_NAMES.values(), "ZS_TauR", "ZS_dtR", "BS_opt_Qinit", "Qfinal_file")}

TOKEN = re.compile(
    r"""(?P<text>'(?:[^']|'')*'|"(?:[^"]|"")*")|(?P<comment>![^\n]*)|(?P<equals>=)|(?P<comma>,)|(?P<word>[^\s=,!'"]+)|\s+"""
)


def read_namelist(path: PathLike) -> dict[str, Any]:
    """Read a RAPID namelist: names to bool, int, float or str, or a list of them.

    Fortran's rules hold: comments after ``!``, several assignments on a line or one on several, exponents with d, quotes
    doubled inside of quotes. Names that the readers know are given as RAPID writes them, whatever their capitals.

    Parameters
    ----------
    path
        The ``rapid_namelist`` file.

    Returns
    -------
    dict
        For example ``{"ZS_TauR": 10800, "BS_opt_Qinit": False, "k_file": "k.csv", ...}``.

    Raises
    ------
    NetworkError
        If a quote is opened and not closed; the line is named.

    Examples
    --------
    >>> import tempfile
    >>> from xroute.datasets import rapid_folder
    >>> from xroute.io import rapid
    >>> folder = rapid_folder(tempfile.mkdtemp(), days=1)
    >>> rapid.read_namelist(folder / "rapid_namelist")["ZS_dtR"]
    900
    """
    text = Path(path).read_text(encoding=text_encoding(path), errors="replace")
    tokens: list[tuple[str, str]] = []
    at = 0
    while at < len(text):
        match = TOKEN.match(text, at)
        if match is None or (match.lastgroup == "text" and "\n" in match[0]):
            line = text.count("\n", 0, at) + 1
            raise NetworkError(f"{path}, line {line}: a quote is opened and not closed: {text[at : at + 40].splitlines()[0]}")
        at = match.end()
        if match.lastgroup not in (None, "comment"):
            tokens.append((str(match.lastgroup), match[0]))
    values: dict[str, Any] = {}
    name = None
    inside = not any(kind == "word" and token[0] in "&$" for kind, token in tokens)  # text around a group is comment
    for k, (kind, token) in enumerate(tokens):
        if kind == "word" and (token[0] in "&$" or token == "/"):
            name, inside = None, token[0] in "&$" and token[1:].lower() != "end"
        elif inside and kind == "word" and k + 1 < len(tokens) and tokens[k + 1][0] == "equals":
            name = KNOWN_NAMES.get(token.lower(), token)
            values[name] = []  # Fortran keeps the last of several
        elif kind in ("word", "text") and name is not None:
            values[name].append(_namelist_value(token))
    return {name: found[0] if len(found) == 1 else found for name, found in values.items() if found}


def _namelist_value(text: str) -> bool | int | float | str:
    if text[0] in "'\"":
        return text[1:-1].replace(text[0] * 2, text[0])
    if text.lower() in (".true.", ".t.", "t", ".false.", ".f.", "f"):
        return text.lower().strip(".").startswith("t")
    for kind in (int, float):
        try:
            return kind(re.sub("[dD]", "e", text))
        except ValueError:
            continue
    return text


def namelist_seconds(values: Mapping[str, Any], name: str, file: PathLike | None) -> float | None:
    """A step of a namelist [s]; None if it does not say."""
    value = values.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < np.inf:
        raise NetworkError(f"{file}: {name} is a positive number of seconds, not {value!r}")
    return float(value)
