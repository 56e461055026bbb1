"""A whole run of mizuRoute, by its control file: network, runoff, state to start from, and its own discharge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from xroute.exceptions import XRouteError
from xroute.files.opening import PathLike
from xroute.io.mizuroute.control import PATTERNS, Control, as_control, is_control
from xroute.io.mizuroute.network import read_network
from xroute.io.mizuroute.restart import read_state
from xroute.io.mizuroute.series import find_history, read_discharge, read_runoff
from xroute.io.reader import NothingToRead, Product, Reader, ReaderOption, Setup
from xroute.wording import argument

__all__ = ["READER", "find_files", "read_setup"]

ROLES = {
    "network": ("fname_ntopOld", "ancil_dir"), "weights": ("fname_remap", "ancil_dir"), "parameters": ("param_nml", "ancil_dir"),
}  # fmt: skip


def find_files(source: PathLike | Control) -> dict[str, Any]:
    """Find the files of a run, by its control file.

    Parameters
    ----------
    source
        The control file, or the folder that holds it, itself or in ``settings``.

    Returns
    -------
    dict
        ``control``, ``network``, ``weights``, ``parameters`` (paths), ``runoff`` and ``discharge`` (lists of paths), as far
        as they are named and there.

    Raises
    ------
    XRouteError
        If a folder holds several control files.
    FileNotFoundError
        If it holds none.

    Examples
    --------
    >>> import tempfile
    >>> from xroute.datasets import mizuroute_folder
    >>> from xroute.io import mizuroute
    >>> folder = mizuroute_folder(f"{tempfile.mkdtemp()}/mizuroute", days=1)
    >>> mizuroute.find_files(folder)["network"].name
    'ntopo_tutorial.nc'
    """
    control = as_control(source)
    found: dict[str, Any] = {"control": control.path}
    for role, (tag, folder) in ROLES.items():
        if control.values.get(tag) and (role != "weights" or control.flag("is_remap")):
            try:
                found[role] = control.file(tag, folder)
            except FileNotFoundError:
                continue
    try:
        found["runoff"] = control.files("fname_qsim", "input_dir") if control.values.get("fname_qsim") else []
    except FileNotFoundError:
        found["runoff"] = []
    found["discharge"] = find_history(control)
    return {role: files for role, files in found.items() if files}


def read_setup(
    source: PathLike | Control, wanted: Sequence[Product] = ("network", "runoff"), *, parameters: PathLike | None = None,
    runoff_file: Sequence[PathLike] = (), state_file: PathLike | None = None, discharge_file: Sequence[PathLike] = (),
    variable: str | None = None,
) -> Setup:  # fmt: skip
    """Read a run of mizuRoute.

    Parameters
    ----------
    source
        The control file, the folder that holds it, or the netCDF file of the network.
    wanted
        What to read, of ``"network"``, ``"runoff"``, ``"state"`` and ``"discharge"``.
    parameters, runoff_file, state_file, discharge_file
        Files in place of those that the control file names.
    variable
        Discharge's variable, as for `read_discharge`.

    Returns
    -------
    Setup

    Raises
    ------
    XRouteError
        As the readers do.

    Examples
    --------
    >>> import tempfile
    >>> from xroute.datasets import mizuroute_folder
    >>> from xroute.io import mizuroute
    >>> folder = mizuroute_folder(f"{tempfile.mkdtemp()}/mizuroute", days=1)
    >>> setup = mizuroute.read_setup(folder, ["network", "runoff", "discharge"])
    >>> discharge = setup.runoff["runoff"].route(setup.network)
    >>> bool(abs(discharge - setup.discharge["discharge"]).max() < 1e-6 * discharge.max())
    True
    """
    control = as_control(source) if isinstance(source, Control) or Path(source).is_dir() or is_control(source) else None
    if control is None and "runoff" in wanted:
        raise NothingToRead(f"runoff needs the control file, which says how it comes to the segments: {source} is none")
    if control is None and ("state" in wanted and state_file is None or "discharge" in wanted and not discharge_file):
        raise NothingToRead(
            f"states and discharge need the control file, or their own ({argument('state_file')}, {argument('discharge_file')})"
        )
    network = read_network(source if control is None else control, parameters)
    runoff = read_runoff(control, network, files=list(runoff_file) or None) if "runoff" in wanted else None
    begin = read_state(state_file or control, network) if "state" in wanted else None
    theirs = None
    if "discharge" in wanted:
        theirs = read_discharge(list(discharge_file) or control, network, variable=variable).to_dataset()
    return Setup(network, None if runoff is None else runoff.to_dataset(), begin, theirs)


def _read(
    sources: Sequence[Path], wanted: Sequence[Product], /, *, parameters: Path | None, runoff_file: Sequence[Path],
    state_file: Path | None, discharge_file: Sequence[Path], variable: str | None,
) -> Setup:  # fmt: skip
    if len(sources) > 1:
        raise XRouteError(f"mizuRoute is read one run at a time, and {len(sources)} sources are given")
    return read_setup(
        sources[0], wanted, parameters=parameters, runoff_file=runoff_file, state_file=state_file, discharge_file=discharge_file,
        variable=variable,
    )  # fmt: skip


def _find(folder: Path, options: Mapping[str, Any]) -> dict[str, Any]:
    return find_files(folder)


READER = Reader(
    "Convert mizuRoute: a control file, the folder that holds it, or the netCDF file of a network.",
    read=_read,
    find=_find,
    patterns=(*PATTERNS, "*.nml*"),
    products=("network", "runoff", "state", "discharge"),
    options=(
        ReaderOption("parameters", "Namelist (param.nml), when the control file does not name it.", "file"),
        ReaderOption("runoff_file", "Runoff files, in place of <fname_qsim>.", "file", several=True),
        ReaderOption("state_file", "Restart file, in place of <fname_state_in>.", "file"),
        ReaderOption("discharge_file", "History files, in place of those in <output_dir>.", "file", several=True),
        ReaderOption("variable", "Discharge's variable.  [default: IRFroutedRunoff, or the first there is]"),
    ),
    reads_beside=lambda options: True,
)
