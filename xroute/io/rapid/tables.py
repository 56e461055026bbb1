"""RAPID's tables: headerless csv whose rows stand for reaches.

In a file whose rows are known by position, nothing may be skipped: a blank row between others, a second column or a word
is an error that names the row. Fortran reads such files otherwise, and with them another river.
"""

from __future__ import annotations

import codecs
import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from xroute.exceptions import NetworkError
from xroute.files.opening import PathLike

__all__ = ["Connectivity", "read_connectivity", "read_floats", "read_ids", "rows_of", "text_encoding"]


LONGEST_ROW = 2**16
"""Characters; a longer row is no row of RAPID's files, of which the widest names the tributaries of a reach."""


def rows_of(path: PathLike) -> Iterator[tuple[int, str]]:
    """Rows of a text file with their numbers, from 1, stripped; blank ones at the end are left out.

    UTF-8 and UTF-16 with their marks and the line ends of all systems are read.
    """
    blank, number = 0, 0
    try:
        with open(path, encoding=text_encoding(path)) as lines:
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


def read_floats(path: PathLike) -> NDArray[np.float64]:
    """Values of a headerless file of one column."""
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
    """Ids of a headerless file of one column."""
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
    declares
        Whether the file has upstream columns.
    """

    ids: NDArray[np.int64]
    downstream: NDArray[np.int64]
    owner: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    upstream: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    declares: bool = False


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
    cell = f"row {row}" if column is None else f"row {row}, column {column}"
    raise NetworkError(
        f"{path}, {cell}: {_shorten(text)} is not a whole number that fits 64 bits{_reason(text, 'whole number')}"
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


def text_encoding(path: PathLike) -> str:
    """Encoding of a text file: UTF-16 where its mark says so, else UTF-8."""
    with open(path, "rb") as stream:
        start = stream.read(2)
    return "utf-16" if start in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"
