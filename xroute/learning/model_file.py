"""Files of a `ParameterModel`: arrays, and text that says what they are, in a npz that is read without pickle."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xroute.exceptions import ParameterError
from xroute.files.opening import PathLike
from xroute.files.writing import replacing

__all__ = ["read_model", "write_model"]

FORMAT, VERSION = "xroute.ParameterModel", 1
ABOUT = "about"
"""Entry of the file that is text: format, version, and what the model was made with."""


def write_model(
    config: Mapping[str, Any], weights: Mapping[str, NDArray[Any]], path: PathLike, *, overwrite: bool = False
) -> None:
    """Write a model, what it was made with and its weights, whole or not at all."""
    about = json.dumps({**config, "format": FORMAT, "version": VERSION})
    with replacing(path, overwrite=overwrite) as draft, open(draft, "wb") as file:
        np.savez(file, allow_pickle=False, **{ABOUT: np.array(about)}, **weights)


def read_model(path: PathLike) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """What a model was made with, and its weights; errors are those of `xroute.ParameterModel.load`."""
    file = Path(path)
    if not file.exists():
        raise FileNotFoundError(f"no file {path}")
    try:
        with np.load(file, allow_pickle=False) as stored:
            weights = {name: stored[name] for name in stored.files}
        about = json.loads(str(weights.pop(ABOUT)[()]))
        kind, version = about.pop("format"), about.pop("version")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        raise ParameterError(f"{path} is no file of a ParameterModel, or it is damaged ({error})") from error
    if kind != FORMAT:
        raise ParameterError(f"{path} is of {kind!r}, not of {FORMAT!r}")
    if version != VERSION:
        raise ParameterError(
            f"{path} is of version {version} of its format, and this xroute reads version {VERSION}: update it"
        )
    return about, weights
