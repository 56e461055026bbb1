"""`export`: a whole set-up in the files of another system, all of them or none. `WRITERS` are the systems that there are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import xarray as xr

from xroute.exceptions import XRouteError, some
from xroute.files.folders import filled_folder
from xroute.files.opening import PathLike
from xroute.io import direction_grids, mizuroute_export, nwm_export, teehr
from xroute.io.ddr import setup as ddr_setup
from xroute.io.geoglows import writing as geoglows_writing
from xroute.io.rapid import writing as rapid_writing
from xroute.io.rapid2 import writing as rapid2_writing
from xroute.io.river_route import exporting as river_route_exporting
from xroute.io.writer import Outgoing, Writer, check, settled, written
from xroute.network import Network

__all__ = ["WRITERS", "export"]

WRITERS: dict[str, Writer] = {
    "rapid": rapid_writing.WRITER, "rapid2": rapid2_writing.WRITER,
    "river-route": river_route_exporting.WRITER, "mizuroute": mizuroute_export.WRITER,
    "nwm": nwm_export.NWM, "troute": nwm_export.TROUTE, "nextgen": nwm_export.NEXTGEN,
    "ddr": ddr_setup.WRITER, "geoglows": geoglows_writing.WRITER, "teehr": teehr.WRITER,
    "d8": direction_grids.D8_WRITER, "nextxy": direction_grids.NEXTXY_WRITER,
}  # fmt: skip
"""Writers of whole set-ups, by their names in ``xroute export``."""


def export(
    system: str,
    folder: PathLike,
    *,
    network: xr.Dataset | Network | None = None,
    runoff: xr.DataArray | None = None,
    discharge: xr.DataArray | None = None,
    state: xr.Dataset | None = None,
    overwrite: bool = False,
    **options: Any,
) -> list[str]:
    """Write a set-up into a folder, in the files of another system.

    Parameters
    ----------
    system
        Its name, one of ``WRITERS``.
    folder
        Where to write; made if it is not there. All files come to it, or none does.
    network
        A network.
    runoff, discharge : (time, reach)
        Series, in any units that `route` takes; they are written in those of the system.
    state
        A state of the network.
    overwrite
        Replace files of the same names in the folder; others stay.
    **options
        Those of the system: ``WRITERS[system].options``.

    Returns
    -------
    list of str
        Names of the files, and Zarr stores, that were written.

    Raises
    ------
    XRouteError
        For systems and options that there are not, products that a system has no files for, and whatever its layout has no
        place for.
    FileExistsError
        If one of the files is there already and ``overwrite`` is False; nothing is written then.

    Examples
    --------
    >>> import tempfile
    >>> import xroute
    >>> network = xroute.datasets.scheidegger(3, 3, scheme="muskingum")
    >>> xroute.io.export("rapid", tempfile.mkdtemp(), network=network)[0]
    'coords.csv'
    """
    if system not in WRITERS:
        raise XRouteError(f"there is no writer {system!r}; there are {some(WRITERS)}")
    writer = WRITERS[system]
    outgoing = Outgoing(network.dataset if isinstance(network, Network) else network, runoff, discharge, state)
    check(writer, outgoing)
    given = settled(writer, options)
    with filled_folder(folder, overwrite) as draft:
        writer.write(outgoing, Path(draft), **given)
        return written(draft)
