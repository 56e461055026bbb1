"""Which file of a folder of the National Water Model plays which part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from xroute.files.opening import PathLike, only_match

__all__ = ["FORCING_PATTERNS", "LAKE_PATTERNS", "NETWORK_PATTERNS", "OUTPUT", "RESTART_PATTERNS", "TABLES", "find_files"]

FORCING_PATTERNS = ("*.CHRTOUT_DOMAIN*", "*CHRTOUT*", "*channel_rt*.nc")
NETWORK_PATTERNS = ("RouteLink.nc", "RouteLink*.nc", "Route_Link*.nc")
RESTART_PATTERNS = ("HYDRO_RST.*",)
LAKE_PATTERNS = ("LAKEPARM.nc", "LAKEPARM*.nc")
OUTPUT = "output"
"""Folder of what a run has computed, beside the folder of its forcing."""
TABLES = (".csv", ".parquet")
"""Suffixes of forcing and discharge that are tables, as t-route takes those of version 4."""


def find_files(folder: PathLike) -> dict[str, Any]:
    """Find the files of a folder of the National Water Model, or of WRF-Hydro or t-route with RouteLink.

    Parameters
    ----------
    folder
        The folder to look in. The network and the lakes may lie in its folder ``domain``, CHRTOUT files in
        ``channel_forcing``, restarts in ``restart``, and CHRTOUT files of a run, beside those of its forcing, in ``output``.

    Returns
    -------
    dict
        ``network`` and ``lakes`` (paths), ``forcing`` and ``discharge`` (lists of paths, netCDF files before tables) and
        ``state`` (a path, or a list where there are several), as far as they were found.

    Raises
    ------
    XRouteError
        When several files could be the network, or the lakes.

    Examples
    --------
    >>> import tempfile
    >>> from xroute.datasets import nwm_folder
    >>> from xroute.io import nwm
    >>> folder = nwm_folder(tempfile.mkdtemp(), hours=2)
    >>> sorted(nwm.find_files(folder))
    ['forcing', 'network']
    """
    here = Path(folder)
    found: dict[str, Any] = {}
    single: dict[str, tuple[str, ...]] = {"network": NETWORK_PATTERNS, "lakes": LAKE_PATTERNS}
    several: dict[str, tuple[tuple[str, ...], str]] = {
        "forcing": (FORCING_PATTERNS, "channel_forcing"), "state": (RESTART_PATTERNS, "restart"),
    }  # fmt: skip
    for part, patterns in single.items():
        for place in (here, here / "domain", here / "DOMAIN"):  # upper case is WRF-Hydro's
            file = only_match(place, patterns, part)
            if file is not None:
                found[part] = file
                break
    for part, (patterns, folder_name) in several.items():
        for place in (here, here / folder_name, here / folder_name.upper()):
            files = next((matches for pattern in patterns if (matches := _files(place, pattern))), [])
            if files:
                found[part] = files
                break
    if (here / OUTPUT).is_dir():
        files = next((matches for pattern in FORCING_PATTERNS if (matches := _files(here / OUTPUT, pattern))), [])
        found |= {"discharge": files} if files else {}
    if len(found.get("state", ())) == 1:
        found["state"] = found["state"][0]
    return found


def _files(place: Path, pattern: str) -> list[Path]:
    """Files of a folder that fit a pattern, by name; of both netCDF and tables, netCDF alone."""
    found = sorted(path for path in place.glob(pattern) if path.is_file())
    return [path for path in found if path.suffix.lower() not in TABLES] or found
