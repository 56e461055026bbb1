"""mizuRoute's restart files: what is still to leave hillslopes and segments, step by step, and our states, past inflows.

A queue of future flows follows from past inflows and the hydrograph; the other way round, past inflows are found that leave the
same queue behind, by least squares: only what will flow counts. They need not be those that were.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.block_state import CHANNEL, HILLSLOPE, stored_name
from xroute.exceptions import AlignmentError, StateError, XRouteError, some
from xroute.files.opening import open_netcdf
from xroute.hillslope import hillslope_of
from xroute.ids import positions_of, repeated, within
from xroute.io.common import file_ids
from xroute.io.mizuroute.clock import repaired_units
from xroute.io.mizuroute.control import Control, as_control, is_control
from xroute.io.mizuroute.network import INSTANT
from xroute.network import Network
from xroute.network_files import as_network
from xroute.parameters import parameters_of, read_scheme
from xroute.recipe import resolve_settings, resolve_step
from xroute.schemes import HILLSLOPES, Filter, all_reaches, make_filter
from xroute.schemes.mizuroute import MIZUROUTE_IRF
from xroute.spinup import initial_state
from xroute.stamps import decode_numbers, show

__all__ = ["MISSING", "QUEUES", "is_instant", "queues_of", "read_state", "stage_filters"]

QUEUES = {CHANNEL: ("irf_qfuture", "tdh_irf"), HILLSLOPE: ("qfuture", "tdh")}
"""Variable and dimension of the future flows of segments and hillslopes."""
MISSING = -9999.0
CLOSE = 1e-9
"""How far a queue that is found again may be from that of the file, in parts of its largest flow."""
BLOCK = 2**22
"""Entries of matrices that are solved at a time."""
SMALL = 1e-13
"""Singular values below this part of the largest carry nothing but rounding."""


def read_state(source: Any, network: Any, *, dt: Any = None) -> xr.Dataset:
    """Read a restart file (``*.r.*.nc``) of the impulse response function, as a state for ``initial_state=``.

    Parameters
    ----------
    source
        The file; or the control file, whose ``<fname_state_in>`` is read.
    network
        Network of `read_network`, whose reaches and order the state takes, by id.
    dt
        Simulation step [s], by default the network's ``routing_step``.

    Returns
    -------
    xarray.Dataset
        State of a run with the network's own recipe, on steps of runoff of the simulation step. Its ``inflow`` is such that
        what will flow is what the file has (``irf_qfuture``, ``qfuture``).

    Raises
    ------
    StateError
        Queues that the network's hydrographs do not leave behind: of other parameters, or of another step.
    AlignmentError
        Reaches of the network that are not in the file.
    XRouteError
        No restart file of IRF.

    Examples
    --------
    >>> import tempfile
    >>> from xroute.datasets import mizuroute_folder
    >>> from xroute.io import mizuroute
    >>> folder = mizuroute_folder(f"{tempfile.mkdtemp()}/mizuroute", days=1)
    >>> setup = mizuroute.read_setup(folder)
    >>> _, state = setup.runoff["runoff"].route(setup.network, return_state=True)
    >>> mizuroute.write_state(state, folder / "tutorial.r.2024-05-02-00000.nc", setup.network)
    >>> mizuroute.read_state(folder / "tutorial.r.2024-05-02-00000.nc", setup.network).attrs["time"]
    '2024-05-02T00:00:00'
    """
    file = _file(source)
    rivers = as_network(network)
    step = resolve_step(rivers, rivers.attrs.get("routing_step") if dt is None else dt)
    with open_netcdf(file, raw=True) as raw:
        raw.load()
    if "irf_qfuture" not in raw or "reachID" not in raw:
        raise XRouteError(f"{file} is no restart of IRF: it has no irf_qfuture and reachID, but {some(raw.variables)}")
    ids = file_ids(raw["reachID"], file)
    twice, lacking = repeated(ids), rivers.ids[~within(rivers.ids, ids)]
    if twice.size:
        raise AlignmentError(f"{twice.size} segments stand more than once in {file}: {some(twice)}")
    if lacking.size:
        raise AlignmentError(f"{lacking.size} of the network's {rivers.n_reaches} reaches are not in {file}: {some(lacking)}")
    at = positions_of(rivers.ids, ids)
    zero = xr.DataArray(np.zeros(rivers.n_reaches), {"reach": rivers.ids}, ("reach",), attrs={"units": "m3 s-1"})
    state = initial_state(rivers, zero, dt=step)
    stages, held = filters_of(rivers, step), {}
    for stage in stages:
        name, dim = QUEUES[stage]
        if name not in raw:
            if stage == HILLSLOPE and is_instant(rivers):  # its runoff is not held back
                held[stage] = np.zeros((rivers.n_reaches, 1))
                continue
            raise XRouteError(f"{file} has no {name}, and hillslopes are routed: it is of a run with <doesBasinRoute> 0")
        held[stage] = _plain(raw[name], file, dim).astype(np.float64)[at]
    slope, waves = _split(rivers, step) if HILLSLOPE in stages else (None, {})
    for stage, past in _pasts(held, stages, slope, waves, rivers.ids, file).items():
        inflow = stored_name(stage, "inflow")
        if inflow in state:
            state[inflow] = state[inflow].copy(data=past[:, : state[inflow].shape[1]])
    if HILLSLOPE in stages and "basin_q" in raw:
        outflow = stored_name(HILLSLOPE, "outflow")
        state[outflow] = state[outflow].copy(data=_plain(raw["basin_q"], file).astype(np.float64)[at])
    if "restart_time" in raw:
        attrs = repaired_units(dict(raw["restart_time"].attrs), Control())
        date = decode_numbers(raw["restart_time"].values.reshape(1), attrs.get("units"), attrs.get("calendar"))
        if date.dtype.kind in "MO":
            state.attrs["time"] = show(date[0])
    return state


def _plain(variable: xr.DataArray, file: Path, *last: str) -> NDArray[Any]:
    """Values [segment] or [segment, step]; older versions have a dimension of one member beside."""
    others = [d for d in variable.dims if d not in (*last, "seg")]
    if any(variable.sizes[d] != 1 for d in others) or not {"seg", *last} <= set(variable.dims):
        raise StateError(f"{variable.name} of {file} is on {some(variable.dims)}, not on {some(('seg', *last))}")
    return variable.squeeze(others).transpose("seg", *last).values


def _file(source: Any) -> Path:
    """The restart file, or the one that a control file names."""
    if isinstance(source, Control) or is_control(source):
        control = as_control(source)
        name = (control.values.get("fname_state_in") or "coldstart").lower()
        if name in ("coldstart", "none", "empty"):
            raise FileNotFoundError(f"{control.path} has a cold start (<fname_state_in>): there is no restart file to read")
        folder = "restart_dir" if "restart_dir" in control else "output_dir"
        return control.file("fname_state_in", folder)
    return Path(source)


def filters_of(network: Network, step: float) -> dict[str, Filter]:
    """Filters of a network's stages by its own recipe, for one routing step in a step of runoff [s]."""
    parameters = parameters_of(network, None)
    settings = resolve_settings(network, parameters.values, step, log=False)
    if settings.substeps != 1:
        raise StateError(f"a restart is of steps of {step / settings.substeps:g} s, by the network, not of {step:g} s")
    found = {CHANNEL: parameters.filter(step, settings.lateral)}
    slopes = hillslope_of(network, None, step)
    return found if slopes is None else {**found, HILLSLOPE: slopes.filter}


def stage_filters(network: Network, step: float) -> dict[str, Filter]:
    """As `filters_of`, for what writes: refuses networks that are not routed as mizuRoute does."""
    if network.attrs.get("lateral") != "outlet":
        raise StateError(
            "a restart of mizuRoute is of runoff that joins at the lower end of segments, and the network's attribute 'lateral' "
            f"is {network.attrs.get('lateral')!r}, not 'outlet'"
        )
    return filters_of(network, step)


def queues_of(
    past: Mapping[str, NDArray[np.float64]], stages: Mapping[str, Filter], network: Network, step: float
) -> dict[str, tuple[NDArray[np.float64], NDArray[np.int64]]]:
    """Future flows [reach, step] of each stage's past inflows [reach, lag], most recent first; and how many steps each has."""
    slope, waves = _split(network, step) if HILLSLOPE in stages else (None, {})
    found = {}
    for stage, filter in stages.items():
        count = filter.n_taps if stage == CHANNEL or slope is None else np.full(network.n_reaches, slope.size)
        queue = np.zeros((count.size, int(count.max(initial=1))))
        for at, taps in _by_length(filter) if stage == CHANNEL or slope is None else [(np.arange(count.size), slope[None])]:
            for j in range(taps.shape[1] - 1):
                own = past[stage][at, : taps.shape[1] - 1 - j]
                queue[at, j] = (taps[:, j + 1 :] * own).sum(axis=1)
        found[stage] = queue, count.copy()
    for i, wave in waves.items():  # what is on its way along a headwater: the hillslope's outflow of each step before
        assert slope is not None
        queue, count = found[CHANNEL]
        before = np.array([slope @ past[HILLSLOPE][i, k : k + slope.size] for k in range(wave.size - 1)])
        queue[i] = 0.0
        queue[i, : wave.size] = _left(wave, before)
    return found


def is_instant(network: Network) -> bool:
    """Whether hillslopes hold nothing back, and stand for nothing but headwaters that route their own runoff."""
    return "headwater_length" in network.dataset and bool((network.dataset["tscale"].values <= INSTANT).all())


def _by_length(filter: Filter) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """Reaches with hydrographs of one length, by their positions, and their taps [reach, step]."""
    taps, pointer, _, _ = filter.arrays()
    n_taps = np.diff(pointer)
    for n in np.unique(n_taps):
        at = np.flatnonzero(n_taps == n)
        yield at, taps[pointer[at][:, None] + np.arange(n)]


def _rows(filter: Filter) -> list[NDArray[np.float64]]:
    """Taps of each reach."""
    taps, pointer, _, _ = filter.arrays()
    return np.split(taps, pointer[1:-1])


def _left(taps: NDArray[np.float64], past: NDArray[np.float64]) -> NDArray[np.float64]:
    """What will flow [step] of past inflows [lag], most recent first, through taps [step]."""
    n = taps.size
    return np.array([taps[j + 1 :] @ past[: n - 1 - j] for j in range(n)])


def _split(network: Network, step: float) -> tuple[NDArray[np.float64], dict[int, NDArray[np.float64]]]:
    """Ordinates of the hillslope alone, and those of headwaters that route their own runoff, by their positions."""
    data, form = network.dataset, HILLSLOPES["gamma-mizuroute"][0]
    values = read_scheme(network, form, all_reaches(network.n_reaches))
    first = {name: np.asarray(v)[:1] for name, v in values.items()}
    slope = _rows(make_filter({form.name: (np.arange(1), first)}, step, 1, find=lambda _: form))[0]
    if "headwater_length" not in data:
        return slope, {}
    at = np.flatnonzero(data["headwater_length"].values > 0)
    wave = {n: np.broadcast_to(data[n].values, network.n_reaches)[at].astype(float) for n in ("celerity", "diffusivity")}
    wave["length"] = data["headwater_length"].values[at].astype(float)
    filter = make_filter({MIZUROUTE_IRF.name: (np.arange(at.size), wave)}, step, at.size)
    return slope, dict(zip(at.tolist(), _rows(filter), strict=True))


def _left_of(taps: NDArray[np.float64], n_past: int) -> NDArray[np.float64]:
    """Matrices [..., step, lag] of what will flow of each past inflow, of taps [..., step]: `_left` is the product with these."""
    n = taps.shape[-1]
    at = np.add.outer(np.arange(n - 1), np.arange(n_past)) + 1
    return np.where(at < n, taps[..., np.minimum(at, n - 1)], 0.0)


def _past_of_headwater(
    slope: NDArray[np.float64], wave: NDArray[np.float64], on_slope: NDArray[np.float64], on_way: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    """Past runoff [lag] that leaves both queues of a headwater behind, and how far it is from them at most.

    What is on its way left the hillslope in the steps before, each of which is a sum of what fell before.
    """
    n = slope.size + wave.size - 2
    left_slope = np.zeros((wave.size - 1, n))
    for k in range(wave.size - 1):
        left_slope[k, k : k + slope.size] = slope
    matrix = np.concatenate([_left_of(slope, n), _left_of(wave, wave.size - 1) @ left_slope])
    wanted = np.concatenate([on_slope[: slope.size - 1], on_way[: wave.size - 1]])
    if not n:
        return np.zeros(0), 0.0
    found = np.linalg.lstsq(matrix, wanted, rcond=SMALL)[0]
    beyond = max(np.abs(on_slope[slope.size - 1 :]).max(initial=0.0), np.abs(on_way[wave.size - 1 :]).max(initial=0.0))
    return found, max(float(np.abs(matrix @ found - wanted).max()), float(beyond))


def _pasts(
    queues: Mapping[str, NDArray[np.float64]], stages: Mapping[str, Filter], slope: NDArray[np.float64] | None,
    waves: Mapping[int, NDArray[np.float64]], ids: NDArray[Any], file: Path,
) -> dict[str, NDArray[np.float64]]:  # fmt: skip
    """Past inflows [reach, lag] of each stage."""
    held = {stage: np.where(queue == MISSING, 0.0, queue) for stage, queue in queues.items()}
    for stage, queue in held.items():
        bad = ~np.isfinite(queue).all(axis=1)
        if bad.any():
            raise StateError(f"{QUEUES[stage][0]} of {file} is not finite on {int(bad.sum())} reaches: {some(ids[bad])}")
    tops = np.array(sorted(waves), np.int64)
    found, far = {}, {}
    for stage, queue in held.items():
        own = queue.copy()
        own[tops] = 0.0
        found[stage], far[stage] = _past_inflows(own, stages[stage])
    for i, wave in waves.items():
        assert slope is not None
        past, off = _past_of_headwater(slope, wave, held[HILLSLOPE][i], held[CHANNEL][i])
        found[HILLSLOPE][i, : past.size] = past
        far[HILLSLOPE][i] = off
    for stage, queue in held.items():
        largest = np.fmax(np.abs(queue).max(axis=1, initial=0.0), np.abs(held[CHANNEL]).max(axis=1, initial=0.0) * bool(waves))
        wrong = far[stage] > CLOSE * largest
        if wrong.any():
            raise StateError(
                f"{QUEUES[stage][0]} of {file} is not what hydrographs of this network leave behind, on {int(wrong.sum())} "
                f"reaches: {some(ids[wrong])}. It is of other parameters (length, velo, diff, fshape, tscale), another step, or "
                "another network"
            )
    return found


def _past_inflows(queue: NDArray[np.float64], filter: Filter) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Past inflows [reach, lag] that leave queues [reach, step] behind, and how far these are from them at most [reach]."""
    n_taps = filter.n_taps
    past = np.zeros((n_taps.size, max(int(n_taps.max(initial=1)) - 1, 0)))
    far = np.zeros(n_taps.size)
    for every, own in _by_length(filter):
        n = own.shape[1]
        far[every] = np.abs(queue[every, n - 1 :]).max(axis=1, initial=0.0)
        size = max(BLOCK // (n * n), 1)
        for k in range(0, every.size if n > 1 else 0, size):
            at = every[k : k + size]
            wanted = np.zeros((at.size, n - 1))
            wanted[:, : queue.shape[1]] = queue[at, : n - 1]
            kinds, kind = np.unique(own[k : k + size], axis=0, return_inverse=True)
            left = _left_of(kinds, n - 1)
            u, value, v = np.linalg.svd(left)
            over = np.divide(1.0, value, out=np.zeros_like(value), where=value > SMALL * value[:, :1])
            kind = kind.reshape(-1)
            found = np.einsum("rij,ri->rj", v[kind], np.einsum("rij,ri->rj", u[kind], wanted) * over[kind])
            past[at, : n - 1] = found
            far[at] = np.fmax(far[at], np.abs(np.einsum("rij,rj->ri", left[kind], found) - wanted).max(axis=1))
    return past, far
