"""Readers and writers of the files that our users come from, one module a system.

`rapid` (Fortran RAPID), `rapid2` (RAPID2), `nwm` (National Water Model RouteLink and CHRTOUT), and `cf` (discharge as CF
netCDF, and any Dataset to and from Zarr or netCDF); `open_runoff` opens runoff of any other origin, from one file or many.
Readers return plain xarray objects in xroute's data model with ids kept exact; nothing here routes. Tables of the known
hydrographies are read by `xroute.tables`. `READERS` holds those that read whole set-ups, by the name that they have in
``xroute convert``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from xroute.io import cf, nwm, rapid, rapid2
from xroute.io.cf import write_discharge
from xroute.io.common import open_runoff
from xroute.io.files import open_dataset
from xroute.io.writing import write

if TYPE_CHECKING:
    from xroute.io.reader import Reader

    READERS: dict[str, Reader]

__all__ = ["READERS", "cf", "nwm", "open_dataset", "open_runoff", "rapid", "rapid2", "write", "write_discharge"]


def __getattr__(name: str) -> object:
    if name == "READERS":  # a set-up has a state, and states are routed: asked for only once all of that is there
        from xroute.io import rapid_setup

        return {"rapid": rapid_setup.READER, "nwm": nwm.READER}
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
