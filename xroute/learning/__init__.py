"""Learning: parameters of rivers from observations at gauges.

`calibration` holds `xroute.calibrate`, and says in which order the others come; nothing is imported before it is asked for, since
PyTorch takes long.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xroute.learning.calibration import calibrate
    from xroute.learning.request import CalibrationRequest as CalibrationRequest
    from xroute.learning.result import Calibration, open_calibration

__all__ = ["Calibration", "calibrate", "open_calibration"]

_ROOMS = {"Calibration": "result", "CalibrationRequest": "request", "calibrate": "calibration", "open_calibration": "result"}


def __getattr__(name: str) -> object:
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_ROOMS[name]}"), name)


def __dir__() -> list[str]:
    """Public names only, so that completion offers them whether loaded yet or not."""
    return sorted(__all__)
