"""Hypothesis strategies: river networks of every shape and id type, parameters for every scheme, runoff in any layout.

Networks come as the Dataset of the data model, reaches in random order. `topology` and `network_dataset` are plain
functions that make one of a chosen shape, for tests that want a large one or a fixed one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from hypothesis import strategies as st

import xroute

SHAPES = ("tree", "forest", "bifurcating", "single", "edgeless")
ID_KINDS = ("small", "beyond_2_31", "beyond_2_53", "negative", "string")
SCHEMES = tuple(name for name, scheme in xroute.schemes.SCHEMES.items() if scheme.discretises is None)
"""The built-in schemes, but those that have another model's ordinates and have tests of their own."""
PARAMETERS = {name: {p.name: p for p in scheme.parameters} for name, scheme in xroute.schemes.SCHEMES.items()}
"""What a scheme says of its parameters, by name."""
USUAL = {scheme: {name: p.usual for name, p in parameters.items()} for scheme, parameters in PARAMETERS.items()}
"""Ranges to draw parameters from."""
UNITS = {name: p.units for parameters in PARAMETERS.values() for name, p in parameters.items()}
INTERVAL = tuple(name for name, scheme in xroute.schemes.SCHEMES.items() if not scheme.windowed)
"""Those of taps and a pole, where runoff can join over the interval."""
DT = 3600.0
"""The runoff step of the drawn cases, in seconds."""


@dataclass(frozen=True)
class Topology:
    """Links between positions: the plain truth that a network Dataset is made from."""

    n_reaches: int
    upstream: np.ndarray
    downstream: np.ndarray
    fraction: np.ndarray
    shape: str

    @property
    def links(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Upstream positions, downstream positions, fractions."""
        return self.upstream, self.downstream, self.fraction


def topology(shape: str, n_reaches: int, rng: np.random.Generator) -> Topology:
    """One network of a shape, positions in random order.

    In the order before the permutation each reach drains to later ones, so there is no cycle.
    """
    if shape == "single":
        n_reaches = 1
    n = n_reaches
    upstream: list[int] = []
    downstream: list[int] = []
    fraction: list[float] = []
    for i in range(n - 1):
        if shape in ("edgeless", "single") or (shape == "forest" and rng.random() < 0.3):
            continue
        n_links = int(rng.integers(0, 4)) if shape == "bifurcating" else 1
        reach_of_link = min(n - 1 - i, max(4, n // 4))  # near ones, so that chains are long
        targets = rng.choice(np.arange(i + 1, i + 1 + reach_of_link), size=min(n_links, reach_of_link), replace=False)
        shares = rng.dirichlet(np.ones(targets.size + 1)) if targets.size else np.zeros(1)
        if rng.random() < 0.5 and targets.size:  # nothing leaves the network here
            shares = shares[:-1] / shares[:-1].sum()
        for target, share in zip(targets, shares[: targets.size] if shape == "bifurcating" else [1.0], strict=True):
            upstream.append(i)
            downstream.append(int(target))
            fraction.append(float(share))
    place = rng.permutation(n)
    shuffle = rng.permutation(len(upstream))
    return Topology(
        n,
        place[np.array(upstream, np.int64)][shuffle],
        place[np.array(downstream, np.int64)][shuffle],
        np.array(fraction, np.float64)[shuffle],
        shape,
    )


def make_ids(kind: str, n: int, rng: np.random.Generator) -> np.ndarray:
    """Unique ids of a kind, in random order; neighbours among the large ones differ by 1."""
    number = rng.permutation(n).astype(np.int64)
    if kind == "small":
        return number + 1
    if kind == "beyond_2_31":
        return number + 2**31 - 2
    if kind == "beyond_2_53":
        return number + 2**62 + 1
    if kind == "negative":
        return number - n  # -n ... -1: an outlet needs a marker that is not among them
    return np.array([f"reach-{i}é" for i in number])


def outlet_marker(ids: np.ndarray) -> int | str:
    """An outlet marker that the data model knows by itself, and that is no id."""
    return "" if ids.dtype.kind == "U" else (0 if 0 not in ids else -1)


def network_dataset(
    topology: Topology,
    ids: np.ndarray,
    schemes: str | np.ndarray,
    rng: np.random.Generator,
    *,
    force_links: bool = False,
) -> xr.Dataset:
    """The Dataset of a network, with parameters drawn for its scheme, or for the scheme of each reach."""
    n = topology.n_reaches
    dataset = xr.Dataset(coords={"reach": ("reach", ids, {"cf_role": "timeseries_id"})})
    if topology.shape == "bifurcating" or force_links:
        dataset["upstream_reach"] = ("link", ids[topology.upstream])
        dataset["downstream_reach"] = ("link", ids[topology.downstream])
        dataset["fraction"] = ("link", topology.fraction)
    else:
        downstream = np.full(n, outlet_marker(ids), dtype=ids.dtype)
        downstream[topology.upstream] = ids[topology.downstream]
        dataset["downstream"] = ("reach", downstream)
    if isinstance(schemes, str):
        dataset.attrs["scheme"] = schemes
        scheme_of_reach = np.array([schemes] * n)
    else:
        scheme_of_reach = schemes
        dataset["scheme"] = ("reach", schemes)
    for scheme in np.unique(scheme_of_reach):
        here = scheme_of_reach == scheme
        for name, values in draw_parameters(str(scheme), n, rng).items():
            if name not in dataset:
                dataset[name] = ("reach", np.full(n, np.nan), {"units": UNITS[name]})
            dataset[name].values[here] = values[here]
    return dataset


def draw_parameters(scheme: str, n: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Usual values, from much faster than a step to much slower; times that may be zero are whole steps on some reaches."""
    found = {}
    for name, parameter in PARAMETERS[scheme].items():
        low, high = parameter.usual
        values = np.exp(rng.uniform(np.log(low), np.log(high), n)) if low > 0.0 else rng.uniform(low, high, n)
        if parameter.units == "s" and parameter.allows(0.0):
            values = np.where(rng.random(n) < 0.3, DT * np.round(values / DT), values)
        found[name] = values
    return found


def runoff_array(
    ids: np.ndarray,
    n_time: int,
    rng: np.random.Generator,
    *,
    batch: dict[str, int] | None = None,
    dtype: str = "float64",
    dt: float = DT,
    units: str | None = "m3 s-1",
) -> xr.DataArray:
    """Bursts of runoff on (batch..., reach, time), in that order."""
    shape = (*(batch or {}).values(), ids.size, n_time)
    values = rng.gamma(0.5, 2.0, shape) * (rng.random(shape) < 0.7)
    time = pd.Timestamp("2001-02-27") + pd.to_timedelta(np.arange(n_time) * dt, unit="s")
    coords = {name: np.arange(size) + 1 for name, size in (batch or {}).items()}
    return xr.DataArray(
        values.astype(dtype),
        dims=(*(batch or {}), "reach", "time"),
        coords={**coords, "reach": ids, "time": time},
        name="runoff",
        attrs={} if units is None else {"units": units},
    )


rngs = st.integers(0, 2**32 - 1).map(np.random.default_rng)


@st.composite
def topologies(draw, max_size: int = 12, shapes: tuple[str, ...] = SHAPES) -> Topology:
    """Networks as links between positions."""
    return topology(draw(st.sampled_from(shapes)), draw(st.integers(1, max_size)), draw(rngs))


@st.composite
def networks(
    draw,
    scheme: str | None = None,
    *,
    max_size: int = 12,
    shapes: tuple[str, ...] = SHAPES,
    id_kinds: tuple[str, ...] = ID_KINDS,
) -> tuple[xr.Dataset, Topology]:
    """A network Dataset and its topology; ``scheme="mixed"`` draws one for each reach, None any of them for all."""
    drawn = draw(topologies(max_size=max_size, shapes=shapes))
    rng = draw(rngs)
    ids = make_ids(draw(st.sampled_from(id_kinds)), drawn.n_reaches, rng)
    if scheme is None:
        scheme = draw(st.sampled_from((*SCHEMES, "mixed")))
    schemes = rng.choice(np.array(SCHEMES), drawn.n_reaches) if scheme == "mixed" else scheme
    return network_dataset(drawn, ids, schemes, rng), drawn


@st.composite
def runoffs(
    draw,
    ids: np.ndarray,
    *,
    min_time: int = 1,
    max_time: int = 20,
    dtype: str = "float64",
    shuffled: bool = True,
) -> xr.DataArray:
    """Runoff for the ids, with up to two batch dims, dims in any order, and reaches in an order of their own."""
    rng = draw(rngs)
    batch = draw(st.sampled_from([{}, {"member": 1}, {"member": 3}, {"model": 2, "member": 2}]))
    runoff = runoff_array(ids, draw(st.integers(min_time, max_time)), rng, batch=batch, dtype=dtype)
    if not shuffled:
        return runoff
    runoff = runoff.isel(reach=rng.permutation(ids.size))
    return runoff.transpose(*draw(st.permutations(runoff.dims)))


def small_network(downstream: dict, scheme: str | list[str] = "linear_storage", **parameters) -> xr.Dataset:
    """A network from ``{id: downstream id}``; parameters are numbers, lists or ``(values, units)``."""
    ids = np.array(list(downstream))
    dataset = xr.Dataset(
        {"downstream": ("reach", np.array(list(downstream.values())))},
        coords={"reach": ("reach", ids, {"cf_role": "timeseries_id"})},
    )
    if isinstance(scheme, str):
        dataset.attrs["scheme"] = scheme
    else:
        dataset["scheme"] = ("reach", scheme)
    if scheme == "linear_storage" and not parameters:
        parameters = {"tau": (7200.0, "s")}
    for name, given in parameters.items():
        values, units = given if isinstance(given, tuple) else (given, None)
        attrs = {} if units is None else {"units": units}
        dataset[name] = ("reach", np.broadcast_to(np.asarray(values), ids.shape).copy(), attrs)
    return dataset


def chain(n_reaches: int, scheme: str = "linear_storage", **parameters) -> xr.Dataset:
    """Reaches 1 to n_reaches in a row, the last one the outlet."""
    downstream = {i: i + 1 if i < n_reaches else 0 for i in range(1, n_reaches + 1)}
    return small_network(downstream, scheme, **parameters)


def impulse(ids: np.ndarray, at: object, n_time: int, dt: float = DT) -> xr.DataArray:
    """Runoff of 1 m3/s into one reach in the first step."""
    runoff = runoff_array(np.asarray(ids), n_time, np.random.default_rng(0), dt=dt) * 0.0
    runoff.attrs["units"] = "m3 s-1"
    runoff.loc[{"reach": at, "time": runoff.time[0]}] = 1.0
    return runoff
