"""RAPID's namelist, read by Fortran's rules."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from xroute.exceptions import NetworkError
from xroute.files.opening import PathLike
from xroute.io.rapid.tables import text_encoding

__all__ = ["NAMELIST_NAMES", "namelist_seconds", "read_namelist"]


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
