"""mizuRoute's linear routing once more, in plain Python and double precision: the truth of the tests of its files.

Written from what ESCOMP/mizuRoute's source does (version 3: process_param, basinUH, irf_route, process_remap, get_basin_runoff),
one reach and one step after another, in its order: runoff of model units to HRUs, HRUs to reaches, the queue of the
hillslope, then from the headwaters down the queue of each reach, to whose outflow the lateral flow is added. It shares
nothing with what it judges but numpy, and scipy's incomplete gamma function.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from scipy.special import gammainc

MISSING = -9999.0


def reach_hydrograph(length: float, dt: float, velo: float, diff: float) -> list[float]:
    """Ordinates of a reach by simulation steps: hour by hour, as the loops of `make_uh` go."""
    n_sub = math.ceil(dt / 3600.0)
    hours = 240
    response = [0.0] * (hours + 1)  # counted from 1, as there
    for hour in range(1, hours + 1):
        seconds = 3600.0 * hour
        exponent = (velo * seconds - length) ** 2 / (4.0 * diff * seconds)
        if exponent <= 69.0:
            response[hour] = length / (2.0 * math.sqrt(3.14159265359 * diff * seconds)) * math.exp(-exponent)
    total = sum(response)
    if total == 0.0:
        raise ZeroDivisionError("no hour in which the wave passes")
    response = [value / total for value in response]
    passed, end = 0.0, hours
    for hour in range(1, hours + 1):
        passed += response[hour]
        end = hour
        if passed > 0.99999:
            break
    passed, start = 0.0, 1
    for hour in range(hours, 0, -1):
        passed += response[hour]
        start = hour
        if passed > 0.99999:
            break
    spread = [0.0] * (hours + 1)
    for hour in range(1, hours + 1):
        for of in range(start, end + 1):
            if hour - of <= 0:
                break
            if hour - of <= n_sub:
                spread[hour] += response[of] / n_sub
    total = sum(spread)
    spread = [value / total for value in spread]
    passed, end = 0.0, hours
    for hour in range(1, hours + 1):
        passed += spread[hour]
        end = hour
        if passed > 0.9999:
            break
    steps = [0.0] * ((end + n_sub - 1) // n_sub)
    for hour in range(1, end + 1):
        steps[(hour + n_sub - 1) // n_sub - 1] += spread[hour] / passed
    return steps


def basin_hydrograph(dt: float, fshape: float, tscale: float) -> list[float]:
    """Fractions of the gamma distribution by simulation steps, as many as `basinUH` finds by halving."""
    if gammainc(fshape, dt / tscale) > 0.999:
        tried = 1.999
    else:
        low, high = 1.0, 1000.0
        tried = 0.5 * (low + high)
        for _ in range(100):
            passed = gammainc(fshape, dt * tried / tscale)
            low = tried if passed < 0.99 else low
            high = tried if passed > 0.999 else high
            if 0.99 < passed < 0.999:
                break
            tried = 0.5 * (low + high)
        else:
            raise ValueError("no number of bins")
    edges = [0.0] + [gammainc(fshape, (k + 1) * dt / tscale) for k in range(math.ceil(tried))]
    fractions = [max(0.0, b - a) for a, b in zip(edges, edges[1:], strict=False)]
    return [f / sum(fractions) for f in fractions]


@dataclass
class River:
    """Reaches by id: what is downstream of each, its length [m], and its HRUs with their areas [m2]."""

    downstream: dict[int, int]
    length: dict[int, float]
    hrus: dict[int, list[tuple[int, float]]]
    velo: float = 1.5
    diff: float = 5000.0
    fshape: float = 2.5
    tscale: float = 86400.0
    does_basin_route: bool = True
    top_of_headwaters: bool = False
    min_length: float = 0.0
    limited: bool = False
    """Whether a reach gives no more than 0.999 of what it holds in a step, as newer versions see to."""

    def order(self) -> list[int]:
        left, done = list(self.downstream), []
        while left:
            ready = [r for r in left if all(u in done for u in self.upstream(r))]
            done += ready
            left = [r for r in left if r not in ready]
        return done

    def upstream(self, reach: int) -> list[int]:
        return [u for u, down in self.downstream.items() if down == reach]

    def wet(self, reach: int) -> bool:
        return bool(sum(a for _, a in self.hrus.get(reach, []))) or any(self.wet(u) for u in self.upstream(reach))


@dataclass
class Queues:
    """What there is after a step: future flows of hillslopes and reaches, as restart files have them."""

    basin: dict[int, list[float]] = field(default_factory=dict)
    reach: dict[int, list[float]] = field(default_factory=dict)
    volume: dict[int, float] = field(default_factory=dict)
    basin_q: dict[int, float] = field(default_factory=dict)


def reach_runoff(river: River, depth: dict[int, float], factor: float) -> dict[int, float]:
    """Lateral flow [m3/s] of runoff depths by HRU: their mean, weighted by area, times all area; none is below zero."""
    flow = {}
    for reach in river.downstream:
        own = river.hrus.get(reach, [])
        area = sum(a for _, a in own)
        mean = sum(a / area * max(depth.get(h, 0.0), 0.0) * factor for h, a in own) if area else 0.0
        flow[reach] = max(mean, 0.0) * area
    return flow


def mapped(
    overlaps: dict[int, list[tuple[object, float]]], values: dict[object, float]
) -> dict[int, float]:
    """Weighted means of the model units of each HRU; those below -1e-6 do not count, and the others take their place."""
    found = {}
    for hru, parts in overlaps.items():
        total = share = 0.0
        for unit, weight in parts:
            if unit in values and values[unit] > -1e-6:
                share += weight
                total += weight * values[unit]
        if share > 1e-6 and abs(1.0 - share) > 1e-6:
            total /= share
        found[hru] = total
    return found


def simulate(river: River, flows: list[dict[int, float]], dt: float, queues: Queues | None = None) -> tuple[np.ndarray, Queues]:
    """Discharge [time, reach in the order of ``river.downstream``] of lateral flows [m3/s] by step, and what is left."""
    q = Queues() if queues is None else queues
    basin = basin_hydrograph(dt, river.fshape, river.tscale) if river.does_basin_route else None
    own = {r: reach_hydrograph(river.length[r], dt, river.velo, river.diff) for r in river.downstream}
    order, out = river.order(), []
    for flow in flows:
        lateral = dict(flow)
        if basin is not None:
            for reach in river.downstream:
                future = q.basin.setdefault(reach, [0.0] * len(basin))
                for k, part in enumerate(basin):
                    future[k] += part * flow[reach]
                lateral[reach] = future.pop(0)
                future.append(0.0)
        q.basin_q = dict(lateral)
        outflow: dict[int, float] = {}
        for reach in order:
            above = [u for u in river.upstream(reach) if river.wet(u)]
            coming, beside = sum(outflow[u] for u in above), lateral[reach]
            if not above and river.top_of_headwaters:
                coming, beside = beside, 0.0
            if river.length[reach] <= river.min_length and river.min_length > 0:
                outflow[reach] = coming + beside
                continue
            future = q.reach.setdefault(reach, [0.0] * len(own[reach]))
            for k, part in enumerate(own[reach]):
                future[k] += part * coming
            volume = q.volume.get(reach, 0.0)
            if river.limited:
                future[0] = min((max(0.0, volume) / dt + coming) * 0.999, future[0])
            q.volume[reach] = volume - (future[0] - coming) * dt
            outflow[reach] = future.pop(0) + beside
            future.append(0.0)
        out.append([outflow[r] for r in river.downstream])
    return np.array(out), q
