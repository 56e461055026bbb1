"""``xroute route``: runoff from files into a file, block by block."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xroute.cli.common import (
    READABLE,
    NetworkOptions,
    RunoffOptions,
    check_outputs,
    grouped,
    network_options,
    overlap,
    protect,
    runoff_options,
    save,
    seconds,
)
from xroute.cli.messages import OPTIONS
from xroute.cli.signals import LEFT
from xroute.settings import EXTRA, GRID_NAN, HILLSLOPE, LABEL, LATERAL, MISSING, RESET, SAMPLING

if TYPE_CHECKING:
    import xarray as xr

    from xroute.lane_states import Ends
    from xroute.network import Network
    from xroute.streaming import Stream

__all__ = ["route"]


@dataclass(frozen=True)
class WorkerOptions:
    """Whose workers route, if any."""

    workers: int | None
    scheduler: str | None

    @property
    def spread(self) -> bool:
        """Whether workers route."""
        return self.workers is not None or self.scheduler is not None

    @contextlib.contextmanager
    def at_work(self, device: str | None) -> Iterator[None]:
        """Be their client, if there are any; those of this machine name options, too, in what they tell."""
        from xroute.cluster import find_client, workers
        from xroute.wording import speak

        if not self.spread:
            yield
            return
        with workers(self.scheduler, self.workers, gpus=device is None or device.startswith("cuda")):
            if self.scheduler is None:
                find_client().run(speak, OPTIONS)
            yield


@dataclass(frozen=True)
class OutputOptions:
    """What is written beside discharge, and what becomes of what is there already."""

    save_state: Path | None
    state_time: str | None
    resume: bool
    overwrite: bool
    budget: bool

    def check(self, output: Path, workers: WorkerOptions) -> tuple[Path | None, ...]:
        """Refuse options that do not go together, and what cannot be written; returns what is to be."""
        from xroute.files.opening import suffix_format

        if workers.workers is not None and workers.scheduler is not None:
            raise click.UsageError("--workers starts workers here, --scheduler takes those of another: give one of them")
        if self.resume and self.overwrite:
            raise click.UsageError("--resume keeps what was written, and --overwrite replaces it: give one of them")
        try:
            kind = suffix_format(output)
        except ValueError as error:
            raise click.UsageError(str(error)) from None
        if (workers.spread or self.resume) and kind != "zarr":
            what = "workers write" if workers.spread else "runs can be resumed into"
            raise click.UsageError(f"{what} Zarr only: give OUTPUT the suffix .zarr")
        state = self.save_state
        if self.state_time is not None and state is None:
            raise click.UsageError("--state-time says when the state holds that --save-state writes: give both")
        if state is not None and overlap(output, state):
            raise click.UsageError(f"two outputs have the same path, or one lies in the other: {output}, {state}")
        again = self.overwrite or (self.resume and state is not None and _is_state(state))
        return (
            *check_outputs(output, overwrite=self.overwrite or self.resume),
            *check_outputs(state, overwrite=again),
        )


def _substeps(_: click.Context, __: click.Parameter, value: str | None) -> int | str | None:
    if value is None or value == "auto":
        return value
    if not (value.isascii() and value.isdecimal()) or int(value[:20]) < 1:
        raise click.BadParameter("a positive whole number, or auto")
    return int(value[:20])


@click.command()
@click.argument("runoff", type=str, nargs=-1, required=True)
@click.argument("network", type=READABLE)
@click.argument("output", type=READABLE)
@runoff_options
@click.option("--label", type=click.Choice(LABEL),
              help="What a time stamp is of its step, when the file does not tell.  [default: start]")  # fmt: skip
@click.option("--deaccumulate", type=click.Choice(RESET),
              help="Make amounts per step of values that accumulate: until 00 UTC of each day (ERA5-Land), along the leads of "
                   "a forecast, or without beginning again.")  # fmt: skip
@network_options
@click.option("--scheme", help="Routing scheme; by default the one that the network names.")
@click.option("--substeps", callback=_substeps, metavar="INT|auto",
              help="Routing steps in a runoff step; auto: the fewest that are stable.  "
                   "[default: the network's recipe, or 1]")  # fmt: skip
@click.option("--sampling", type=click.Choice(SAMPLING),
              help="How the substeps make a value (RAPID: start-mean).  [default: the network's recipe, or mean]")  # fmt: skip
@click.option("--lateral", type=click.Choice(LATERAL),
              help="Where runoff joins its own reach (RAPID: interval; mizuRoute: outlet).  "
                   "[default: the network's recipe, or head]")  # fmt: skip
@click.option("--hillslope", metavar="NAME|FILE",
              help="Unit hydrograph of each reach before its channel, of the network's own parameters: "
                   f"{', '.join(HILLSLOPE)}; or a file of ordinates.  [default: the network's, or none]")  # fmt: skip
@click.option("--missing", type=click.Choice(MISSING), default="raise", show_default=True,
              help="Reaches of the network without runoff.")  # fmt: skip
@click.option("--extra", type=click.Choice(EXTRA), default="raise", show_default=True,
              help="Runoff ids that the network does not have.")  # fmt: skip
@click.option("--weights", type=READABLE,
              help="For runoff on a grid: weights of its cells in the catchments, of `xroute weights` or another system's "
                   "table.")  # fmt: skip
@click.option("--nan", type=click.Choice(GRID_NAN), default="raise", show_default=True,
              help="Missing values; of a grid's cells also what the other cells of the catchment have.")  # fmt: skip
@click.option("--initial-state", type=READABLE, help="State to start from, as --save-state wrote it.")
@click.option("--known", type=READABLE, metavar="FILE",
              help="Discharge that is known on some reaches (gauges, releases), in place of what is routed there: .nc, .zarr, "
                   "or .csv with time, reach and discharge. Where it is missing, discharge is routed.")  # fmt: skip
@click.option("--known-variable", metavar="NAME", help="Variable or column of --known, when there are several.")
@click.option("--device", help="Where to compute: cpu, cuda, cuda:1, ...  [default: the GPU if there is one]")
@click.option(
    "--time-chunk", type=click.IntRange(min=1), help="Steps routed at a time; any number gives the same result."
)
@click.option("--memory", metavar="BYTES",
              help="Memory for all that is read, routed and written, such as 8GB; the network comes on top.  "
                   "[default: half of what is available, at most 4GB]")  # fmt: skip
@click.option("--dtype", type=click.Choice(["float32", "float64"]), help="By default that of the runoff.")
@grouped(
    "crew", WorkerOptions,
    click.option("--workers", type=click.IntRange(min=1), metavar="N",
                 help="Route on so many Dask workers of this machine, with a GPU each if it has any; into Zarr."),
    click.option("--scheduler", metavar="ADDRESS",
                 help="Route on the workers of the Dask scheduler at ADDRESS; into Zarr."),
)  # fmt: skip
@click.option("--partitions", type=click.IntRange(min=1), metavar="N",
              help="Parts that the network is cut into, for workers; by default as many as keep them busy.")  # fmt: skip
@grouped(
    "target", OutputOptions,
    click.option("--save-state", type=READABLE, help="Write the final state here (.zarr or .nc)."),
    click.option("--state-time", metavar="TIME",
                 help="Write the state of this time instead, when the next run starts: a date, or a duration (24h) from the "
                      "start."),
    click.option("--resume", is_flag=True, help="Go on with a run into OUTPUT (Zarr) that was interrupted."),
    click.option("--overwrite", is_flag=True, help="Replace outputs that exist."),
    click.option("--budget", is_flag=True,
                 help="Print the water budget, and write that of each basin into OUTPUT's group budget."),
)  # fmt: skip
@click.option("--progress/--no-progress", default=None, help="Progress bar; by default in a terminal.")
@click.pass_context
def route(
    context: click.Context,
    runoff: tuple[str, ...],
    network: Path,
    output: Path,
    source: RunoffOptions,
    table: NetworkOptions,
    crew: WorkerOptions,
    target: OutputOptions,
    deaccumulate: Any,
    dtype: str | None,
    progress: bool | None,
    **options: Any,
) -> None:
    """Route RUNOFF (files with runoff on time and reach, or on a grid) down NETWORK into OUTPUT.

    RUNOFF is a Zarr store or a netCDF file, or several of them, or patterns such as 'runoff_*.nc', one after another in
    time. NETWORK is a Zarr store, a netCDF file or a table (.csv, .parquet, .gpkg, .shp, ...). OUTPUT's suffix (.zarr or
    .nc) says what to write. The series is read, routed and written in blocks of time, so that it need not fit in memory.
    Runoff on a grid needs --weights, which `xroute weights` makes.
    A run into Zarr that was interrupted goes on where it was with --resume.
    """
    from xroute.cluster import on_workers
    from xroute.io.cf import cf_dataset
    from xroute.io.common import expand_paths
    from xroute.recipe import step_of
    from xroute.request import StreamRequest
    from xroute.streaming import Stream

    outputs = target.check(output, crew)
    paths = expand_paths(list(runoff))
    read = (*paths, network, *(options[name] for name in ("initial_state", "weights", "known")))
    protect([path for path in read if path is not None], outputs)
    step = seconds(source.dt)
    rivers = _rivers(network, table)
    array, by = _runoff(paths, source, rivers, deaccumulate, step, options, crew.spread)
    step = step_of(array, "time", rivers, step)
    options["known"] = _known(options["known"], options.pop("known_variable"))
    request = StreamRequest(**options, time_dim="time", dt=step, state_time=target.state_time, budget=target.budget)

    def as_dataset(discharge: xr.DataArray) -> xr.Dataset:
        return cf_dataset(discharge, rivers, dt=step)

    with crew.at_work(request.device):
        stream = Stream.prepare(
            on_workers(array, "reach", "time") if crew.spread else array, rivers, request, dtype=dtype, by=by
        )
        context.meta[LEFT] = _Left(output)
        again: dict[str, Any] = {
            "replace": target.overwrite,
            "progress": sys.stderr.isatty() if progress is None else progress,
        }
        if output.suffix.lower() == ".zarr":
            ends, summary = stream.to_zarr(output, resume=target.resume, as_dataset=as_dataset, **again)
        else:
            ends, summary = stream.to_netcdf(output, as_dataset, **again)
    if target.save_state is not None:
        _save_state(stream, ends, target.save_state, output, target.overwrite or target.resume)
    if target.resume and stream.n_steps and not summary.n_steps:
        click.echo(f"{output} holds the whole run already: nothing was routed")
    else:
        click.echo(f"wrote {output}: {summary}")
    if summary.budget is not None:
        from xroute.budget.form import budget_table

        click.echo(budget_table(summary.budget))


def _rivers(path: Path, table: NetworkOptions) -> Network:
    """Network of a file, if it holds one."""
    from xroute.exceptions import NetworkError
    from xroute.inspection import kind
    from xroute.network import Network
    from xroute.topology import how_to_convert

    dataset = table.open(path)
    what = kind(dataset)
    if what in ("state", "discharge", "runoff", "grid", "weights"):
        article = "" if what == "weights" else "a "
        raise NetworkError(f"{path} holds {article}{what}, and no network: RUNOFF, NETWORK, OUTPUT is the order")
    if what in ("d8", "nextxy"):
        raise NetworkError(f"{path} is a grid, and no network: {how_to_convert(what)}")
    return Network(dataset, missing_downstream=table.missing_downstream)


def _runoff(
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


def _known(path: Path | None, variable: str | None) -> xr.DataArray | None:
    """Discharge that is known, not read yet; None where there is none."""
    from xroute.io.series import open_known

    if path is None and variable is not None:
        raise click.UsageError("--known-variable is one of the file that --known names: give both")
    return None if path is None else open_known(path, variable)


class _Left:
    """What an interrupted run leaves, in words, told when it comes to that."""

    def __init__(self, output: Path) -> None:
        self.output = output

    def __str__(self) -> str:
        if self.output.suffix.lower() == ".zarr" and self.output.exists():
            return f"the same command with --resume goes on with {self.output}"
        return f"{self.output} is not written" + ("" if self.output.suffix.lower() == ".zarr" else
                                                  " (a run into .zarr can be resumed)")  # fmt: skip


def _save_state(stream: Stream, ends: Ends, path: Path, output: Path, overwrite: bool) -> None:
    from xroute.exceptions import XRouteError

    try:
        save([(stream.final_state(ends), path)], overwrite)
    except (OSError, XRouteError) as error:
        hint = "; the same command with --resume writes it" if output.suffix.lower() == ".zarr" else ""
        raise XRouteError(f"{output} is written, but not the state: {error}{hint}") from error


def _is_state(path: Path) -> bool:
    """Whether a file holds a state, which the end of a resumed run may replace."""
    from xroute.files.opening import open_dataset
    from xroute.state_form import is_state

    if not path.exists():
        return False
    with contextlib.suppress(ValueError, OSError), open_dataset(path) as dataset:
        return is_state(dataset)
    return False
