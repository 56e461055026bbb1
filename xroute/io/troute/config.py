"""t-route's configuration (YAML): which files a run reads and writes."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from xroute.exceptions import TimeAxisError, XRouteError, require, some
from xroute.files.opening import PathLike, existing
from xroute.guards import reading

__all__ = ["read_config"]

logger = logging.getLogger(__name__)

SECTIONS = ("network_topology_parameters", "compute_parameters")
MASK = "mask_file_path"


def read_config(path: PathLike) -> dict[str, Any]:
    """Read a configuration of t-route, or the one of a folder.

    Parameters
    ----------
    path
        The YAML file, or a folder that holds one such file, itself or in ``config``. Paths in it are from the folder that t-route
        is run in, this one or one above it; of paths that are not there, such as those of a container, the last parts are.

    Returns
    -------
    dict
        As far as it says them: ``network`` (a path, of RouteLink or a hydrofabric), ``mask`` (a path), ``forcing`` (a list of
        paths), ``state`` (a path, HYDRO_RST), ``lakes`` (a path), ``discharge`` (a list of paths), ``start`` (a date), ``dt``
        [s], the routing step, and ``hours``, how long the run is.

    Raises
    ------
    XRouteError
        No configuration of t-route, or several; files that are named and are not there.
    ImportError
        PyYAML is not installed.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from xroute.datasets import nwm_folder
    >>> from xroute.io import troute
    >>> folder = nwm_folder(tempfile.mkdtemp() + "/run", hours=2)
    >>> _ = (folder / "run.yaml").write_text('''
    ... network_topology_parameters:
    ...   supernetwork_parameters: {geo_file_path: domain/RouteLink.nc}
    ... compute_parameters:
    ...   restart_parameters: {start_datetime: "2024-05-01_00:00"}
    ...   forcing_parameters:
    ...     {dt: 300, nts: 24, qlat_input_folder: channel_forcing, qlat_file_pattern_filter: "*.CHRTOUT_DOMAIN1"}
    ... ''')
    >>> found = troute.read_config(folder)
    >>> found["network"].name, len(found["forcing"]), found["hours"]
    ('RouteLink.nc', 2, 2.0)
    """
    file = _find(existing(path))
    content = _load(file)
    if not isinstance(content, Mapping) or not set(SECTIONS) <= set(content):
        what = some(content) if isinstance(content, Mapping) else type(content).__name__
        raise XRouteError(f"{file} is no configuration of t-route: it has no {' and '.join(SECTIONS)}, but {what}")
    topology, compute = (_section(content, name) for name in SECTIONS)
    supernetwork = _section(topology, "supernetwork_parameters")
    forcing, restart = _section(compute, "forcing_parameters"), _section(compute, "restart_parameters")
    pool = _section(_section(topology, "waterbody_parameters"), "level_pool")
    found: dict[str, Any] = {}
    for part, name in (
        ("network", supernetwork.get("geo_file_path")), ("mask", supernetwork.get(MASK)),
        ("state", restart.get("wrf_hydro_channel_restart_file")), ("lakes", pool.get("level_pool_waterbody_parameter_file_path")),
    ):  # fmt: skip
        if name:
            found[part] = _place(file, str(name), part)
    if "network" not in found:
        raise XRouteError(f"{file} names no network (supernetwork_parameters: geo_file_path)")
    if restart.get("lite_channel_restart_file"):
        logger.warning("lite_channel_restart_file of %s is a pickle, which runs code when it is read: it is not read", file)
    folder = forcing.get("qlat_input_folder") or forcing.get("nexus_input_folder")
    if folder:
        pattern = str(forcing.get("qlat_file_pattern_filter") or forcing.get("nexus_file_pattern_filter") or "*NEXOUT*")
        place = _place(file, str(folder), "forcing")
        patterns = (pattern, "tnx-*", "tnex-*", "cnx-*", "inx-*") if pattern == "nex-*" else (pattern,)
        found["forcing"] = sorted({path for one in patterns for path in place.glob(one) if path.is_file()})
        if not found["forcing"]:
            raise XRouteError(f"no files like {pattern} in {place}, the forcing of {file}")
    if restart.get("start_datetime"):
        found["start"] = _date(restart["start_datetime"], file)
    if forcing.get("dt"):
        found["dt"] = float(forcing["dt"])
        if forcing.get("nts"):
            found["hours"] = float(forcing["dt"]) * float(forcing["nts"]) / 3600
    outputs = _outputs(file, _section(content, "output_parameters"))
    return found | ({"discharge": outputs} if outputs else {})


def _find(path: Path) -> Path:
    if not path.is_dir():
        return path
    places = (path, path / "config", path / "configs")
    files = [f for place in places for f in sorted((*place.glob("*.yaml"), *place.glob("*.yml")))]
    mine = [f for f in files if isinstance(content := _load(f), Mapping) and set(SECTIONS) <= set(content)]
    if len(mine) != 1:
        several = f"several configurations of t-route ({some([f.name for f in mine])}): name one"
        raise XRouteError(f"{path} has {several if mine else 'no configuration of t-route'}")
    return mine[0]


def _load(file: Path) -> Any:
    yaml = require("yaml", feature="reading t-route's configuration", extra="io")
    with reading(file, "as YAML"):
        return yaml.safe_load(file.read_text(encoding="utf-8"))


def _section(content: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A section, which may be there and empty."""
    found = content.get(name)
    return found if isinstance(found, Mapping) else {}


def _place(file: Path, name: str, part: str) -> Path:
    """A path of the configuration: as it is written, or the end of it, from its folder or one above it."""
    found = _known(file, name)
    if not found:
        raise XRouteError(
            f"{file} names {name!r} for the {part}, and there is no such path, nor its end, in its folder or in those above it"
        )
    if not str(found[0]).endswith(str(Path(name))):
        logger.info("%s names %s for the %s, which is not there: %s is taken", file, name, part, found[0])
    return found[0]


def _known(file: Path, name: str) -> list[Path]:
    """What is there of a path in a configuration, which may have been written in another folder, or on another machine."""
    given, folders = Path(name), list(file.resolve().parents)[:4]
    parts = [part for part in given.parts if part not in (given.anchor, ".", "..")]
    ends = [Path(*parts[k:]) for k in range(len(parts))]
    places = [given] if given.is_absolute() else [folder / given for folder in folders]
    return [place for place in (*places, *(folder / end for end in ends for folder in folders)) if place.exists()]


def _date(text: Any, file: Path) -> pd.Timestamp:
    try:
        return pd.Timestamp(str(text).replace("_", " "))
    except ValueError as error:
        raise TimeAxisError(f"start_datetime of {file}, {text!r}, is no date") from error


def _outputs(file: Path, outputs: Mapping[str, Any]) -> list[Path]:
    """Files that the run has written already, of the first kind of output that has any."""
    kinds = (
        ("stream_output", "stream_output_directory", ("troute_output_*.nc", "troute_output_*.csv")),
        ("parquet_output", "parquet_output_folder", ("flowveldepth_*.parquet",)),
        ("csv_output", "csv_output_folder", ("flowveldepth_*.csv",)),
    )
    for section, key, patterns in kinds:
        name = _section(outputs, section).get(key)
        for folder in _known(file, str(name)) if name else ():
            for pattern in patterns:
                files = sorted(folder.glob(pattern))
                if files:
                    return files
    return []
