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
    FILES,
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
from xroute.cli.forcing import forcing_options, open_forcing, open_known_at, open_rivers, routing_options
from xroute.cli.messages import OPTIONS
from xroute.cli.signals import LEFT

if TYPE_CHECKING:
    import xarray as xr

    from xroute.lane_states import Ends
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


@click.command()
@click.argument("runoff", type=FILES, nargs=-1, required=True)
@click.argument("network", type=READABLE)
@click.argument("output", type=READABLE)
@runoff_options
@forcing_options
@network_options
@routing_options
@click.option("--initial-state", type=READABLE, help="State to start from, as --save-state wrote it.")
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
    rivers = open_rivers(network, table)
    array, by = open_forcing(paths, source, rivers, deaccumulate, step, options, crew.spread)
    step = step_of(array, "time", rivers, step)
    options["known"] = open_known_at(options["known"], options.pop("known_variable"))
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
