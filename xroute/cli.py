"""The ``xroute`` command: describe a network, convert files of other systems, route, and show a demonstration.

Only what the command line adds stands here: options, messages, progress. Problems with data exit with 1 and one line
that says what to do (``--debug`` adds the traceback), wrong usage with 2. Heavy modules are imported by the command
that needs them.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xroute.version import __version__

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["main"]

READABLE = click.Path(path_type=Path)
#: What `convert rapid` may read of a folder beside RAPID's own names, and so must not write over.
RAPID_INPUTS = ("*.parquet", "Q*.nc*", "coords*.csv")
#: What the package says to users of Python, and what it means on the command line.
WORDS = (
    (r"\b(missing|extra|nan|lateral|sampling|scheme|device)=[\"']([\w-]+)[\"']", r"--\1 \2"),
    (r"\bsubsteps=(\d+)", r"--substeps \1"),
    (r"\b(dt|scheme)=(?=[\s,.;]|$)", r"--\1"),
    (r"overwrite=True \(--overwrite\)", "--overwrite"),
    (r'mode="w"', "--overwrite"),
    (r"run again to go on", "--resume goes on"),
    (r"\b[Gg]ive (reach|time)_dim=", r"Name it \1 in the file"),
    (r"drop the attribute: del state\.attrs\['time'\]", "carry on"),
    (r'(with missing_downstream="outlet")', r"in Python \1"),
)


class Commands(click.Group):
    """Commands whose foreseeable errors are one line, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; the user's mistakes become messages with exit code 1."""
        debug = bool(ctx.params.get("debug"))
        with _notes():
            try:
                return super().invoke(ctx)
            except (click.ClickException, click.exceptions.Exit, click.Abort):
                raise
            except (ValueError, OSError, ImportError) as error:
                from xroute.exceptions import XRouteError

                # A bare ValueError or ImportError is ours to mend, so its traceback is shown.
                known = isinstance(error, XRouteError | OSError) or "pip install" in str(error)
                if debug or not known:
                    raise
                raise click.ClickException(_message(error)) from error


def _message(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno and error.filename:
        return f"{error.strerror}: {error.filename}"
    return _in_options(str(error)) or type(error).__name__


def _in_options(text: str) -> str:
    """Say a message of the package in options of the command line."""
    for python, option in WORDS:
        text = re.sub(python, option, text)
    return text


@contextlib.contextmanager
def _notes() -> Iterator[None]:
    """Show what the package logs and warns of as plain lines on stderr."""
    logger, handler = logging.getLogger("xroute"), _Echo()
    level, show = logger.level, warnings.showwarning
    shown: set[str] = set()

    def echo_once(message: Warning | str, *_: Any, **__: Any) -> None:
        if str(message) not in shown:  # a run in chunks warns of the same thing for each
            shown.add(str(message))
            click.echo(f"warning: {_in_options(str(message))}", err=True)

    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    warnings.showwarning = echo_once
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        warnings.showwarning = show


class _Echo(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        kind = "warning" if record.levelno >= logging.WARNING else "note"
        click.echo(f"{kind}: {_in_options(record.getMessage())}", err=True)


SESSION = """\b
A typical session:
  xroute convert rapid RAPID_FOLDER --network network.zarr --runoff runoff.zarr
  xroute info network.zarr --runoff runoff.zarr
  xroute route runoff.zarr network.zarr discharge.zarr
"""


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]}, epilog=SESSION)
@click.version_option(__version__, prog_name="xroute")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def main(debug: bool) -> None:
    """Route runoff down river networks."""


# ── info ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


@main.command()
@click.argument("network", type=READABLE)
@click.option("--runoff", type=READABLE, help="Check that this runoff fits the network.")
@click.option("--variable", help="Runoff variable, when the file has several.")
@click.option(
    "--dt", help="Runoff step (seconds, or e.g. 1h), for the Muskingum stability range; by default the runoff's."
)
@click.option("--substeps", type=click.IntRange(min=1), help="Routing steps in a step; by default the network's own.")
@click.option("--steps", type=click.IntRange(min=0), help="Steps of the run that memory is estimated for.")
@click.option("--dtype", type=click.Choice(["float32", "float64"]), default="float32", show_default=True)
def info(
    network: Path,
    runoff: Path | None,
    variable: str | None,
    dt: str | None,
    substeps: int | None,
    steps: int | None,
    dtype: str,
) -> None:
    """Describe a network and list its problems (exit code 1 when there are any)."""
    from xroute.inspection import describe
    from xroute.io.files import open_dataset

    array = None if runoff is None else _pick(open_dataset(runoff), variable, runoff)
    report = describe(
        open_dataset(network).load(),
        runoff=array,
        dt=None if dt is None else _seconds(dt),
        substeps=substeps,
        steps=steps,
        dtype=dtype,
    )
    click.echo(f"{network}\n" + _in_options(report.text()))
    if report.problems:
        sys.exit(1)


# ── convert ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@main.group()
def convert() -> None:
    """Convert files of other systems to Zarr or netCDF."""


def _outputs(command: Any) -> Any:
    for option in (
        click.option("--overwrite", is_flag=True, help="Replace outputs that exist."),
        click.option("--runoff", "runoff_output", type=READABLE, help="Write the runoff here (.zarr or .nc)."),
        click.option("--network", "network_output", type=READABLE, help="Write the network here (.zarr or .nc)."),
    ):
        command = option(command)
    return command


@convert.command()
@click.argument("source", nargs=-1, required=True, type=READABLE)
@_outputs
@click.option("--k", "k_file", type=READABLE, help="k.csv, when SOURCE is a connectivity file.")
@click.option("--x", "x_file", type=READABLE, help="x.csv, when SOURCE is a connectivity file.")
@click.option("--basin-ids", type=READABLE, help="riv_bas_id.csv, when SOURCE is a connectivity file.")
@click.option("--runoff-file", multiple=True, type=READABLE, help="Runoff file, one a region, under an unusual name.")
@click.option("--state", "state_output", type=READABLE, help="Write the initial state here (.zarr or .nc).")
@click.option("--state-file", type=READABLE, help="Initial flow (Qinit, Q00), when the namelist does not name it.")
@click.option("--namelist", type=READABLE, help="RAPID's namelist, when SOURCE has several or none.")
@click.option("--coordinates", type=READABLE, help="Table of id, lon, lat, when it has an unusual name.")
@click.option("--variable", help="Runoff variable.  [default: m3_riv; RAPID2: Qext]")
@click.option("--dt", help="Runoff step (seconds, or e.g. 3h), when neither file nor namelist tells.")
@click.option("--dt-routing", help="Routing step (seconds, or e.g. 15min), when no namelist tells.")
@click.option("--start", help="Start of the first step, such as 2002-08-30, when the file has no dates.")
def rapid(
    source: tuple[Path, ...],
    network_output: Path | None,
    runoff_output: Path | None,
    overwrite: bool,
    k_file: Path | None,
    x_file: Path | None,
    basin_ids: Path | None,
    runoff_file: tuple[Path, ...],
    state_output: Path | None,
    state_file: Path | None,
    namelist: Path | None,
    coordinates: Path | None,
    variable: str | None,
    dt: str | None,
    dt_routing: str | None,
    start: str | None,
) -> None:
    """Convert RAPID or RAPID2: a folder (RAPID: or several, one a region), a connectivity file, or RAPID2's namelist."""
    from xroute.io.rapid_files import PATTERNS
    from xroute.io.rapid_setup import find_setup, read_setup

    outputs = _check_outputs(network_output, runoff_output, state_output, overwrite=overwrite, needed=True)
    read = (*source, *runoff_file, k_file, x_file, basin_ids, namelist, coordinates, state_file)
    beside = () if runoff_file else [s.parent for s in source if not s.is_dir()]
    _protect(_files((*read, *beside), *PATTERNS.values(), RAPID_INPUTS), outputs)
    for folder in source:
        if folder.is_dir():
            found = find_setup(folder, namelist)
            click.echo(f"{folder}: " + ", ".join(f"{role} {path.name}" for role, path in found.items()))
    setup = read_setup(
        source, k=k_file, x=x_file, basin_ids=basin_ids, namelist=namelist, coordinates=coordinates, routing_step=dt_routing,
        runoff=runoff_output is not None and (runoff_file or True), variable=variable, dt=None if dt is None else _seconds(dt),
        start=start, state=state_output is not None and (state_file or True),
    )  # fmt: skip
    for dataset, path in zip((setup.network, setup.runoff, setup.state), outputs, strict=True):
        if dataset is not None:
            _save(dataset, path, overwrite)


@convert.command()
@click.argument("source", nargs=-1, required=True, type=READABLE)
@_outputs
@click.option("--forcing", multiple=True, type=READABLE, help="CHRTOUT files or folder, when not in SOURCE.")
@click.option("--variable", multiple=True, help="Forcing variable; several are added up.")
def nwm(
    source: tuple[Path, ...],
    network_output: Path | None,
    runoff_output: Path | None,
    overwrite: bool,
    forcing: tuple[Path, ...],
    variable: tuple[str, ...],
) -> None:
    """Convert the National Water Model: a folder with RouteLink and CHRTOUT files, or a RouteLink file."""
    from xroute.io import nwm as reader

    outputs = _check_outputs(network_output, runoff_output, overwrite=overwrite, needed=True)
    _protect(_files((*source, *forcing), reader.NETWORK_PATTERNS, reader.FORCING_PATTERNS), outputs)
    if source[0].is_dir():
        found = reader.find_files(source[0])
        if "network" in found:
            click.echo(f"{source[0]}: network {found['network'].name}, {len(found.get('forcing', []))} forcing files")
    network = reader.read_network(source[0])
    _save(network, outputs[0], overwrite)
    if outputs[1] is not None:
        places: Sequence[Path] = list(forcing) or list(source[1:]) or ([source[0]] if source[0].is_dir() else [])
        if not places:
            raise click.UsageError("--runoff needs the forcing: --forcing FOLDER, or a SOURCE folder that holds it")
        files = places[0] if len(places) == 1 else places
        runoff = reader.read_forcing(files, network, variable=variable or None)
        _save(runoff.to_dataset(), outputs[1], overwrite)


def _check_outputs(*paths: Path | None, overwrite: bool, needed: bool = False) -> tuple[Path | None, ...]:
    """Refuse what cannot be written, before any work is done."""
    from xroute.checkpoint import GROUP
    from xroute.io.files import suffix_format

    if needed and all(path is None for path in paths):
        raise click.UsageError("nothing to write: give --network and/or --runoff")
    for path in paths:
        if path is None:
            continue
        try:
            suffix_format(path)
        except ValueError as error:
            raise click.UsageError(str(error)) from None
        if path.exists() and not overwrite:
            unfinished = (path / GROUP).is_dir()
            raise FileExistsError(
                f"{path} exists; --overwrite replaces it"
                + (", --resume goes on with the run in it" if unfinished else "")
            )
        if not path.absolute().parent.is_dir():
            raise FileNotFoundError(f"no folder {path.parent} to write {path.name} in")
    written = [path for path in paths if path is not None]
    if any(_overlap(a, b) for i, a in enumerate(written) for b in written[:i]):
        raise click.UsageError(
            f"two outputs have the same path, or one lies in the other: {', '.join(map(str, written))}"
        )
    return paths


def _protect(inputs: Iterable[Path], outputs: Sequence[Path | None]) -> None:
    """Refuse to write over what is read, --overwrite or not."""
    for source in inputs:
        for path in outputs:
            if path is not None and _overlap(path, source):
                raise click.UsageError(f"the output {path} would replace the input {source}, or a part of it")


def _overlap(a: Path, b: Path) -> bool:
    a, b = a.resolve(), b.resolve()
    return a.is_relative_to(b) or b.is_relative_to(a)


def _files(given: Iterable[Path | None], *patterns: Sequence[str]) -> Iterator[Path]:
    """Files that may be read where folders are given: there is place for outputs beside them."""
    for path in given:
        if path is not None and path.is_dir():
            for pattern in itertools.chain(*patterns):
                yield from itertools.chain(path.glob(pattern), path.glob(f"*/{pattern}"))
        elif path is not None:
            yield path


def _save(dataset: xr.Dataset, path: Path | None, overwrite: bool) -> None:
    from xroute.io.files import write

    if path is not None:
        write(dataset, path, overwrite=overwrite)
        sizes = ", ".join(f"{size:,} {dim}" for dim, size in dataset.sizes.items())
        click.echo(f"wrote {path} ({sizes})")


# ── route ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _substeps(_: click.Context, __: click.Parameter, value: str | None) -> int | str | None:
    if value is None or value == "auto":
        return value
    if not value.isdecimal() or int(value) < 1:
        raise click.BadParameter("a positive whole number, or auto")
    return int(value)


@main.command()
@click.argument("runoff", type=READABLE)
@click.argument("network", type=READABLE)
@click.argument("output", type=READABLE)
@click.option("--scheme", help="Routing scheme; by default the one that the network names.")
@click.option("--substeps", callback=_substeps, metavar="INT|auto",
              help="Routing steps in a runoff step; auto: as many as are stable.  [default: the network's, or 1]")  # fmt: skip
@click.option("--sampling", type=click.Choice(["mean", "last", "start-mean"]),
              help="How the substeps make a value (RAPID: start-mean).  [default: the network's, or mean]")  # fmt: skip
@click.option("--lateral", type=click.Choice(["head", "interval", "outlet"]),
              help="Where runoff joins its own reach (RAPID: interval; mizuRoute: outlet).  [default: the network's, or "
              "head]")  # fmt: skip
@click.option("--missing", type=click.Choice(["raise", "zero"]), default="raise", show_default=True,
              help="Reaches of the network without runoff.")  # fmt: skip
@click.option("--extra", type=click.Choice(["raise", "drop"]), default="raise", show_default=True,
              help="Runoff ids that the network does not have.")  # fmt: skip
@click.option("--nan", type=click.Choice(["raise", "zero"]), default="raise", show_default=True, help="Missing values.")
@click.option("--initial-state", type=READABLE, help="State to start from, as --save-state wrote it.")
@click.option("--save-state", type=READABLE, help="Write the final state here (.zarr or .nc).")
@click.option("--device", help="Where to compute: cpu, cuda, cuda:1, ...  [default: the GPU if there is one]")
@click.option("--dt", help="Runoff step (seconds, or e.g. 1h), when the time axis does not tell.")
@click.option(
    "--time-chunk", type=click.IntRange(min=1), help="Steps routed at a time; any number gives the same result."
)
@click.option("--variable", help="Runoff variable, when the file has several.")
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
def route(
    runoff: Path,
    network: Path,
    output: Path,
    initial_state: Path | None,
    save_state: Path | None,
    dt: str | None,
    time_chunk: int | None,
    variable: str | None,
    dtype: str | None,
    device: str | None,
    workers: int | None,
    scheduler: str | None,
    resume: bool,
    overwrite: bool,
    progress: bool | None,
    **options: Any,
) -> None:
    """Route RUNOFF (a file with runoff on time and reach) down NETWORK into OUTPUT.

    RUNOFF, NETWORK and OUTPUT are Zarr stores or netCDF files; OUTPUT's suffix (.zarr or .nc) says which to write. The
    series is read, routed and written in blocks of time, so that it need not fit in memory. A run into Zarr that was
    interrupted goes on where it was with --resume.
    """
    from xroute.cluster import on_workers
    from xroute.io.cf import cf_dataset
    from xroute.io.files import open_dataset, suffix_format, write
    from xroute.labels import standard_names
    from xroute.network import Network
    from xroute.recipe import step_of
    from xroute.streaming import Stream

    spread = workers is not None or scheduler is not None
    if workers is not None and scheduler is not None:
        raise click.UsageError("--workers starts workers here, --scheduler takes those of another: give one of them")
    if resume and overwrite:
        raise click.UsageError("--resume keeps what was written, and --overwrite replaces it: give one of them")
    outputs = (
        *_check_outputs(output, overwrite=overwrite or resume),
        *_check_outputs(
            save_state, overwrite=overwrite or (resume and save_state is not None and _is_state(save_state))
        ),
    )
    if save_state is not None and _overlap(output, save_state):
        raise click.UsageError(f"two outputs have the same path, or one lies in the other: {output}, {save_state}")
    to_zarr = suffix_format(output) == "zarr"
    if (spread or resume) and not to_zarr:
        raise click.UsageError(
            f"{'workers write' if spread else 'runs can be resumed into'} Zarr only: give OUTPUT the suffix .zarr"
        )
    _protect([path for path in (runoff, network, initial_state) if path is not None], outputs)
    rivers = Network(open_dataset(network))
    policy = {name: options[name] for name in ("missing", "extra")}
    array = standard_names(_pick(open_dataset(runoff), variable, runoff), rivers, **policy)
    step = step_of(array, "time", rivers, None if dt is None else _seconds(dt))
    shown = sys.stderr.isatty() if progress is None else progress

    def finish(discharge: xr.DataArray) -> xr.Dataset:
        return cf_dataset(discharge, rivers, dt=step)

    with _workers(scheduler, workers, device) if spread else contextlib.nullcontext():
        stream = Stream.prepare(
            on_workers(array, "reach", "time") if spread else array, rivers, time_chunk=time_chunk, initial_state=initial_state,
            device=device, dtype=dtype, dt=step, time_dim="time", **options,
        )  # fmt: skip
        if to_zarr:
            try:
                end, summary = stream.to_zarr(output, resume=resume, replace=overwrite, progress=shown, finish=finish)
            except KeyboardInterrupt:
                click.echo(f"interrupted: the same command with --resume goes on with {output}", err=True)
                raise
        else:
            end, summary = stream.to_netcdf(output, finish, replace=overwrite, progress=shown)
    if save_state is not None:
        write(stream.final_state(end), save_state, overwrite=overwrite or resume)
    if resume and stream.n_steps and not summary.n_steps:
        click.echo(f"{output} holds the whole run already: nothing was routed")
    else:
        click.echo(f"wrote {output}: {summary}")


def _is_state(path: Path) -> bool:
    """Whether a file holds a state, which the end of a resumed run may replace."""
    from xroute.io.files import open_dataset

    if not path.exists():
        return False
    with contextlib.suppress(ValueError, OSError), open_dataset(path) as dataset:
        return {"outflow", "n_lags"} <= set(dataset.variables)
    return False


def _workers(scheduler: str | None, n: int | None, device: str | None) -> Any:
    from xroute.cluster import workers

    return workers(scheduler, n, gpus=device is None or device.startswith("cuda"))


def _seconds(text: str) -> float:
    """Seconds of ``3600``, ``1h``, ``15min``, ..."""
    from xroute.exceptions import TimeAxisError
    from xroute.times import seconds

    try:
        return seconds(text)
    except TimeAxisError:
        raise click.BadParameter(f"{text!r} is neither seconds nor a duration such as 3h", param_hint="--dt") from None


def _pick(dataset: xr.Dataset, variable: str | None, path: Path) -> xr.DataArray:
    """The runoff variable of a file: the one named, or called runoff, or the only one on time and reach."""
    from xroute.exceptions import XRouteError, some
    from xroute.times import with_bounds

    if variable is not None:
        if variable not in dataset.data_vars:
            raise XRouteError(f"{path} has no variable {variable!r}; it has {some(dataset.data_vars)}")
        return with_bounds(dataset, variable)
    bounds = {variable.attrs.get("bounds") for variable in dataset.variables.values()}
    candidates = [n for n, v in dataset.data_vars.items() if v.ndim > 1 and v.dtype.kind in "fiu" and n not in bounds]
    if "runoff" in candidates:
        return with_bounds(dataset, "runoff")
    if len(candidates) == 1:
        return with_bounds(dataset, candidates[0])
    what = (
        f"several variables ({some(candidates)})" if candidates else f"no variable on time and reach ({some(dataset)})"
    )
    raise XRouteError(f"{path} has {what}; name the runoff: --variable")


# ── demo ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


@main.command()
@click.argument("directory", type=READABLE, default="demo")
def demo(directory: Path) -> None:
    """Route a small river, print a table, and draw a picture into DIRECTORY."""
    from xroute.demo import run

    run(directory)
