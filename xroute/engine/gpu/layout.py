"""The network and its filter on a device, laid out for the kernels: made once, used for many blocks of time.

Everything of a reach stands at its place (`xroute.engine.patches`): a warp's 32 lanes are 32 places that follow on one another.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import triton.language as tl
from numpy.typing import NDArray

from xroute.caches import keep, keep_fitting
from xroute.engine.gpu.dispatch import launch
from xroute.engine.gpu.filter_kernels import BLOCK, lay_out
from xroute.engine.patches import LANES, CrossLinks, Patches, share_rows
from xroute.engine.plan import RoutingPlan
from xroute.settings import RoutingSettings

__all__ = [
    "DeviceFilter",
    "DevicePatches",
    "Windows",
    "DeviceMail",
    "by_step",
    "device_mail",
    "device_patches",
    "group_length",
    "kept_filter",
    "prepare_filter",
    "real_type",
    "replays",
    "trace_channels",
    "vector_length",
    "windows_of",
]

Tensor = torch.Tensor
LONG = 1024
"""Steps from which on a series is long: then its rows are read in whole sectors, at the price of more lag."""
MANY = 16
"""Members from which on there are always programs that need not wait, and larger groups pay too."""


# ── how a run is stepped, and with it which kernel runs ─────────────────────────────────────────────────────────────────


def by_step(settings: RoutingSettings) -> bool:
    """Whether a step of runoff is one routing step and its discharge that of the routing step."""
    return settings.substeps == 1 and settings.sampling != "start-mean"


def group_length(settings: RoutingSettings, n_taps: int, n_steps: int, n_batch: int = 1) -> int:
    """Routing steps of a group."""
    if by_step(settings):
        return 8 if n_taps > 2 or n_steps >= LONG or n_batch >= MANY else 4
    return max(k for k in range(1, 9) if settings.substeps % k == 0)


def replays(settings: RoutingSettings, n_taps: int, has_known: bool) -> bool:
    """Whether the adjoint routes once more what it needs, from notes: see `xroute.engine.gpu.adjoint_replay`."""
    return not by_step(settings) and n_taps <= 2 and not has_known


def vector_length(settings: RoutingSettings) -> int:
    """Words of the mailbox that are read and written together with several routing steps a step: groups begin with them."""
    return math.gcd(group_length(settings, 1, 1), 4)


def trace_channels(settings: RoutingSettings, has_known: bool = False) -> int:
    """Series of each reach in a trace: inflow, with laterals over the interval runoff, and y where discharge is not y."""
    return 1 + (settings.lateral == "interval") + (not by_step(settings) or settings.lateral == "outlet" or has_known)


def real_type(dtype: torch.dtype) -> Any:
    """Triton's type of the arithmetic."""
    return tl.float64 if dtype == torch.float64 else tl.float32


# ── the network ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class DeviceLinks:
    """Links that cross from patch to patch, on a device; records are row of the mailbox, lane, lag, and place of the source."""

    start: Tensor  # int32 [patch + 1], first link of each patch
    record: Tensor  # int32 [link, 4]
    weight: Tensor
    n_sources: int


@dataclass(frozen=True)
class DevicePatches:
    """Patches on a device, in the types of the kernels."""

    down_places: Tensor  # int32 [7, place]: reach, lag, two children, row of the mailbox, spare, first row that joins
    up_places: (
        Tensor  # int32 [7, place]: reach, distance, parent, row of the mailbox, spare, lag, first row it is given
    )
    child_share: Tensor  # [3, place]: of the two children, of the first row that joins
    parent_share: Tensor  # [2, place]: of the parent, of the first row it is given
    down: DeviceLinks
    down_rest: DeviceLinks  # without the first of each place
    up: DeviceLinks  # without the first of each place
    past_places: Tensor  # int32 [3, place]: two children, reach of the first row that joins, or -1; weights: `child_share`
    past_rest: DeviceLinks  # as `down_rest`, but records begin with the reach, and have the distance for lag
    up_by_lag: DeviceLinks  # the same, with the lag down the network
    reach: Tensor  # int64 [place]
    place: Tensor  # int64 [reach]
    given: Tensor  # int64 [given reach]: row of the mailbox
    kept: Tensor  # int64 [kept reach]: row of the mailbox
    n_patches: int


def device_patches(plan: RoutingPlan, device: torch.device, dtype: torch.dtype) -> DevicePatches:
    """Patches of a plan on a device; made once and kept with the plan."""
    return keep(
        plan, ("device patches", device, dtype), lambda: _move_patches(plan.patches, plan, device, dtype), most=32
    )


def _move_patches(p: Patches, plan: RoutingPlan, device: torch.device, dtype: torch.dtype) -> DevicePatches:
    def int32(*arrays: NDArray[Any]) -> Tensor:
        made = np.empty((len(arrays), *arrays[0].shape), np.int32)
        for row, array in zip(made, arrays, strict=True):
            row[...] = array  # no copy as wide as the arrays between: networks have millions of reaches
        return torch.from_numpy(made).to(device)

    def real(*arrays: NDArray[Any]) -> Tensor:
        return torch.from_numpy(np.stack(arrays)).to(device, dtype)

    def links(of: CrossLinks, name: NDArray[Any], lag: NDArray[Any], chosen: NDArray[np.bool_]) -> DeviceLinks:
        source, target, weight = of.source[chosen], of.target[chosen], of.weight[chosen]
        start = np.searchsorted(target // LANES, np.arange(p.n_patches + 1))
        record = int32(name[source], target % LANES, lag[target], source).T.contiguous()
        return DeviceLinks(int32(start)[0], record, real(weight)[0], of.n_sources)

    joins, join_share, join_first = _first_links(p.down, p.reach.size)
    given_by, given_share, first = _first_links(p.up, p.reach.size)
    reach_or_none = np.concatenate([p.reach, np.full(plan.n_given, -1)])
    past_reach = np.full(p.reach.size, -1)
    past_reach[p.down.target[join_first]] = reach_or_none[p.down.source[join_first]]
    place = p.place_of(plan.n_reaches)
    return DevicePatches(
        int32(p.reach, p.lag, *p.child, p.down.number[: p.reach.size], p.spare, joins),
        int32(p.reach, p.distance, p.parent, p.up.number[: p.reach.size], p.spare, p.lag, given_by),
        real(*p.child_weight, join_share), real(p.parent_weight, given_share),
        links(p.down, p.down.number, p.lag, np.ones(p.down.target.size, bool)),
        links(p.down, p.down.number, p.lag, ~join_first), links(p.up, p.up.number, p.distance, ~first),
        int32(*p.child, past_reach), links(p.down, reach_or_none, p.distance, ~join_first),
        links(p.up, p.up.number, p.lag, ~first),
        torch.from_numpy(p.reach).to(device), torch.from_numpy(place).to(device),
        torch.from_numpy(p.down.number[p.reach.size :]).to(device),
        torch.from_numpy(p.down.number[place[plan.kept]]).to(device), p.n_patches,
    )  # fmt: skip


def _first_links(of: CrossLinks, n_places: int) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.bool_]]:
    """Row of the mailbox (-1: none) and weight of the first link of each place, and which links those are."""
    first = np.zeros(of.target.size, bool)
    first[np.unique(of.target, return_index=True)[1]] = True
    row, weight = np.full(n_places, -1), np.zeros(n_places)
    row[of.target[first]] = of.number[of.source[first]]
    weight[of.target[first]] = of.weight[first]
    return row, weight, first


@dataclass(frozen=True)
class DeviceMail:
    """Rows of the mailbox down the network where several sources share one, on a device."""

    places: Tensor  # int32 [5, place]: row of the mailbox, its turn; first row it is given, its turn, whether it hands it on
    down: DeviceLinks  # without the first of each place; the last number of a record is the row's turn; so many rows
    given: Tensor  # int64 [given reach]: row of the mailbox
    kept: Tensor  # int64 [kept reach]: row of the mailbox
    again: bool  # whether any row is used again


RESIDENT = 4608
"""Programs that a GPU has room for at a time: a row is used again after so many, by when its reader is likely to have ended."""


def device_mail(plan: RoutingPlan, device: torch.device, dtype: torch.dtype, n_batch: int, *, again: bool) -> DeviceMail:
    """Rows of the mailbox on a device, used ``again`` or not; made once and kept with the plan."""
    away = -(-RESIDENT // n_batch) if again else plan.patches.n_patches
    return keep(plan, ("device mail", str(device), dtype, away), lambda: _move_mail(plan, device, dtype, away), most=8)


def _move_mail(plan: RoutingPlan, device: torch.device, dtype: torch.dtype, away: int) -> DeviceMail:
    p = plan.patches
    of, n = p.down, p.reach.size
    kept = of.number[p.place_of(plan.n_reaches)[plan.kept]]
    rows = share_rows(of, n, kept, away)
    own, (source, _, first) = of.number[:n], _first_links(of, n)

    def by_place(values: NDArray[Any], number: NDArray[Any]) -> NDArray[Any]:
        return np.where(number >= 0, values[np.maximum(number, 0)] if values.size else 0, -1)

    places = np.stack([
        by_place(rows.row, own), by_place(rows.turn, own), by_place(rows.row, source), by_place(rows.turn, source),
        by_place(rows.shared, source),
    ])  # fmt: skip
    number, target = of.number[of.source[~first]], of.target[~first]
    record = np.stack([rows.row[number], target % LANES, p.lag[target], rows.turn[number]], axis=1)
    start = np.searchsorted(target // LANES, np.arange(p.n_patches + 1))
    at, starts, records = (torch.from_numpy(a.astype(np.int32)).to(device) for a in (places, start, record))
    links = DeviceLinks(starts, records, torch.from_numpy(of.weight[~first]).to(device, dtype), rows.n_rows)
    given, taken = (torch.from_numpy(rows.row[k]).to(device) for k in (of.number[n:], kept))
    return DeviceMail(at, links, given, taken, rows.n_rows < of.n_sources)


# ── its filter ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Windows:
    """Where the taps and the history of each place stand: what a filter's pointer says, on a device.

    Attributes
    ----------
    pointer
        Of the filter.
    longest
        Taps of the longest window.
    first, second : int64 [place]
        First and second tap of a place among all taps.
    single : bool [place]
        Whether it has no second tap.
    first_lag : int64 [2, place]
        Where the newest lag of a place stands in the flat history, and how many it has.
    tap_of_reach : int64 [reach + 1]
        First tap of each reach, and how many taps there are: the pointer.
    groups : int32 [2 (patch + 1)]
        With longer windows, first group of taps of each patch, then how many groups it has.
    far, far_place : int64 [tap beyond the first two]
        With longer windows, which taps of all those are, and where they stand in the kernels' order.
    n_far, n_lags
        Length of the kernels' order, and of the flat history.
    """

    pointer: NDArray[np.int64]
    longest: int
    first: Tensor
    second: Tensor
    single: Tensor
    first_lag: Tensor
    tap_of_reach: Tensor
    groups: Tensor
    far: Tensor
    far_place: Tensor
    n_far: int
    n_lags: int


def windows_of(
    plan: RoutingPlan, pointer: NDArray[np.int64], device: torch.device, settings: RoutingSettings
) -> Windows:
    """Windows of a plan's reaches on a device; the last few are kept with the plan, for filters made again and again."""
    group = group_length(settings, 3, 1)

    def fits(made: Windows) -> bool:
        return made.pointer is pointer or np.array_equal(made.pointer, pointer)

    kind = "device windows", device, group
    return keep_fitting(plan, kind, fits, lambda: _move_windows(plan.patches, pointer, device, group))


def _move_windows(patches: Patches, pointer: NDArray[np.int64], device: torch.device, group: int) -> Windows:
    def move(array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(array).to(device)

    counts = np.diff(pointer)
    longest = int(counts.max(initial=1))
    first, count = pointer[:-1][patches.reach], counts[patches.reach]
    none = np.zeros(1, np.int64)
    groups, far, far_place, n_far = none, none[:0], none[:0], 0
    if longest > 2:
        longest_of = np.where(patches.spare, 1, count).reshape(-1, LANES).max(axis=1)
        n_groups = np.where(longest_of > 1, -(-longest_of // group), 0)
        start = np.concatenate([[0], np.cumsum(n_groups)])
        groups, n_far = np.concatenate([start, n_groups]), int(start[-1]) * group * LANES
        owner = np.repeat(np.arange(counts.size), counts)
        k = np.arange(owner.size) - pointer[:-1][owner]
        far = np.flatnonzero(k >= 2)
        at = patches.place_of(counts.size)[owner[far]]
        far_place = (start[at // LANES] * group + k[far]) * LANES + at % LANES
    second = np.minimum(first + 1, int(pointer[-1]) - 1)
    first_lag = np.stack([first - patches.reach, count - 1])
    return Windows(
        pointer, longest, move(first), move(second), move(count < 2), move(first_lag), move(pointer),
        move(groups.astype(np.int32)), move(far), move(far_place), n_far,
        int(pointer[-1]) - counts.size,
    )  # fmt: skip


@dataclass(frozen=True)
class DeviceFilter:
    """A filter laid out for the kernels: made once, used for many blocks of time.

    Attributes
    ----------
    coefficients : [4, place]
        c0, c0 + c1, 1 - pole, gain.
    n_taps
        1, 2, or 3 for longer or ragged windows.
    has_pole
    taps : [group of taps, tap, lane]
        Taps beyond the first two, in the kernels' order.
    windows
    """

    coefficients: Tensor
    n_taps: int
    has_pole: bool
    taps: Tensor
    windows: Windows

    @property
    def n_ring(self) -> int:
        """Inflows of a member that windows of more than two taps look back to."""
        return self.taps.numel() if self.n_taps > 2 else 0


def prepare_filter(
    plan: RoutingPlan,
    filter: Any,
    device: torch.device,
    dtype: torch.dtype,
    settings: RoutingSettings = RoutingSettings(),
    has_pole: bool | None = None,
) -> DeviceFilter:
    """Lay a filter out for the kernels in arithmetic of ``dtype``.

    It is a `xroute.schemes.Filter`, or `FilterArrays` of tensors whose pointer is an array. Whether there are poles is asked of
    the device, which has to be waited for, unless ``has_pole`` tells.
    """
    index, windows = device_patches(plan, device, dtype), windows_of(plan, filter.pointer, device, settings)
    taps, pole, gain = (t.to(device, torch.float64).contiguous() for t in (filter.taps, filter.pole, filter.gain))
    n_places = index.reach.numel()
    coefficients = torch.empty((4, n_places), dtype=dtype, device=device)
    if n_places:
        launch(
            lay_out, -(-n_places // BLOCK), taps, pole, gain, windows.first, windows.second, windows.single, index.reach,
            coefficients, n_places, windows.longest > 1, real_type(dtype), BLOCK, num_warps=4,
        )  # fmt: skip
    far = coefficients  # not looked at
    if windows.n_far:
        far = coefficients.new_zeros(windows.n_far)
        far[windows.far_place] = taps.detach()[windows.far].to(dtype)
    if has_pole is None:
        has_pole = bool((pole != 0).any())
    return DeviceFilter(coefficients, min(windows.longest, 3), has_pole, far, windows)


def kept_filter(
    plan: RoutingPlan,
    filter: Any,
    device: torch.device,
    dtype: torch.dtype,
    settings: RoutingSettings,
    *,
    has_pole: bool | None = None,
) -> DeviceFilter:
    """`prepare_filter` of a `xroute.schemes.Filter`, kept with it for the plan that it was last used with until it changes."""
    tensors = filter.taps, filter.pole, filter.gain
    if any(t.is_inference() for t in tensors):  # which does not say when it changes
        return prepare_filter(plan, filter, device, dtype, settings, has_pole)
    made_of = plan, *(t._version for t in tensors)
    kind = "device filter", device, dtype, group_length(settings, 3, 1), has_pole
    return keep_fitting(
        filter, kind, lambda kept: kept[0][0] is plan and kept[0][1:] == made_of[1:],
        lambda: (made_of, prepare_filter(plan, filter, device, dtype, settings, has_pole)), most=1,
    )[1]  # fmt: skip
