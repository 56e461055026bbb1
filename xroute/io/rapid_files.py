"""RAPID's plain files: their usual names, headerless csv whose rows stand for reaches, and the namelist.

In a file whose rows are known by position, nothing may be skipped: a blank row between others, a second column or a word
is an error that names the row. Fortran reads such files otherwise, and with them another river.
"""

from __future__ import annotations

import codecs
import logging
import os
import re
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xroute.exceptions import NetworkError, XRouteError, some
from xroute.io.files import only_match

__all__ = [
    "PATTERNS", "Connectivity", "find_file", "find_files", "find_namelist", "namelist_seconds", "read_connectivity",
    "read_floats", "read_ids", "read_namelist", "rows_of",
]  # fmt: skip

PathLike = str | os.PathLike[str]
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

LONGEST_ROW = 2**16
"""Characters; a longer row is no row of RAPID's files, of which the widest names the tributaries of a reach."""


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
    """Find the file of one role in a folder, as `find_files` does.

    Raises
    ------
    XRouteError
        When several could play it.
    """
    namelist = find_namelist(folder)
    named = {} if namelist is None else _named_files(namelist, Path(folder))
    return named.get(role) or (only_match(folder, PATTERNS[role], role) if role in PATTERNS else None)


def find_namelist(folder: PathLike) -> Path | None:
    """The namelist of a folder, if it has one.

    Raises
    ------
    XRouteError
        When there are several.
    """
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


def namelist_seconds(values: Mapping[str, Any], name: str, file: PathLike | None) -> float | None:
    """A step of a namelist [s]; None if it does not say.

    Raises
    ------
    NetworkError
        If it is no positive number.
    """
    value = values.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < np.inf:
        raise NetworkError(f"{file}: {name} is a positive number of seconds, not {value!r}")
    return float(value)


# ── csv ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


def rows_of(path: PathLike) -> Iterator[tuple[int, str]]:
    """Rows of a text file with their numbers, from 1, stripped; blank ones at the end are left out.

    UTF-8 and UTF-16 with their marks and the line ends of all systems are read.

    Raises
    ------
    NetworkError
        For a blank row between others, a row that is too long to be one, and what is no text.
    """
    blank, number = 0, 0
    try:
        with open(path, encoding=_encoding(path)) as lines:
            while line := lines.readline(LONGEST_ROW):
                number += 1
                if len(line) == LONGEST_ROW:
                    raise NetworkError(
                        f"{path}, row {number} has more than {LONGEST_ROW:,} characters: {line[:40]!r}...; RAPID's rows "
                        "hold a value, or the ids around a reach"
                    )
                line = line.strip()
                if not line:
                    blank = blank or number
                    continue
                if blank:
                    raise NetworkError(
                        f"{path}, row {blank} is blank and others follow: a row stands for a reach, so fill it in or remove it"
                    )
                if "\0" in line:
                    raise NetworkError(f"{path}, row {number} holds NUL characters: it is no text, or UTF-16 without its mark")
                yield number, line
    except UnicodeError as error:
        raise NetworkError(f"{path} is neither UTF-8 nor UTF-16 text, after row {number} ({error})") from error


def _encoding(path: PathLike) -> str:
    with open(path, "rb") as stream:
        start = stream.read(2)
    return "utf-16" if start in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"


def read_floats(path: PathLike) -> NDArray[np.float64]:
    """Values of a headerless file of one column.

    Raises
    ------
    NetworkError
        Naming file and row, for anything but one number a row: a second column, decimal commas, words.
    """
    values = array("d")
    for row, text in rows_of(path):
        try:
            if "_" in text:
                raise ValueError
            values.append(float(text))
        except ValueError:
            values.append(_fortran_float(path, row, text))
    return np.array(values, np.float64)


def _fortran_float(path: PathLike, row: int, text: str) -> float:
    if re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)[dD][-+]?\d+", text):
        return float(re.sub("[dD]", "e", text))
    raise NetworkError(f"{path}, row {row}: {_shorten(text)} is not one number{_reason(text, 'number')}")


def read_ids(path: PathLike) -> NDArray[np.int64]:
    """Ids of a headerless file of one column.

    Raises
    ------
    NetworkError
        Naming file and row, for anything but one whole number a row.
    """
    ids = array("q")
    for row, text in rows_of(path):
        ids.append(_whole(path, row, text, None))
    if not ids:
        raise NetworkError(f"{path} is empty")
    return np.array(ids, np.int64)


@dataclass(frozen=True)
class Connectivity:
    """Columns of a connectivity file, and the links that its upstream columns declare.

    Attributes
    ----------
    ids, downstream : int64 [row]
    owner, upstream : [declared link]
        Row of the reach downstream, and id of the one upstream.
    declares : bool
        Whether the file has upstream columns.
    """

    ids: NDArray[np.int64]
    downstream: NDArray[np.int64]
    owner: NDArray[np.int64]
    upstream: NDArray[np.int64]
    declares: bool


def read_connectivity(path: PathLike) -> Connectivity:
    """Read ``rapid_connect.csv``: id, downstream id, number of upstream reaches, and so many of their ids.

    Rows may be of different lengths, and ids of zero may fill them up; the number and the ids upstream may be left out of
    the whole file.

    Raises
    ------
    NetworkError
        Naming file and row, for cells that are empty or no whole numbers, rows that lack cells which others have, numbers
        of upstream reaches that do not fit, and ids beyond that number.
    """
    ids, downstream, owner, upstream = array("q"), array("q"), array("q"), array("q")
    width = 0
    for row, text in rows_of(path):
        cells = text.split(",")
        while len(cells) > 3 and not cells[-1].strip():  # as spreadsheets fill up short rows
            cells.pop()
        numbers = _whole_numbers(path, row, cells)
        if len(numbers) < 2:
            raise NetworkError(f"{path}, row {row} has 1 column; it needs id, downstream, ...")
        if len(numbers) < width or (width == 2 and len(numbers) > 2):
            raise NetworkError(
                f"{path}, row {row} has {len(numbers)} columns, and those before it {'at least 3' if width == 3 else 2}: "
                "each needs id, downstream, number upstream, and their ids"
            )
        width = width or min(len(numbers), 3)
        ids.append(numbers[0])
        downstream.append(numbers[1])
        if width == 3:
            declared, n = numbers[3:], numbers[2]
            if not 0 <= n <= len(declared):
                raise NetworkError(
                    f"{path}, row {row}: the number of upstream reaches, {n}, does not fit the {len(declared)} columns that "
                    f"follow it, for reach {numbers[0]}"
                )
            if len(declared) > n and max(declared[n:]) > 0:
                beyond = [number for number in declared[n:] if number > 0]
                raise NetworkError(
                    f"{path}, row {row}: reach {numbers[0]} has {n} reaches upstream, and {len(beyond)} more ids follow, "
                    f"{beyond[0]} for one: correct the number or remove them"
                )
            upstream.extend(declared[:n])
            owner.extend([len(ids) - 1] * n)
    if not ids:
        raise NetworkError(f"{path} is empty")
    down, owners, up = (np.array(column, np.int64) for column in (downstream, owner, upstream))
    return Connectivity(np.array(ids, np.int64), down, owners, up, width == 3)


def _whole_numbers(path: PathLike, row: int, cells: list[str]) -> list[int]:
    """Cells of a row; looked at one by one only where they are not the plain digits of short ids."""
    if all(len(cell) < 19 and cell.isdigit() and cell.isascii() for cell in cells):
        return [int(cell) for cell in cells]
    return [_whole(path, row, cell, k + 1) for k, cell in enumerate(cells)]


def _whole(path: PathLike, row: int, text: str, column: int | None) -> int:
    try:
        number = int(text)
        if -(2**63) <= number < 2**63 and "_" not in text and text.isascii():
            return number
    except ValueError:
        pass
    where = f"row {row}" if column is None else f"row {row}, column {column}"
    raise NetworkError(
        f"{path}, {where}: {_shorten(text)} is not a whole number that fits 64 bits{_reason(text, 'whole number')}"
    )


def _shorten(text: str) -> str:
    text = text.strip()
    return repr(text if len(text) <= 40 else text[:40] + "...")


def _reason(text: str, kind: str) -> str:
    """What may be wrong with a row, and what it should be."""
    if len([part for part in re.split(r"[,;\s]+", text.strip()) if part]) > 1 or text.rstrip().endswith((",", ";")):
        why = f": there must be one {kind} a row and nothing beside it, in the order of rapid_connect.csv"
        return why + ("; decimals are written with a point" if kind == "number" else "")
    if not text.strip():
        return ": the cell is empty"
    return " (the file has no header)" if re.search(r"[^\W\d_]", text) else ""


# ── namelist ──────────────────────────────────────────────────────────────────────────────────────────────────────────

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
    """
    text = Path(path).read_text(encoding=_encoding(path), errors="replace")
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
