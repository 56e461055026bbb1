"""``xroute route``: runoff from files into a file, block by block."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xroute.cli.common import (
    READABLE,
    check_outputs,
    network_options,
    open_network,
    overlap,
    protect,
    read_runoff,
    runoff_options,
    save,
    seconds,
)
from xroute.cli.signals import LEFT

if TYPE_CHECKING:
    import xarray as xr

    from xroute.streaming import Stream

__all__ = ["route"]


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
@click.option("--label", type=click.Choice(["start", "end", "middle"]),
              help="What a time stamp is of its step, when the file does not tell.  [default: start]")  # fmt: skip
@click.option("--deaccumulate", type=click.Choice(["day", "forecast", "never"]),
              help="Make amounts per step of values that accumulate: until 00 UTC of each day (ERA5-Land), along the leads of "
                   "a forecast, or without beginning again.")  # fmt: skip
@network_options
@click.option("--scheme", help="Routing scheme; by default the one that the network names.")
@click.option("--substeps", callback=_substeps, metavar="INT|auto",
              help="Routing steps in a runoff step; auto: the fewest that are stable.  "
                   "[default: the network's recipe, or 1]")  # fmt: skip
@click.option("--sampling", type=click.Choice(["mean", "last", "start-mean"]),
              help="How the substeps make a value (RAPID: start-mean).  [default: the network's recipe, or mean]")  # fmt: skip
@click.option("--lateral", type=click.Choice(["head", "interval", "outlet"]),
              help="Where runoff joins its own reach (RAPID: interval; mizuRoute: outlet).  "
                   "[default: the network's recipe, or head]")  # fmt: skip
@click.option("--missing", type=click.Choice(["raise", "zero"]), default="raise", show_default=True,
              help="Reaches of the network without runoff.")  # fmt: skip
@click.option("--extra", type=click.Choice(["raise", "drop"]), default="raise", show_default=True,
              help="Runoff ids that the network does not have.")  # fmt: skip
@click.option("--nan", type=click.Choice(["raise", "zero"]), default="raise", show_default=True, help="Missing values.")
@click.option("--initial-state", type=READABLE, help="State to start from, as --save-state wrote it.")
@click.option("--save-state", type=READABLE, help="Write the final state here (.zarr or .nc).")
@click.option("--device", help="Where to compute: cpu, cuda, cuda:1, ...  [default: the GPU if there is one]")
@click.option(
    "--time-chunk", type=click.IntRange(min=1), help="Steps routed at a time; any number gives the same result."
)
@click.option("--dtype", type=click.Choice(["float32", "float64"]), help="By default that of the runoff.")
@click.option("--workers", type=click.IntRange(min=1), metavar="N",
              help="Route on so many Dask workers of this machine, with a GPU each if it has any; into Zarr.")  # fmt: skip
@click.option(
    "--scheduler", metavar="ADDRESS", help="Route on the workers of the Dask scheduler at ADDRESS; into Zarr."
)
@click.option("--partitions", type=click.IntRange(min=1), metavar="N",
              help="Parts that the network is cut into, for workers; by default as many as keep them busy.")  # fmt: skip
@click.option("--resume", is_flag=True, help="Go on with a run into OUTPUT (Zarr) that was interrupted.")
@click.option("--overwrite", is_flag=True, help="Replace outputs that exist.")
@click.option("--progress/--no-progress", default=None, help="Progress bar; by default in a terminal.")
@click.pass_context
def route(
    context: click.Context,
    runoff: tuple[str, ...],
    network: Path,
    output: Path,
    variable: tuple[str, ...],
    reach_dim: str | None,
    time_dim: str | None,
    dt: str | None,
    deaccumulate: Any,
    missing_downstream: Any,
    preset: str | None,
    reach_column: str | None,
    downstream_column: str | None,
    column_units: tuple[str, ...],
    initial_state: Path | None,
    save_state: Path | None,
    time_chunk: int | None,
    dtype: str | None,
    device: str | None,
    workers: int | None,
    scheduler: str | None,
    resume: bool,
    overwrite: bool,
    progress: bool | None,
    **options: Any,
) -> None:
    """Route RUNOFF (files with runoff on time and reach) down NETWORK into OUTPUT.

    RUNOFF is a Zarr store or a netCDF file, or several of them, or patterns such as 'runoff_*.nc', one after another in
    time. NETWORK is a Zarr store, a netCDF file or a table (.csv, .parquet, .gpkg, .shp, ...). OUTPUT's suffix (.zarr or
    .nc) says what to write. The series is read, routed and written in blocks of time, so that it need not fit in memory.
    A run into Zarr that was interrupted goes on where it was with --resume.
    """
    from xroute.cluster import on_workers
    from xroute.exceptions import NetworkError
    from xroute.io.cf import cf_dataset
    from xroute.io.common import expand_paths, open_runoff
    from xroute.kinds import kind
    from xroute.labels import standard_names
    from xroute.network import Network
    from xroute.recipe import step_of
    from xroute.streaming import Stream

    spread = workers is not None or scheduler is not None
    _check_together(output, spread, workers is not None and scheduler is not None, resume, overwrite)
    outputs = (
        *check_outputs(output, overwrite=overwrite or resume),
        *check_outputs(save_state, overwrite=overwrite or (resume and save_state is not None and _is_state(save_state))),
    )
    if save_state is not None and overlap(output, save_state):
        raise click.UsageError(f"two outputs have the same path, or one lies in the other: {output}, {save_state}")
    paths = expand_paths(list(runoff))
    protect([path for path in (*paths, network, initial_state) if path is not None], outputs)
    step = seconds(dt)
    columns = (preset, reach_column, downstream_column, column_units)
    dataset = open_network(network, *columns)
    if kind(dataset) in ("state", "discharge", "runoff", "grid"):
        raise NetworkError(f"{network} holds a {kind(dataset)}, and no network: RUNOFF, NETWORK, OUTPUT is the order")
    rivers = Network(dataset, missing_downstream=missing_downstream)
    dims: dict[str, Any] = {name: dim for name, dim in (("reach_dim", reach_dim), ("time_dim", time_dim)) if dim}
    policy = {name: options[name] for name in ("missing", "extra")}
    if deaccumulate is None:
        array = standard_names(open_runoff(paths, list(variable) or None, **dims), rivers, **dims, **policy)
    else:  # whose bounds, if they begin together, are not those of a series
        array = standard_names(read_runoff(paths, variable, **dims)[0], rivers, **dims, **policy)
        array = _amounts(array, deaccumulate, options["label"], step)
    step = step_of(array, "time", rivers, step)
    shown = sys.stderr.isatty() if progress is None else progress
    given = {name: value for name, value in options.items() if value is not None}

    def finish(discharge: xr.DataArray) -> xr.Dataset:
        return cf_dataset(discharge, rivers, dt=step)

    with _workers(scheduler, workers, device) if spread else contextlib.nullcontext():
        stream = Stream.prepare(
            on_workers(array, "reach", "time") if spread else array, rivers, time_chunk=time_chunk,
            initial_state=initial_state, device=device, dtype=dtype, dt=step, time_dim="time", **given,
        )  # fmt: skip
        context.meta[LEFT] = _Left(output)
        if output.suffix.lower() == ".zarr":
            end, summary = stream.to_zarr(output, resume=resume, replace=overwrite, progress=shown, finish=finish)
        else:
            end, summary = stream.to_netcdf(output, finish, replace=overwrite, progress=shown)
    if save_state is not None:
        _save_state(stream, end, save_state, output, overwrite or resume)
    if resume and stream.n_steps and not summary.n_steps:
        click.echo(f"{output} holds the whole run already: nothing was routed")
    else:
        click.echo(f"wrote {output}: {summary}")


def _amounts(array: xr.DataArray, reset: Any, label: str | None, dt: float | None) -> xr.DataArray:
    """Amounts per step of values that accumulate, on Dask, so that they are made block by block."""
    from xroute.accumulations import deaccumulate
    from xroute.cluster import on_workers
    from xroute.exceptions import require

    require("dask", feature="--deaccumulate", extra="io")
    if label is not None and "time_label_step" not in array.attrs:  # bounds count more, and what denies them is refused later
        array = array.assign_attrs(time_label=label)
    return deaccumulate(on_workers(array, "reach", "time"), reset, time_dim="time", dt=dt)


def _check_together(output: Path, spread: bool, both: bool, resume: bool, overwrite: bool) -> None:
    """Refuse options that do not go together."""
    from xroute.io.files import suffix_format

    if both:
        raise click.UsageError("--workers starts workers here, --scheduler takes those of another: give one of them")
    if resume and overwrite:
        raise click.UsageError("--resume keeps what was written, and --overwrite replaces it: give one of them")
    try:
        kind = suffix_format(output)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if (spread or resume) and kind != "zarr":
        raise click.UsageError(
            f"{'workers write' if spread else 'runs can be resumed into'} Zarr only: give OUTPUT the suffix .zarr"
        )


class _Left:
    """What an interrupted run leaves, in words, told when it comes to that."""

    def __init__(self, output: Path) -> None:
        self.output = output

    def __str__(self) -> str:
        if self.output.suffix.lower() == ".zarr" and self.output.exists():
            return f"the same command with --resume goes on with {self.output}"
        return f"{self.output} is not written" + ("" if self.output.suffix.lower() == ".zarr" else
                                                  " (a run into .zarr can be resumed)")  # fmt: skip


def _save_state(stream: Stream, end: Any, path: Path, output: Path, overwrite: bool) -> None:
    from xroute.exceptions import XRouteError

    try:
        save([(stream.final_state(end), path)], overwrite)
    except (OSError, XRouteError) as error:
        hint = "; the same command with --resume writes it" if output.suffix.lower() == ".zarr" else ""
        raise XRouteError(f"{output} is written, but not the state: {error}{hint}") from error


def _is_state(path: Path) -> bool:
    """Whether a file holds a state, which the end of a resumed run may replace."""
    from xroute.io.files import open_dataset
    from xroute.state_form import is_state

    if not path.exists():
        return False
    with contextlib.suppress(ValueError, OSError), open_dataset(path) as dataset:
        return is_state(dataset)
    return False


def _workers(scheduler: str | None, n: int | None, device: str | None) -> Any:
    from xroute.cluster import workers

    return workers(scheduler, n, gpus=device is None or device.startswith("cuda"))
