"""Readers and writers of the files that our users come from, one module a system.

`rapid` (Fortran RAPID), `rapid2` (RAPID2), `river_route` (river-route 2 and 3), `mizuroute`, `nwm` (National Water Model),
`troute` (t-route), `nextgen` (hydrofabric), `ddr` (DDR's Zarr stores), `geoglows` (discharge of GEOGLOWS v2), `cama_flood` and
`d8` (grids whose cells are reaches), `teehr` (Parquet of evaluation tools), and `cf` (discharge as CF netCDF, and any Dataset to
and from Zarr or netCDF); `open_runoff` opens runoff of any other origin, from one file or many, and `open_known` discharge that
is known on some reaches.
Readers return plain xarray objects in xroute's data model with ids kept exact; nothing here routes. Tables of the known
hydrographies are read by `xroute.tables`, and direction grids by `xroute.Network`; `table` and `direction_grids`
convert them. `READERS` holds those that read whole set-ups, `WRITERS` those that write them again (`export`).
"""

from __future__ import annotations

from xroute.files.opening import open_dataset
from xroute.files.writing import write
from xroute.io import (
    cama_flood,
    cf,
    d8,
    ddr,
    direction_grids,
    geoglows,
    mizuroute,
    nextgen,
    nextgen_setup,
    nwm,
    rapid,
    rapid2,
    rapid_setup,
    river_route,
    table,
    teehr,
    troute,
    troute_setup,
)
from xroute.io.cf import write_discharge
from xroute.io.common import open_runoff
from xroute.io.ddr import setup as ddr_setup
from xroute.io.exporting import WRITERS, export
from xroute.io.geoglows import writing as geoglows_writing
from xroute.io.reader import Reader
from xroute.io.river_route import setup as river_route_setup
from xroute.io.series import open_known

__all__ = [
    "READERS", "WRITERS", "cama_flood", "cf", "d8", "ddr", "export", "geoglows", "mizuroute", "nextgen", "nwm",
    "open_dataset", "open_known", "open_runoff", "rapid", "rapid2", "river_route", "teehr", "troute", "write",
    "write_discharge",
]  # fmt: skip

READERS: dict[str, Reader] = {
    "rapid": rapid_setup.READER, "nwm": nwm.READER, "troute": troute_setup.READER, "nextgen": nextgen_setup.READER,
    "river-route": river_route_setup.READER, "mizuroute": mizuroute.READER,
    "table": table.READER, "d8": direction_grids.D8, "nextxy": direction_grids.NEXTXY,
    "ddr": ddr_setup.READER, "geoglows": geoglows_writing.READER,
}  # fmt: skip
"""Readers of whole set-ups, by their names in ``xroute convert``."""
