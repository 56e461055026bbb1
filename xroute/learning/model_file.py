"""Files of a `ParameterModel`: arrays, and text that says what they are, in a npz that is read without pickle."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from xroute.exceptions import ParameterError
from xroute.files.opening import PathLike
from xroute.files.writing import replacing
from xroute.learning.attributes import Attribute
from xroute.learning.forms import Form

__all__ = ["packed", "read_model", "unpacked", "write_model"]

FORMAT, VERSION = "xroute.ParameterModel", 1
ABOUT = "about"
"""Entry of the file that is text: format, version, and what the model was made with."""


def write_model(
    config: Mapping[str, Any], weights: Mapping[str, NDArray[Any]], path: PathLike, *, overwrite: bool = False
) -> None:
    """Write a model, what it was made with and its weights, whole or not at all."""
    about = json.dumps({**config, "format": FORMAT, "version": VERSION})
    with replacing(path, overwrite=overwrite) as draft, open(draft, "wb") as file:
        np.savez(file, **{ABOUT: np.array(about)}, **weights)  # type: ignore[arg-type]


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


def packed(standard: Sequence[Attribute], forms: Sequence[Form]) -> torch.Tensor:
    """How attributes are standardised, and where parameters start, as text in a tensor: uint8 [letter]."""
    text = json.dumps({"standard": [asdict(a) for a in standard], "forms": [asdict(f) for f in forms]})
    return torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8).clone()


def unpacked(state: torch.Tensor) -> tuple[tuple[Attribute, ...], tuple[Form, ...]]:
    """What was `packed`."""
    found = json.loads(bytes(state.cpu().numpy().astype(np.uint8)).decode())
    forms = tuple(Form(**{**form, "celerity": tuple(form["celerity"])}) for form in found["forms"])
    return tuple(Attribute(**attribute) for attribute in found["standard"]), forms
