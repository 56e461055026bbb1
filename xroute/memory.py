"""Memory: what a run may take for its blocks, as a caller says it, and what there is where nobody does."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from xroute.exceptions import ParameterError
from xroute.wording import argument

__all__ = ["available_memory", "default_memory", "memory_bytes", "show_bytes"]

MOST = 4 * 10**9
"""Bytes for the blocks of a run where nobody says how many, if the machine has twice as many to spare."""

_FACTORS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
_CGROUP = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)
"""Files of Linux that say what a container may use, and uses."""


def memory_bytes(memory: Any) -> int:
    """Bytes of a number of them, or of text such as ``"8GB"`` and ``"500 MiB"``; of None those of `default_memory`.

    Raises
    ------
    ParameterError
        For anything else, and for none.

    Examples
    --------
    >>> from xroute.memory import memory_bytes
    >>> memory_bytes("1.5GB"), memory_bytes("500 MiB"), memory_bytes(1e9)
    (1500000000, 524288000, 1000000000)
    """
    if memory is None:
        return default_memory()
    number: float | None = None
    if isinstance(memory, str):
        found = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)(e\d+)?\s*([kmgt]?i?)b?\s*", memory.lower())
        if found is not None and found[3] in _FACTORS:
            number = float(found[1] + (found[2] or "")) * _FACTORS[found[3]]
    elif not isinstance(memory, bool):
        try:
            number = float(memory)
        except (TypeError, ValueError):
            number = None
    if number is None or not 1 <= number < 2**63:
        raise ParameterError(f"{argument('memory')} is a number of bytes, or text such as '8GB' or '500MiB', not {memory!r}")
    return int(number)


def default_memory() -> int:
    """Half of what is available, at most 4 GB."""
    free = available_memory()
    return MOST if free is None else max(2**20, min(MOST, free // 2))


def available_memory() -> int | None:
    """Bytes that this process could still take, of the machine's or its container's; None where the system does not tell."""
    known = []
    try:
        told = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        known.append(int(told["MemAvailable"].split()[0]) * 1024)
    except (OSError, KeyError, ValueError):
        try:
            known.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
        except (AttributeError, ValueError, OSError):
            pass
    for most, used in _CGROUP:
        try:
            known.append(max(0, int(Path(most).read_text()) - int(Path(used).read_text())))
        except (OSError, ValueError):  # no such file, or "max"
            continue
    return min(known, default=None)


def show_bytes(n: float) -> str:
    """Bytes as people write them: ``1.3 GB``.

    Examples
    --------
    >>> from xroute.memory import show_bytes
    >>> show_bytes(1.3e9), show_bytes(4e6), show_bytes(12)
    ('1.3 GB', '4 MB', '12 bytes')
    """
    for factor, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if n >= factor:
            return f"{n / factor:.2g} {unit}" if n < 100 * factor else f"{n / factor:.0f} {unit}"
    return f"{n:.0f} bytes"
