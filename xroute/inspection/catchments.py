"""What a file of catchments holds: polygons or points that bear ids of reaches, and no links."""

from __future__ import annotations

import os

from xroute.exceptions import XRouteError
from xroute.grids.catchments import Outlines, Points, read_catchments
from xroute.grids.polygons import in_degrees
from xroute.ids import distinct, repeated
from xroute.inspection.report import Report
from xroute.wording import phrase

__all__ = ["inspect_catchments"]


def inspect_catchments(path: str | os.PathLike[str]) -> Report | None:
    """Report of a file of catchments.

    Parameters
    ----------
    path
        File of polygons or points with a column of ids.

    Returns
    -------
    Report or None
        None for a file that is none of catchments: without geometry, or without a column that is known to hold ids.

    Raises
    ------
    ImportError
        If geopandas is not installed.
    """
    try:
        catchments = read_catchments(path, None, None)
    except XRouteError:
        return None
    ids = catchments.ids
    n = distinct(ids).size
    made = phrase("catchments", "xroute.grid_weights(grid, catchments) makes weights of a grid's cells in them")
    report = Report(judged=False)
    kind = "polygons" if isinstance(catchments, Outlines) else "points"
    report.facts.append(("holds", f"catchments as {kind}: {made}"))
    report.facts.append(("catchments", f"{n:,}, such as {', '.join(map(str, distinct(ids)[:3]))}"))
    twice = repeated(ids).size
    if twice:
        report.notes.append(f"{twice:,} catchments have several {kind}, which are taken together")
    try:
        west, south, east, north = _extent(catchments)
    except XRouteError as error:
        report.problems.append(str(error))
    else:
        report.facts.append(("longitude", f"{west:.5g} to {east:.5g} degrees"))
        report.facts.append(("latitude", f"{south:.5g} to {north:.5g} degrees"))
    if isinstance(catchments, Points):
        known = "known" if catchments.area is not None else "not known, which weights by the nearest cell need"
        report.facts.append(("areas", known))
    elif catchments.crs is not None:
        report.facts.append(("system", str(catchments.crs.name)))
    return report


def _extent(catchments: Outlines | Points) -> tuple[float, float, float, float]:
    """West, south, east and north [degrees]."""
    if isinstance(catchments, Points):
        lon, lat = catchments.lon, catchments.lat
        return float(lon.min()), float(lat.min()), float(lon.max()), float(lat.max())
    import shapely

    there = ~shapely.is_missing(catchments.geometry)
    bounds = shapely.total_bounds(in_degrees(catchments.geometry[there], catchments.crs, catchments.ids[there]))
    west, south, east, north = bounds
    return float(west), float(south), float(east), float(north)
