"""`open_known`: discharge that is known on some reaches, from files, for ``known=``. `xroute.series` reads them."""

from __future__ import annotations

import xarray as xr

from xroute.files.opening import PathLike
from xroute.series import open_series

__all__ = ["open_known"]


def open_known(path: PathLike, variable: str | None = None) -> xr.DataArray:
    r"""Open discharge that is known on some reaches, for ``route(..., known=)``.

    Parameters
    ----------
    path
        A netCDF file or Zarr store with a variable on reach and time; or a table (csv) with a header: of a value a row, in
        columns ``time``, ``reach`` and ``discharge``; or of a column a reach, under its id, the first being the time.
        Empty cells are not known. Values of tables have no units: they are taken in those of the run's discharge.
    variable
        Its name, or its column's. By default ``discharge``, or the only one that could be.

    Returns
    -------
    xarray.DataArray
        Discharge (time, reach, ...) in the units that the file names, if it does; of a netCDF file or Zarr store not read yet.

    Raises
    ------
    FileNotFoundError
        There is nothing at the path.
    XRouteError
        For files that hold no such variable, or cannot be read.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "releases.csv")
    ...     _ = file.write_text("time,7,12\n2001-01-01 00:00,3.5,\n2001-01-01 01:00,4,2\n")
    ...     open_known(file).sel(reach=7).values.tolist()
    [3.5, 4.0]
    """
    return open_series(path, variable)
