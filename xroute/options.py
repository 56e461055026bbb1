"""Options that hold for a session: `set_options`."""

from __future__ import annotations

import importlib.util
import os
import re
from types import TracebackType
from typing import TYPE_CHECKING, Any

from xroute.exceptions import ParameterError

if TYPE_CHECKING:
    import torch

__all__ = ["check_device", "find_device", "get_option", "n_threads", "set_options"]

_OPTIONS: dict[str, Any] = {"threads": None, "device": None}


class set_options:  # noqa: N801 (reads as a function, as in xarray)
    """Set options for the session, or for a ``with`` block.

    Parameters
    ----------
    threads : int or None
        Threads of the CPU engine; None (the default) means one for each processor that this process may use.
        Inside a Dask task with several worker threads, 1 is a good choice.
    device : str or None
        Where `xroute.route` computes: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ...; None (the default) means the GPU where
        there is one, else the CPU.

    Raises
    ------
    ValueError
        For an unknown option or an impossible value. Whether there is such a GPU is asked only when something is routed.

    Examples
    --------
    >>> import xroute
    >>> with xroute.set_options(threads=1):
    ...     pass  # route here on one thread
    """

    def __init__(self, **options: Any) -> None:
        for name, value in options.items():
            if name not in _OPTIONS:
                raise ValueError(f"no option {name!r}; there are {', '.join(sorted(_OPTIONS))}")
            if (
                name == "threads"
                and value is not None
                and (isinstance(value, bool) or int(value) != value or value < 1)
            ):
                raise ValueError(f"threads must be a positive whole number or None, not {value!r}")
            if name == "device" and value is not None:
                check_device(value)
        self._old = {name: _OPTIONS[name] for name in options}
        _OPTIONS.update(options)

    def __enter__(self) -> set_options:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        _OPTIONS.update(self._old)


def get_option(name: str) -> Any:
    """Value of an option."""
    return _OPTIONS[name]


def find_device(name: str | None) -> torch.device:
    """Device by name; with None that of the options, and failing that the GPU if there is one, else the CPU.

    Raises
    ------
    ParameterError
        For a name that is no device, or a device that this machine or its PyTorch does not have.
    """
    import torch

    name = _OPTIONS["device"] if name is None else name
    usable = torch.cuda.is_available() and importlib.util.find_spec("triton") is not None
    if name is None:
        return torch.device("cuda", torch.cuda.current_device()) if usable else torch.device("cpu")
    check_device(name)
    device = torch.device(name)
    if device.type == "cpu":
        return device
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if (device.index or 0) >= count:
        raise ParameterError(
            f"device {name!r}: PyTorch {torch.__version__} sees {count} GPUs here. Route with device='cpu', or install a "
            "PyTorch that was built for your GPU"
        )
    if not usable:
        raise ParameterError(f"device {name!r} needs the package triton: pip install triton")
    return torch.device("cuda", torch.cuda.current_device()) if device.index is None else device


def check_device(device: Any) -> None:
    """Refuse what can be no device's name, without torch; a `torch.device` reads as its name, and None is the default."""
    if device is not None and not re.fullmatch(
        r"(cpu|cuda)(:(\d|[1-9]\d))?", str(device)
    ):  # torch counts to 127, and no host has so many
        raise ParameterError(f"device is 'cpu', 'cuda', 'cuda:1', ... or None, not {device!r}")


def n_threads() -> int:
    """Threads that the CPU engine may use."""
    if _OPTIONS["threads"]:
        return int(_OPTIONS["threads"])
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
