"""river-route's configurations (YAML or JSON), and which file of a set-up plays which part."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath
from typing import Any

from xroute.exceptions import ParameterError, XRouteError, require, some, warn
from xroute.files.opening import PathLike, existing
from xroute.io.river_route.contents import role_of
from xroute.io.river_route.layout import LAYOUTS, Layout
from xroute.wording import argument

__all__ = ["CONFIGS", "Config", "find_files", "is_config", "read_config", "resolve"]

logger = logging.getLogger(__name__)

CONFIGS = (".yaml", ".yml", ".json")
SEVERAL = ("runoff", "grid", "discharge")
"""Parts that several files may play together."""
INPUTS = ("network", "runoff", "grid", "weights", "hillslope", "state")


@dataclass(frozen=True)
class Config:
    """A configuration, read.

    Attributes
    ----------
    path
        Its file.
    layout
        Of its version.
    values
        What stands in it, without what is empty.
    """

    path: Path
    layout: Layout
    values: Mapping[str, Any] = field(default_factory=dict)

    def seconds(self, key: str) -> float | None:
        """A span of time; None where it is 0, ``"auto"`` or not there.

        Raises
        ------
        ParameterError
            If it is no number of seconds.
        """
        value = self.values.get(key)
        if value is None or value == 0 or value == "auto":
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
            raise ParameterError(f"{self.path}: {key} is a number of seconds, not {value!r}")
        return float(value)

    def text(self, key: str, default: str) -> str:
        """A word, such as the name of a variable."""
        return str(self.values.get(key, default))

    @property
    def is_ensemble(self) -> bool:
        """Whether each file of runoff is a member, and not a part of one series."""
        return bool(self.values.get("runoff_processing_mode") == "ensemble")

    @property
    def is_gridded(self) -> bool:
        """Whether its files of runoff are grids."""
        if self.layout.version == 3:
            forcing = self.values.get("forcing", "channel")
            return forcing not in ("channel", "catchment")
        return "grid_runoff_files" in self.values

    @property
    def is_dry(self) -> bool:
        """Whether nothing flows in, so that the channels but empty themselves."""
        if self.layout.version == 3:
            return bool(self.values.get("forcing", "channel") == "channel")
        return not ({"qlateral_files", "grid_runoff_files"} & set(self.values)) and "dt_total" in self.values


def read_config(path: PathLike) -> Config:
    """Read a configuration of river-route.

    Parameters
    ----------
    path
        YAML or JSON of version 2, JSON of version 3.

    Returns
    -------
    Config
        What stands in it; keys that are empty are left out.

    Raises
    ------
    XRouteError
        If it is neither, or names no network (``params_file``, ``network_file``).

    Examples
    --------
    >>> import json, tempfile
    >>> from xroute.io import river_route
    >>> path = tempfile.mkdtemp() + "/config.json"
    >>> with open(path, "w") as file:
    ...     json.dump({"params_file": "params.parquet", "dt_routing": 900}, file)
    >>> river_route.read_config(path).seconds("dt_routing")
    900.0
    """
    file = existing(path)
    values = _parsed(file)
    stated = {str(k): v for k, v in values.items() if v is not None and v != "" and v != [] and v != [""]}
    fitting = [layout for layout in LAYOUTS.values() if layout.files["network"] in values]
    if len(fitting) != 1:
        names = " or ".join(f"{layout.files['network']} (version {layout.version})" for layout in LAYOUTS.values())
        raise XRouteError(f"{path} is no configuration of river-route: it names no network, {names}; it has {some(values)}")
    return Config(file, fitting[0], stated)


def _parsed(file: Path) -> dict[Any, Any]:
    try:
        text = file.read_text(encoding="utf-8-sig")
        if file.suffix.lower() == ".json":
            values = json.loads(text)
        else:
            yaml = require("yaml", feature="reading river-route's configuration", extra="io")
            try:
                values = yaml.safe_load(text)
            except yaml.YAMLError as error:
                raise XRouteError(f"{file} is not YAML: {error}") from error
    except (UnicodeError, json.JSONDecodeError) as error:
        raise XRouteError(f"{file} is not readable as {'JSON' if file.suffix.lower() == '.json' else 'text'}: {error}") from error
    if not isinstance(values, dict):
        raise XRouteError(f"{file} is no configuration of river-route: it holds no keys with values")
    return values


def is_config(path: PathLike) -> bool:
    """Whether a path is named as a configuration is."""
    return Path(path).suffix.lower() in CONFIGS and Path(path).is_file()


def find_files(folder_or_config: PathLike) -> dict[str, Any]:
    """Find the files of a set-up: those that the configuration names, and in a folder without one, by what is in them.

    Parameters
    ----------
    folder_or_config
        The folder, or the configuration. A path that it names is looked for from its own folder, from the working folder
        (where river-route looks), from the folders above its own, and beside it.

    Returns
    -------
    dict
        Of the parts ``config``, ``network``, ``weights``, ``hillslope``, ``state``, ``final`` (paths), and ``runoff``,
        ``grid``, ``discharge`` (lists of paths), those that were found. Of several states that no configuration tells apart,
        none is.

    Raises
    ------
    XRouteError
        When several files could play a part that one plays.

    Warns
    -----
    UserWarning
        For files of input that a configuration names and that are not there.

    Examples
    --------
    >>> import tempfile
    >>> import pandas as pd
    >>> from xroute.io import river_route
    >>> folder = tempfile.mkdtemp()
    >>> table = pd.DataFrame({"river_id": [1, 2], "downstream_river_id": [2, -1], "k": 3600.0, "x": 0.2})
    >>> table.to_parquet(folder + "/params.parquet")
    >>> river_route.find_files(folder)["network"].name
    'params.parquet'
    """
    path = existing(folder_or_config)
    if not path.is_dir():
        return {"config": path, **_named(read_config(path))}
    configs = _configs(path)
    if len(configs) > 1:
        names = some(file.name for file in configs)
        raise XRouteError(f"several configurations in {path}: {names}; give the one to use in place of the folder")
    if configs:
        return {"config": configs[0], **_named(read_config(configs[0]))}
    return _by_content(path)


def resolve(path: PathLike, part: str) -> list[Path]:
    """Files of a part: the file itself, or those of a folder or of a configuration; none where it has none."""
    target = existing(path)
    if part == "discharge" and target.is_dir() and role_of(target) == part:  # a Zarr store
        return [target]
    if not target.is_dir() and not is_config(target):
        return [target]
    found = find_files(target).get(part, [])
    return list(found) if isinstance(found, list) else [found]


def _configs(folder: Path) -> list[Path]:
    """Configurations of river-route in a folder; other YAML and JSON may lie beside."""
    found = []
    keys = [layout.files["network"] for layout in LAYOUTS.values()]
    for path in sorted(p for p in folder.iterdir() if is_config(p)):
        if any(key.encode() in path.read_bytes() for key in keys):
            read_config(path)
            found.append(path)
    return found


def _named(config: Config) -> dict[str, Any]:
    """Files that a configuration names and that are there."""
    found: dict[str, Any] = {}
    for part, key in config.layout.files.items():
        if part == "folder" or key not in config.values or part in ("runoff", "grid") and (part == "grid") != config.is_gridded:
            continue
        value = config.values[key]
        names = [value] if isinstance(value, str) else value
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise XRouteError(f"{config.path}: {key} is the name of a file, or a list of them, not {value!r}")
        places = {name: _place(config, key, name) for name in names}
        lacking = [name for name, place in places.items() if place is None]
        files = [place for place in places.values() if place is not None]
        if lacking and part in INPUTS:
            warn(f"{config.path} names {key} {some(lacking)}, which {'are' if len(lacking) > 1 else 'is'} not there")
        if not files or lacking and part in SEVERAL:
            continue
        found[part] = files if part in SEVERAL else files[0]
    if "discharge" not in found:
        found |= _in_folder(config, found)
    return found


def _in_folder(config: Config, found: Mapping[str, Any]) -> dict[str, Any]:
    """Discharge in the folder that a configuration names, by the names of the files of runoff."""
    name = config.values.get(config.layout.files["folder"])
    place = None if not isinstance(name, str) else _place(config, config.layout.files["folder"], name)
    if place is None or not place.is_dir():
        return {}
    stems = [file.stem for file in found.get("runoff", found.get("grid", []))]
    names = [f"discharge_{stem}" for stem in stems] or ["discharge"]
    files = [next((place / (n + s) for s in config.layout.suffixes if (place / (n + s)).exists()), None) for n in names]
    return {} if None in files else {"discharge": files}


def _place(config: Config, key: str, name: str) -> Path | None:
    """Where a file lies that a configuration names; None if nowhere."""
    folder = config.path.resolve().parent
    plain = name.strip().replace("\\", "/") if PureWindowsPath(name).name != Path(name).name else name.strip()
    beside = folder / PureWindowsPath(name.strip()).name  # takes slashes of both kinds
    places = [folder / plain, Path.cwd() / plain, *(above / plain for above in folder.parents[:3]), beside]
    there = [place for place in places if place.exists()]
    if not there:
        return None
    if len(there) > 1 and there[1] == places[1] and there[0] == places[0] and not there[0].samefile(there[1]):
        logger.warning(
            "%s names %s as %s, which is beside it and in the working folder: the one beside it is read", config.path, key, name
        )
    if there[0].parent.resolve() != folder and there[0] != places[0]:
        logger.info("%s: %s is %s", config.path, key, there[0])
    return there[0]


def _by_content(folder: Path) -> dict[str, Any]:
    """Files of a folder by part, as far as their content tells."""
    found: dict[str, list[Path]] = {}
    for path, role in _roles(folder):
        found.setdefault(role, []).append(path)
    parts: dict[str, Any] = {}
    for role, files in found.items():
        if role in SEVERAL:
            parts[role] = files
        elif len(files) == 1:
            parts[role] = files[0]
        elif role != "state":
            raise XRouteError(
                f"several files in {folder} could be the {role}: {some(file.name for file in files)}; name the one to use"
            )
        else:
            begin = [file for file in files if "init" in file.name.lower()]
            if len(begin) == 1:
                parts["state"] = begin[0]
            logger.info(
                "several files in %s are states: %s; %s names the one to begin with", folder,
                some(file.name for file in files), argument("state_file"),
            )  # fmt: skip
    return parts


def _roles(folder: Path) -> Iterator[tuple[Path, str]]:
    for path in sorted(folder.iterdir()):
        role = role_of(path)
        if role is not None:
            yield path, role
