"""Files of what was learned: nested values, tensors, arrays and Datasets in one ``.npz``, whole or not at all, without pickle."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from numpy.typing import NDArray

from xroute.exceptions import XRouteError
from xroute.files.writing import replacing
from xroute.guards import reading, writing

__all__ = ["dataset_of", "read_archive", "tree_of", "write_archive"]

PathLike = str | os.PathLike[str]
INDEX = "index"
"""Name of the entry that says what the others are."""


def write_archive(path: PathLike, kind: str, tree: Any, *, overwrite: bool = True) -> None:
    """Write a tree of values to a file; one that is there stays as it was until the new one is complete.

    Parameters
    ----------
    path
        Of the file; its suffix does not matter.
    kind
        What is in it, for whoever reads it.
    tree
        Dicts, lists and tuples of numbers, text, None, tensors, arrays (but of objects) and `tree_of` of a Dataset.
    overwrite
        Whether to replace a file that is there; else it is an error.
    """
    arrays: dict[str, NDArray[Any]] = {}
    index = json.dumps({"kind": kind, "form": 1, "tree": _packed(tree, arrays)})
    with writing(f"write {path}", target=path), replacing(path, overwrite=overwrite) as draft, open(draft, "wb") as file:
        np.savez(file, **{INDEX: np.frombuffer(index.encode(), np.uint8)}, **arrays)  # type: ignore[arg-type]


def read_archive(path: PathLike, kind: str, what: str) -> Any:
    """The tree of a file that `write_archive` wrote.

    Raises
    ------
    XRouteError
        For files of another kind, and damaged ones.
    FileNotFoundError
        If there is none.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}")
    if path.is_dir() or not zipfile.is_zipfile(path):
        raise XRouteError(f"{path} is no {what}")
    with reading(path, how=f"as a {what}"), np.load(path, allow_pickle=False) as file:
        if INDEX not in file.files:
            raise XRouteError(f"{path} is no {what}")
        index = json.loads(file[INDEX].tobytes().decode())
        if not isinstance(index, dict) or index.get("kind") != kind:
            raise XRouteError(
                f"{path} is no {what}, but holds {index.get('kind') if isinstance(index, dict) else 'something else'!r}"
            )
        if index.get("form") != 1:
            raise XRouteError(
                f"{path} was written by another version of xroute (form {index.get('form')}, this one reads 1)"
            )
        return _unpacked(index["tree"], {name: file[name] for name in file.files if name != INDEX})


def tree_of(dataset: xr.Dataset) -> dict[str, Any]:
    """A Dataset as a tree: times as CF has them, all else as it is."""
    variables = {}
    for name, variable in dataset.variables.items():
        plain = (
            xr.conventions.encode_cf_variable(variable.drop_encoding(), name=name)
            if variable.dtype.kind in "mMO"
            else variable
        )
        values, lacking = np.asarray(plain.values), None
        if values.dtype.kind in "OT":
            lacking = np.flatnonzero(pd.isnull(values))
            values = np.array([str(v) for v in values.ravel().tolist()], dtype=str).reshape(values.shape)
        variables[str(name)] = {
            "lacking": lacking,
            "dims": [str(d) for d in plain.dims], "values": values, "attrs": _plain(plain.attrs), "coord": name in dataset.coords,
        }  # fmt: skip
    return {"variables": variables, "attrs": _plain(dataset.attrs)}


def dataset_of(tree: Mapping[str, Any]) -> xr.Dataset:
    """The Dataset of a tree."""
    made = {name: xr.Variable(v["dims"], _values_of(v), v["attrs"]) for name, v in tree["variables"].items()}
    for name, variable in made.items():
        if "units" in variable.attrs and variable.dtype.kind in "iuf" and _is_time(variable.attrs):
            decoded = xr.decode_cf(xr.Dataset({name: variable}), decode_timedelta=True)[name].variable
            made[name] = xr.Variable(decoded.dims, decoded.values, decoded.attrs)
    dataset = xr.Dataset(made, attrs=dict(tree["attrs"]))
    return dataset.set_coords([name for name, v in tree["variables"].items() if v["coord"]])


def _values_of(variable: Mapping[str, Any]) -> NDArray[Any]:
    """Values of a variable; text that is missing is NaN again."""
    values, lacking = variable["values"], variable.get("lacking")
    if lacking is None or not lacking.size:
        return np.asarray(values)
    whole = values.astype(object)
    whole.ravel()[lacking] = np.nan
    return np.asarray(whole)


def _is_time(attrs: Mapping[str, Any]) -> bool:
    return " since " in str(attrs["units"]) or (attrs.get("dtype") or "").startswith("timedelta64")


def _plain(attrs: Mapping[Any, Any]) -> dict[str, Any]:
    """Attributes as JSON has them."""
    found = {}
    for name, value in attrs.items():
        if isinstance(value, np.ndarray):
            value = value.tolist()
        elif isinstance(value, np.generic):
            value = value.item()
        found[str(name)] = value if isinstance(value, str | int | float | bool | list | type(None)) else str(value)
    return found


def _packed(value: Any, arrays: dict[str, NDArray[Any]]) -> Any:
    """A value in JSON; tensors and arrays go to ``arrays``."""
    if isinstance(value, torch.Tensor | np.ndarray):
        name = f"a{len(arrays)}"
        torched = isinstance(value, torch.Tensor)
        array = value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else value
        if array.dtype.kind not in "biufUSc":
            raise TypeError(f"an array of {array.dtype} has no place in a file without pickle")
        arrays[name] = array
        return {"torch" if torched else "array": name}
    if isinstance(value, Mapping):
        return {"dict": [[_packed(k, arrays), _packed(v, arrays)] for k, v in value.items()]}
    if isinstance(value, tuple):
        return {"tuple": [_packed(v, arrays) for v in value]}
    if isinstance(value, list):
        return [_packed(v, arrays) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a {type(value).__name__} has no place in a file without pickle")


def _unpacked(value: Any, arrays: Mapping[str, NDArray[Any]]) -> Any:
    if isinstance(value, list):
        return [_unpacked(v, arrays) for v in value]
    if not isinstance(value, dict):
        return value
    ((kind, inner),) = value.items()
    if kind == "torch":
        return torch.from_numpy(arrays[inner].copy())
    if kind == "array":
        return arrays[inner]
    if kind == "tuple":
        return tuple(_unpacked(v, arrays) for v in inner)
    return {_unpacked(k, arrays): _unpacked(v, arrays) for k, v in inner}
