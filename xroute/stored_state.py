"""States as they are given: a Dataset, or the path of one, whose values are then compared with its checksum.

`xroute.io.write` stores the checksum (`xroute.state_form`).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import xarray as xr

from xroute.exceptions import StateError, XRouteError
from xroute.files.opening import open_dataset
from xroute.state_form import check_form, same_sums

__all__ = ["open_state"]


def open_state(state: Any) -> xr.Dataset:
    """A state that is one in form: a Dataset, or the path of one, whose values are then compared with their checksum.

    Returns
    -------
    xarray.Dataset
        With lags in order, if it has any.

    Raises
    ------
    StateError
        For anything else, and for variables, dimensions, labels or types that a state does not have.
    FileNotFoundError
        If there is nothing at the path.
    """
    if not isinstance(state, (str, os.PathLike)):
        return check_form(state)
    try:
        with open_dataset(Path(state)) as dataset:
            loaded = dataset.load()
    except (XRouteError, FileNotFoundError, ImportError):
        raise
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise StateError(f"the state {state} cannot be read: {type(error).__name__}: {error}") from error
    found = check_form(loaded)
    if "checksum" not in found.variables:
        return found
    same = same_sums(found, state)
    if not same.all():
        raise StateError(
            f"the state {state} is damaged: the values of {int((~same).sum())} of {same.size} members are not those that were "
            "written. If they were changed on purpose, drop_vars('checksum') before they are stored"
        )
    return found
