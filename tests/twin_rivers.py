"""Twins: rivers whose parameters are known, the discharge that they give, and what gauges with noise and gaps would make of it.

What tests and `benchmarks/learning.py` share to judge `xroute.calibrate` and `xroute.ParameterModel`. Nothing here comes from
what is judged: truths are made with `xroute.route` in float64, noise and scores with numpy.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

import xroute

Float = NDArray[np.float64]
Weather = Literal["storms", "showers"]
Noise = Literal["flow", "spread"]
START = "2001-01-01"


@dataclass
class Twin:
    """A river, what is believed of it, and what its gauges say."""

    true: xr.Dataset
    wrong: xr.Dataset
    runoff: xr.DataArray
    discharge: xr.DataArray  # at the gauges, without noise, on gauge
    observed: xr.DataArray
    groups: NDArray[np.int64]  # of each reach
    train: slice
    test: slice
    options: dict[str, Any] = field(default_factory=dict)  # of routing, which calibrate is told too

    def truth_of(self, name: str) -> Float:
        """True value of each group."""
        first = np.unique(self.groups, return_index=True)[1]
        return self.true[name].values[first]

    def found_in(self, network: Any, name: str) -> Float:
        """Value of each group in a network that was calibrated; all reaches of a group must have the same."""
        values = network.dataset.sel(reach=self.true["reach"].values)[name].values
        first = np.unique(self.groups, return_index=True)[1]
        # a group has one value on all its reaches, those that no gauge sees too
        np.testing.assert_allclose(values, values[first][self.groups], rtol=1e-12)
        return values[first]


# ── rivers and weather ──────────────────────────────────────────────────────────────────────────────────────────────


def below_of(river: xr.Dataset) -> NDArray[np.int64]:
    """Position of the reach downstream, -1 for none."""
    place = {reach: at for at, reach in enumerate(river["reach"].values.tolist())}
    return np.array([place.get(reach, -1) for reach in river["downstream"].values.tolist()], np.int64)


def upstream_area(river: xr.Dataset) -> Float:
    """Area drained by each reach, with its own; for lattices, whose reaches stand in an order from the top down."""
    area = river["area"].values.astype(float).copy()
    for at, below in enumerate(below_of(river)):
        if below >= 0:
            area[below] += area[at]
    return area


def orders_of(river: xr.Dataset) -> NDArray[np.int64]:
    """Strahler order of each reach of a lattice, by its definition (Strahler 1957)."""
    n = river.sizes["reach"]
    highest, many = np.zeros(n, np.int64), np.zeros(n, np.int64)
    order = np.ones(n, np.int64)
    for at, below in enumerate(below_of(river)):
        order[at] = 1 if highest[at] == 0 else highest[at] + (many[at] > 1)
        if below >= 0:
            if order[at] > highest[below]:
                highest[below], many[below] = order[at], 1
            elif order[at] == highest[below]:
                many[below] += 1
    return order


def weather(river: xr.Dataset, kind: Weather, steps: int, dt: str, seed: int) -> xr.DataArray:
    """Runoff [m3 s-1]: of storms with their recessions, which is smooth, or showers, which are not."""
    if kind == "storms":
        return xroute.datasets.storm_runoff(river, steps, dt, start=START, seed=seed, dtype=float)
    rng = np.random.default_rng([seed, 1])
    wet = rng.random(steps)[:, None] * rng.random((steps, river.sizes["reach"]))
    coords = {"time": pd.date_range(START, periods=steps, freq=dt), "reach": river["reach"].values}
    return xr.DataArray(10 * wet**8, coords, ("time", "reach"), "runoff", {"units": "m3 s-1"})


def gauged(
    discharge: xr.DataArray, noise: float, gaps: float, seed: int, of: Noise = "flow", dtype: Any = float
) -> xr.DataArray:
    """Discharge (time, reach) as gauges would tell it, on gauge: each value off by noise of itself or of its spread; gaps NaN."""
    rng = np.random.default_rng([seed, 2])
    values = discharge.transpose("time", "reach").values.astype(float)
    scale = values if of == "flow" else values.std(axis=0)
    values = values + noise * scale * rng.standard_normal(values.shape)
    values[rng.random(values.shape) < gaps] = np.nan
    return as_gauges(discharge.transpose("time", "reach").copy(data=values.astype(dtype)))


def as_gauges(discharge: xr.DataArray) -> xr.DataArray:
    """Discharge on reach as discharge on gauges, which say what their reach is."""
    names = [f"gauge {reach}" for reach in discharge["reach"].values]
    found = discharge.rename(reach="gauge").rename("discharge")
    coords = {"gauge": names, "reach": ("gauge", discharge["reach"].values)}
    return found.drop_vars("gauge").assign_coords(coords).assign_attrs(units="m3 s-1")


def quiet_route(runoff: xr.DataArray, network: Any, **options: Any) -> xr.DataArray:
    """Route without the warning that drawn Muskingum parameters are not ideal at the step."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="at a routing step")
        return runoff.route(network, **options)


# ── twins ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def grouped_twin(
    seed: int,
    rows: int = 40,
    columns: int = 50,
    steps: int = 120 * 24,
    gauges: int | str = 12,
    noise: float = 0.1,
    gaps: float = 0.3,
    kind: Weather = "showers",
    of: Noise = "flow",
    group_of: Callable[[xr.Dataset], NDArray[np.int64]] = orders_of,
    **options: Any,
) -> Twin:
    """A lattice with one k and one x a group, gauges on reaches that others drain to, the first half to train on.

    Believed are values off by a factor of 0.3 to 3 in k, and any x.
    """
    rng = np.random.default_rng([seed, 0])
    river = xroute.datasets.scheidegger(rows, columns, seed=seed)
    groups = np.unique(group_of(river), return_inverse=True)[1]
    n = int(groups.max()) + 1
    k, x = rng.uniform(3600.0, 7200.0, n), rng.uniform(0.05, 0.4, n)
    k0, x0 = k * np.exp(rng.uniform(np.log(0.3), np.log(3.0), n)), rng.uniform(0.05, 0.45, n)
    true, wrong = (
        river.assign(k=river["k"].copy(data=a[groups]), x=river["x"].copy(data=b[groups])) for a, b in ((k, x), (k0, x0))
    )
    runoff = weather(river, kind, steps, "1h", seed)
    routed = quiet_route(runoff, true, **options)
    if gauges == "outlet":
        at = np.array([np.argmax(upstream_area(river))])
    else:
        joined = np.flatnonzero(orders_of(river) > 1)
        at = rng.choice(joined, int(gauges), replace=False)
    discharge = routed.isel(reach=at)
    train, test = halves(runoff)
    seen = gauged(discharge, noise, gaps, seed, of)
    return Twin(true, wrong, runoff, as_gauges(discharge), seen, groups, train, test, options)


def free_twin(
    seed: int,
    rows: int,
    columns: int,
    steps: int,
    dt: str = "1D",
    kind: Weather = "storms",
    **options: Any,
) -> Twin:
    """A lattice of reaches each with its own k and x, and its discharge stored on all of them in float32, as RAPID's files are.

    Believed is k off by up to two either way, and x = 0.3 everywhere.
    """
    rng = np.random.default_rng([seed, 0])
    river = xroute.datasets.scheidegger(rows, columns, seed=seed)
    n = rows * columns
    wrong = river.assign(
        k=river["k"] * np.exp(rng.uniform(-np.log(2), np.log(2), n)), x=river["x"].copy(data=np.full(n, 0.3))
    )
    wrong["k"].attrs = river["k"].attrs
    runoff = weather(river, kind, steps, dt, seed).astype(np.float32)
    discharge = quiet_route(runoff.astype(float), river, **options).astype(np.float32)
    train, test = halves(runoff)
    stored = discharge.assign_attrs(units="m3 s-1")
    return Twin(river, wrong, runoff, discharge, stored, np.arange(n), train, test, options)


def country(seed: int, rows: int, columns: int) -> xr.Dataset:
    """A lattice whose parameters follow from what its reaches are like, by one law in all countries.

    Slope [m m-1] falls with upstream area (Flint 1974) and scatters; celerity rises with both as Manning's and Leopold and
    Maddock's (1953) powers have it, and the weight with slope.
    """
    rng = np.random.default_rng([seed, 3])
    river = xroute.datasets.scheidegger(rows, columns, seed=seed)
    area = upstream_area(river)
    slope = 0.02 * (area / 25.0) ** -0.4 * np.exp(0.4 * rng.standard_normal(area.size))
    celerity = 1.2 * (slope / 0.005) ** 0.25 * (area / 500.0) ** 0.12
    weight = 0.1 + 0.25 * slope / (slope + 0.01)
    return river.assign(
        uparea=("reach", area, {"units": "km2"}),
        slope=("reach", slope, {"units": "m m-1"}),
        k=("reach", river["length"].values / celerity, river["k"].attrs),
        x=("reach", weight, river["x"].attrs),
    )


def forget(river: xr.Dataset, k: float = 9000.0, x: float = 0.35) -> xr.Dataset:
    """The same with one k and x everywhere."""
    return river.assign(k=river["k"].copy(data=np.full(river.sizes["reach"], k)), x=river["x"].copy(data=0 * river["x"] + x))


def halves(series: xr.DataArray) -> tuple[slice, slice]:
    """First and second half of the times, by label."""
    times, half = series["time"].values, series.sizes["time"] // 2
    return slice(times[0], times[half - 1]), slice(times[half], times[-1])


# ── what is judged ──────────────────────────────────────────────────────────────────────────────────────────────────


def nse_by_reach(found: xr.DataArray, truth: xr.DataArray, period: slice, dim: str = "reach") -> Float:
    """Nash and Sutcliffe's (1970) efficiency of each reach over a period, in float64."""
    a = found.sel(time=period).transpose(dim, "time").values.astype(float)
    b = truth.sel(time=period).transpose(dim, "time").values.astype(float)
    both = np.isfinite(a) & np.isfinite(b)
    n = both.sum(axis=1)
    mean = np.where(both, b, 0.0).sum(axis=1) / n
    error = np.where(both, a - b, 0.0)
    spread = np.where(both, b - mean[:, None], 0.0)
    return 1 - np.square(error).sum(axis=1) / np.square(spread).sum(axis=1)


def routed(twin: Twin, network: Any) -> xr.DataArray:
    """Discharge of a network with the twin's runoff, in float64."""
    return quiet_route(twin.runoff.astype(float), network, **twin.options)


def routed_at(twin: Twin, network: Any) -> xr.DataArray:
    """The same at the twin's gauges, on gauge."""
    return as_gauges(routed(twin, network).sel(reach=twin.observed["reach"].values))


def out_of_range(network: xroute.Network, bounds: Mapping[str, tuple[float, float]]) -> list[str]:
    """What is NaN or not within bounds, in words."""
    wrong = []
    for name, (low, high) in bounds.items():
        values = network.dataset[name].values
        bad = ~((values >= low) & (values <= high))
        if bad.any():
            wrong.append(f"{name}: {int(bad.sum())} reaches, such as {values[bad][:3]}")
    return wrong


# ── at random ───────────────────────────────────────────────────────────────────────────────────────────────────────


def random_case(seed: int) -> tuple[str, dict[str, Any], xr.Dataset, xr.Dataset, xr.DataArray, xr.DataArray]:
    """Any river, wrong start, weather, gauges and settings: in words, options of calibrate, truth, belief, runoff, observed."""
    from strategies import ID_KINDS, SCHEMES, SHAPES, make_ids, network_dataset, runoff_array, topology

    rng = np.random.default_rng([seed, 4])
    shape, kind = str(rng.choice(SHAPES)), str(rng.choice(ID_KINDS))
    drawn = topology(shape, int(rng.integers(1, 40)), rng)
    ids = make_ids(kind, drawn.n_reaches, rng)
    scheme = str(rng.choice((*SCHEMES, "mixed")))
    schemes = rng.choice(np.array(SCHEMES), drawn.n_reaches) if scheme == "mixed" else scheme
    true, other = (inside(network_dataset(drawn, ids, schemes, rng)) for _ in range(2))
    wrong = true.assign({name: other[name] for name in other.data_vars if name in parameter_names(other)})
    steps = int(rng.integers(60, 240))
    runoff = runoff_array(ids, steps, rng, dtype=str(rng.choice(("float64", "float32")))) + 0.05
    runoff.attrs["units"] = "m3 s-1"
    discharge = quiet_route(runoff.astype(float), true)
    n = int(rng.integers(1, min(6, drawn.n_reaches) + 1))
    at = rng.choice(drawn.n_reaches, n, replace=bool(rng.random() < 0.2))
    observed = gauged(discharge.isel(reach=at), *rng.choice([0.0, 0.02, 0.1, 0.3], 2), seed=seed)  # noise, gaps
    observed = observed.assign_coords(gauge=np.arange(n))

    learned = sorted(parameter_names(true))
    if rng.random() < 0.3:
        learned = learned[: int(rng.integers(1, len(learned) + 1))]
    options: dict[str, Any] = {
        "parameters": tuple(learned),
        "groups": rng.choice(np.array([None, None, "all", "strahler", "basin"], object)),
        "loss": str(rng.choice(["nse", "nse", "kge", "rmse", "log"])),
        "optimizer": rng.choice(np.array([None, "adam", "lbfgs"], object)),
        "learning_rate": rng.choice(np.array([None, None, 0.001, 0.1, 1.0, 10.0], object)),
        "epochs": int(rng.integers(2, 15)),
        "spinup": float(rng.integers(0, 20)) * 3600.0,
        "penalty": float(rng.choice([0.0, 0.0, 0.01])),
        "seed": int(rng.integers(100)),
    }
    if rng.random() < 0.3:
        options |= {"window": "24h", "carry": bool(rng.random() < 0.5)}
    if rng.random() < 0.4:
        times = runoff["time"].values
        cut = int(steps * 0.6)
        options |= {"train": slice(times[0], times[cut - 1]), "test": slice(times[cut], None)}
        if rng.random() < 0.5:
            options["patience"] = int(rng.integers(1, 5))
    told = ", ".join(f"{name}={value}" for name, value in options.items() if value is not None)
    what = f"{shape} of {drawn.n_reaches}, {kind} ids, {scheme}, {n} gauges, {steps} steps; {told}"
    return what, options, true, wrong, runoff, observed


def parameter_names(river: xr.Dataset) -> set[str]:
    """Names of the parameters of its schemes."""
    from strategies import UNITS

    return {str(name) for name in river.data_vars} & set(UNITS)


def inside(river: xr.Dataset) -> xr.Dataset:
    """The same, without parameters on a bound, from where nothing can be learned."""
    for name in {"delay"} & parameter_names(river):
        river[name] = river[name].copy(data=np.where(river[name].values == 0.0, 600.0, river[name].values))
    return river


def random_run(seed: int, device: str = "cpu") -> tuple[str, str]:
    """Calibrate at random: what was calibrated, and what is wrong with what came of it, or whether it got better."""
    from strategies import PARAMETERS

    what, options, _, wrong, runoff, observed = random_case(seed)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            result = xroute.calibrate(runoff, wrong, observed, device=device, progress=False, **options)
        except xroute.ParameterError as error:
            if "nothing can be calibrated" in str(error):  # gauges that are downstream of other schemes only
                return what, "no better, and says why"
            raise
    faults = []
    bounds = {name: p for parameters in PARAMETERS.values() for name, p in parameters.items()}
    for name in options["parameters"]:
        before, after = wrong[name].values, result.network.dataset.sel(reach=wrong["reach"].values)[name].values
        if not np.array_equal(np.isnan(before), np.isnan(after)):
            faults.append(f"{name} became NaN, or was and is not")
        there = ~np.isnan(after)
        if not bounds[name].allows(after[there]).all() or not np.isfinite(after[there]).all():
            faults.append(f"{name} left its range: {after[there].min()}, {after[there].max()}")
    loss = result.history["loss"].values
    if not np.isfinite(loss).all():
        faults.append(f"losses {loss}")
    if not np.isfinite(result.scores["nse"].values).any():
        faults.append("no score")
    if faults:
        return what, "; ".join(faults)
    why = [text for text in (result.reason, *(str(w.message) for w in told)) if "better" in text]
    if loss[-1] < loss[0]:
        return what, "better"
    return what, "no better, and says why" if why else f"loss {loss[0]} to {loss[-1]}, without a word"
