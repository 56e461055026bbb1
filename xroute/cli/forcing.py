"""What commands that route take and read: options of a run, a network, runoff by reach, and known discharge."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xroute.cli.common import READABLE, NetworkOptions, RunoffOptions
from xroute.settings import EXTRA, GRID_NAN, HILLSLOPE, LABEL, LATERAL, MISSING, RESET, SAMPLING

if TYPE_CHECKING:
    import xarray as xr

    from xroute.network import Network

__all__ = ["forcing_options", "open_forcing", "open_known_at", "open_rivers", "routing_options"]


def _all_of(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Several options of `click.option` in one."""

    def add(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def _substeps(_: click.Context, __: click.Parameter, value: str | None) -> int | str | None:
    """A number of substeps, or ``auto``: the callback of an option."""
    if value is None or value == "auto":
        return value
    if not (value.isascii() and value.isdecimal()) or int(value[:20]) < 1:
        raise click.BadParameter("a positive whole number, or auto")
    return int(value[:20])


forcing_options = _all_of(
    click.option("--label", type=click.Choice(LABEL),
                  help="What a time stamp is of its step, when the file does not tell.  [default: start]"),
    click.option("--deaccumulate", type=click.Choice(RESET),
                  help="Make amounts per step of values that accumulate: until 00 UTC of each day (ERA5-Land), along the leads "
                       "of a forecast, or without beginning again."),
)  # fmt: skip
"""What stamps and values of runoff mean."""
routing_options = _all_of(
    click.option("--scheme", help="Routing scheme; by default the one that the network names."),
    click.option("--substeps", callback=_substeps, metavar="INT|auto",
                  help="Routing steps in a runoff step; auto: the fewest that are stable.  "
                       "[default: the network's recipe, or 1]"),
    click.option("--sampling", type=click.Choice(SAMPLING),
                  help="How the substeps make a value (RAPID: start-mean).  [default: the network's recipe, or mean]"),
    click.option("--lateral", type=click.Choice(LATERAL),
                  help="Where runoff joins its own reach (RAPID: interval; mizuRoute: outlet).  "
                       "[default: the network's recipe, or head]"),
    click.option("--hillslope", metavar="NAME|FILE",
                  help="Unit hydrograph of each reach before its channel, of the network's own parameters: "
                       f"{', '.join(HILLSLOPE)}; or a file of ordinates.  [default: the network's, or none]"),
    click.option("--missing", type=click.Choice(MISSING), default="raise", show_default=True,
                  help="Reaches of the network without runoff."),
    click.option("--extra", type=click.Choice(EXTRA), default="raise", show_default=True,
                  help="Runoff ids that the network does not have."),
    click.option("--weights", type=READABLE,
                  help="For runoff on a grid: weights of its cells in the catchments, of `xroute weights` or another system's "
                       "table."),
    click.option("--nan", type=click.Choice(GRID_NAN), default="raise", show_default=True,
                  help="Missing values; of a grid's cells also what the other cells of the catchment have."),
    click.option("--known", type=READABLE, metavar="FILE",
                  help="Discharge that is known on some reaches (gauges, releases), in place of what is routed there: .nc, "
                       ".zarr, or .csv with time, reach and discharge. Where it is missing, discharge is routed."),
    click.option("--known-variable", metavar="NAME", help="Variable or column of --known, when there are several."),
    click.option("--device", help="Where to compute: cpu, cuda, cuda:1, ...  [default: the GPU if there is one]"),
)  # fmt: skip
"""How it is routed."""


def open_rivers(path: Path, table: NetworkOptions, order: str = "RUNOFF, NETWORK, OUTPUT") -> Network:
    """Network of a file, if it holds one."""
    from xroute.exceptions import NetworkError
    from xroute.inspection import kind
    from xroute.network import Network
    from xroute.topology import how_to_convert

    dataset = table.open(path)
    what = kind(dataset)
    if what in ("state", "discharge", "runoff", "grid", "weights"):
        article = "" if what == "weights" else "a "
        raise NetworkError(f"{path} holds {article}{what}, and no network: {order} is the order")
    if what in ("d8", "nextxy"):
        raise NetworkError(f"{path} is a grid, and no network: {how_to_convert(what)}")
    return Network(dataset, missing_downstream=table.missing_downstream)


def open_forcing(
    paths: list[Path], source: RunoffOptions, rivers: Network, reset: Any, dt: float | None, options: dict[str, Any], spread: bool
) -> tuple[xr.DataArray, str]:
    """Runoff on ``time`` and ``reach``, in amounts per step; and what brought it to the reaches, if it was on a grid."""
    from xroute.labels import with_standard_dims

    # bounds of values that accumulate begin together, and are not those of a series
    array = source.open(paths) if reset is None else source.open_despite_bounds(paths)[0]
    names, by = source.dims, ""
    if options["weights"] is not None:
        array, by = _on_reaches(array, source, rivers, options, on_dask=spread or reset is not None)
        names["reach_dim"] = "reach"
    array = with_standard_dims(array, rivers, **names, missing=options["missing"], extra=options["extra"])
    return (array if reset is None else _amounts(array, reset, options["label"], dt)), by


def _on_reaches(
    grid: xr.DataArray, source: RunoffOptions, rivers: Network, options: dict[str, Any], *, on_dask: bool
) -> tuple[xr.DataArray, str]:
    """Runoff of a grid by reach; options are left as they are for that."""
    from xroute.cluster import on_workers
    from xroute.grids.check import find_spatial_dims
    from xroute.grids.reaches import bring_to_reaches
    from xroute.grids.remapping import as_weights
    from xroute.request import StreamRequest
    from xroute.time_dims import find_time_dim

    weights = as_weights(options["weights"])
    if on_dask:
        grid = on_workers(grid, find_spatial_dims(grid, weights), find_time_dim(grid, source.time_dim))
    names = ("missing", "extra", "nan")
    request = StreamRequest(weights=weights, reach_dim=source.reach_dim, **{name: options[name] for name in names})
    array, left, by = bring_to_reaches(grid, rivers, request)
    options |= {"weights": None, "nan": left.nan}
    return array, by


def _amounts(array: xr.DataArray, reset: Any, label: str | None, dt: float | None) -> xr.DataArray:
    """Amounts per step of values that accumulate, on Dask, so that they are made block by block."""
    from xroute.accumulations import deaccumulate
    from xroute.cluster import on_workers
    from xroute.exceptions import require

    require("dask", feature="--deaccumulate", extra="io")
    if label is not None and "time_label_step" not in array.attrs:  # bounds count more, and what denies them is refused later
        array = array.assign_attrs(time_label=label)
    return deaccumulate(on_workers(array, "reach", "time"), reset, time_dim="time", dt=dt)


def open_known_at(path: Path | None, variable: str | None) -> xr.DataArray | None:
    """Discharge that is known, not read yet; None where there is none."""
    from xroute.io.series import open_known

    if path is None and variable is not None:
        raise click.UsageError("--known-variable is one of the file that --known names: give both")
    return None if path is None else open_known(path, variable)
