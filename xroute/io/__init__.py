"""Readers and writers of the files that our users come from, one module a system.

`rapid` (Fortran RAPID), `rapid2` (RAPID2), `nwm` (National Water Model RouteLink and CHRTOUT), `mizuroute`, and `cf` (discharge
as CF netCDF, and any Dataset to and from Zarr or netCDF); `open_runoff` opens runoff of any other origin, from one file or
many, and `open_known` discharge that is known on some reaches.
Readers return plain xarray objects in xroute's data model with ids kept exact; nothing here routes. Tables of the known
hydrographies are read by `xroute.tables`, and direction grids by `xroute.Network`; `table` and `direction_grids`
convert them. `READERS` holds those that read whole set-ups.
"""

from __future__ import annotations

from xroute.files.opening import open_dataset
from xroute.files.writing import write
from xroute.io import cf, direction_grids, mizuroute, nwm, rapid, rapid2, rapid_setup, table
from xroute.io.cf import write_discharge
from xroute.io.common import open_runoff
from xroute.io.reader import Reader
from xroute.io.series import open_known

__all__ = [
    "READERS", "cf", "mizuroute", "nwm", "open_dataset", "open_known", "open_runoff", "rapid", "rapid2", "write",
    "write_discharge",
]  # fmt: skip

READERS: dict[str, Reader] = {
    "rapid": rapid_setup.READER, "nwm": nwm.READER, "table": table.READER,
    "mizuroute": mizuroute.READER,
    "d8": direction_grids.D8, "nextxy": direction_grids.NEXTXY,
}  # fmt: skip
"""Readers of whole set-ups, by their names in ``xroute convert``."""
