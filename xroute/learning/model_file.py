"""Files of a `ParameterModel`: what it was made with, and its weights."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from xroute.exceptions import ParameterError, XRouteError
from xroute.files.opening import PathLike
from xroute.learning.archive import read_archive, write_archive
from xroute.learning.attributes import Attribute
from xroute.learning.forms import Form

__all__ = ["packed", "read_model", "unpacked", "write_model"]

KIND, WHAT = "xroute.ParameterModel", "file of a ParameterModel"


def write_model(
    config: Mapping[str, Any], weights: Mapping[str, torch.Tensor], path: PathLike, *, overwrite: bool = False
) -> None:
    """Write a model, what it was made with and its weights, whole or not at all."""
    write_archive(path, KIND, {"config": config, "weights": weights}, overwrite=overwrite)


def read_model(path: PathLike) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """What a model was made with, and its weights; errors are those of `xroute.ParameterModel.load`."""
    try:
        tree = read_archive(path, KIND, WHAT)
        return tree["config"], tree["weights"]
    except XRouteError as error:
        raise ParameterError(str(error)) from error
    except (KeyError, TypeError) as error:
        raise ParameterError(f"{path} is no {WHAT}, or it is damaged ({error!r})") from error


def packed(standard: Sequence[Attribute], forms: Sequence[Form]) -> torch.Tensor:
    """How attributes are standardised, and where parameters start, as text in a tensor: uint8 [letter]."""
    text = json.dumps({"standard": [asdict(a) for a in standard], "forms": [asdict(f) for f in forms]})
    return torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8).clone()


def unpacked(state: torch.Tensor) -> tuple[tuple[Attribute, ...], tuple[Form, ...]]:
    """What was `packed`."""
    found = json.loads(bytes(state.cpu().numpy().astype(np.uint8)).decode())
    forms = tuple(Form(**{**form, "celerity": tuple(form["celerity"])}) for form in found["forms"])
    return tuple(Attribute(**attribute) for attribute in found["standard"]), forms
