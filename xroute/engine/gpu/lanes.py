"""Triton pieces that the GPU kernels share: a warp of 32 reaches, time in columns.

A **tile** is a block of memory, [lane, column], that neighbouring threads load along time; **columns** are the same values as a
tuple of vectors, one reach a thread, so that a recurrence in time stays in the registers of its thread and a tributary is
one shuffle away. The compiler turns one into the other through shared memory.

Series that cross from patch to patch travel through a mailbox whose every word starts as `EMPTY`, a NaN that arithmetic
does not make. A word is either that or its final value, so the reader needs no flag and the writer no fence.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, assignment"
from __future__ import annotations

import inspect
from typing import Any, NamedTuple

import triton
import triton.language as tl

from xroute.engine.patches import LANES
from xroute.settings import LATERAL, SAMPLING

R = tl.constexpr(LANES)
EMPTY = tl.constexpr(-1)
NEVER = tl.constexpr(-1073741824)
"""A time before all others: of lanes that only repeat another."""
HEAD, INTERVAL, OUTLET = (tl.constexpr(LATERAL.index(k)) for k in ("head", "interval", "outlet"))
MEAN, LAST, START_MEAN = (tl.constexpr(SAMPLING.index(k)) for k in ("mean", "last", "start-mean"))


SIZES = (
    "n_reaches", "n_steps", "first_step", "n_patches", "n_sources", "width", "runoff_pitch", "grad_pitch", "result_pitch",
    "discharge_pitch", "ring_size", "n_lags", "trace_size", "n_known", "known_pitch", "n_rows", "n_rooms",
)  # fmt: skip
"""Numbers that kernels are not compiled for: else each network and each length of a series would wait for the compiler.

How many members there are is not among them: one is worth a kernel of its own.
"""


def kernel(function):
    """A Triton kernel that is compiled for its constants and types only."""
    names = inspect.signature(function).parameters
    return triton.jit(do_not_specialize=[name for name in SIZES if name in names])(function)


@triton.jit
def _halves(tile, WIDTH: tl.constexpr):
    if WIDTH == 2:
        return tl.split(tile)
    else:
        return tl.split(tl.permute(tl.reshape(tile, (R, 2, WIDTH // 2)), (0, 2, 1)))


@triton.jit
def _beside(a, b, WIDTH: tl.constexpr):
    if WIDTH == 1:
        return tl.join(a, b)
    else:
        return tl.reshape(tl.permute(tl.join(a, b), (0, 2, 1)), (R, 2 * WIDTH))


@triton.jit
def columns_of(tile, LOG: tl.constexpr):
    """Columns of a tile of ``2 ** LOG``."""
    parts = (tile,)
    for level in tl.static_range(LOG):
        halves = ()
        for k in tl.static_range(1 << level):
            a, b = _halves(parts[k], (1 << LOG) >> level)
            halves = halves + (a, b)
        parts = halves
    return parts


@triton.jit
def tile_of(columns, LOG: tl.constexpr):
    """Tile of ``2 ** LOG`` columns."""
    parts = columns
    for level in tl.static_range(LOG):
        merged = ()
        for k in tl.static_range((1 << LOG) >> (level + 1)):
            merged = merged + (_beside(parts[2 * k], parts[2 * k + 1], 1 << level),)
        parts = merged
    return parts[0]


@triton.jit
def zeros_of(N: tl.constexpr, ACC: tl.constexpr):
    """``N`` columns of zeros."""
    columns = ()
    for _ in tl.static_range(N):
        columns = columns + (tl.zeros((R,), ACC),)
    return columns


@triton.jit
def slide(columns, by, N: tl.constexpr):
    """Of ``N + 7`` columns the ``N`` that begin at each lane's ``by``, 0 to 7."""
    bit = (by & 4) != 0
    a = ()
    for k in tl.static_range(N + 3):
        a = a + (tl.where(bit, columns[k + 4], columns[k]),)
    bit = (by & 2) != 0
    b = ()
    for k in tl.static_range(N + 1):
        b = b + (tl.where(bit, a[k + 2], a[k]),)
    bit = (by & 1) != 0
    c = ()
    for k in tl.static_range(N):
        c = c + (tl.where(bit, b[k + 1], b[k]),)
    return c


@triton.jit
def spread(vector, k, lane):
    """Element ``k`` of a vector, in every lane."""
    return tl.gather(vector, lane * 0 + k, 0)


@triton.jit
def join_series(columns, series, weight, joins, lane, N: tl.constexpr):
    """Add ``weight * series[column]``, the series lying across lanes, in the lane that it joins; elsewhere not even NaN."""
    joined = ()
    for c in tl.static_range(N):
        joined = joined + (tl.where(joins, columns[c] + weight * spread(series, c, lane), columns[c]),)
    return joined


@triton.jit
def bits_of(value, ACC: tl.constexpr):
    """The word of a value: never `EMPTY`."""
    if ACC == tl.float64:
        bits = value.to(tl.int64, bitcast=True)
        return tl.where(bits == EMPTY, 0x7FF8000000000000, bits)  # a user's own NaN, carried along
    else:
        return value.to(tl.int32, bitcast=True)  # the sum or product that it is has but one NaN, 0x7FFFFFFF


@triton.jit
def post(box, columns, mask, N: tl.constexpr, ACC: tl.constexpr):
    """Write ``N`` columns for other programs, where each lane has its own place."""
    for c in tl.static_range(N):
        tl.store(box + c, bits_of(columns[c], ACC), mask=mask)


@triton.jit
def peek(box, mask):
    """Read what may have been posted by now; elsewhere 0."""
    return tl.load(box, mask=mask, other=0, volatile=True)


@triton.jit
def await_post(mail, box, mask, ACC: tl.constexpr):
    """What was posted, read again until all of it is there."""
    while tl.max((mail == EMPTY).to(tl.int32)) > 0:
        mail = peek(box, mask)
    return mail.to(ACC, bitcast=True)


# ── tiles ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


@triton.jit
def along(first, N: tl.constexpr):
    """Places in memory, or times, of ``N`` columns from each lane's first one on."""
    return first[:, None] + tl.arange(0, N)[None, :]


@triton.jit
def vector_times(first, N: tl.constexpr):
    """Times of ``N`` columns from each lane's first one on, those of a vector of four being that of its first."""
    return first[:, None] + ((tl.arange(0, N) // 4) * 4)[None, :]


@triton.jit
def load_tile(rows, vector_time, end):
    """A tile of rows, whose vectors may begin up to 3 steps before the series; elsewhere 0."""
    return tl.load(rows, mask=(vector_time > -4) & (vector_time < end), other=0.0)


@triton.jit
def load_inside(rows, vector_time, end):
    """A tile of rows that begin with a vector; 0 outside of the series."""
    return tl.load(rows, mask=(vector_time >= 0) & (vector_time < end), other=0.0)


@triton.jit
def load_here(rows, time, end):
    """A tile of rows that begin anywhere; 0 outside of the series."""
    return tl.load(rows, mask=(time >= 0) & (time < end), other=0.0)


@triton.jit
def multiple_of_8(place, UP: tl.constexpr):
    """The next multiple of 8, up or down.

    Rows of lanes that lag may begin up to 1024 elements before memory, and a division of what is negative rounds towards 0.
    """
    if UP:
        return ((place + 1031) // 8 - 128) * 8
    else:
        return ((place + 1024) // 8 - 128) * 8


@triton.jit
def columns_between(columns, FIRST: tl.constexpr, END: tl.constexpr):
    """Columns from ``FIRST`` to before ``END``."""
    some = ()
    for c in tl.static_range(FIRST, END):
        some = some + (columns[c],)
    return some


@triton.jit
def add_weighted(columns, more, weight, N: tl.constexpr):
    """Columns and a share of others."""
    added = ()
    for c in tl.static_range(N):
        added = added + (columns[c] + weight * more[c],)
    return added


@triton.jit
def times(columns, factor, N: tl.constexpr):
    """Columns times a factor."""
    products = ()
    for c in tl.static_range(N):
        products = products + (columns[c] * factor,)
    return products


@triton.jit
def before_end(columns, time, end, N: tl.constexpr):
    """Columns with zeros from ``end`` on."""
    kept = ()
    for c in tl.static_range(N):
        kept = kept + (tl.where(time + c < end, columns[c], 0.0),)
    return kept


@triton.jit
def from_start(columns, time, N: tl.constexpr):
    """Columns with zeros before the series.

    The vector that holds a row's first step may begin with the last ones of another row. A lane without tributaries is given its
    own discharge of a group before times 0, which of what is not finite there would be a NaN.
    """
    kept = ()
    for c in tl.static_range(N):
        kept = kept + (tl.where(time + c >= 0, columns[c], 0.0),)
    return kept


@triton.jit
def only_between(columns, time, end, N: tl.constexpr):
    """Columns with zeros before the series and after it."""
    kept = ()
    for c in tl.static_range(N):
        kept = kept + (tl.where((time + c >= 0) & (time + c < end), columns[c], 0.0),)
    return kept


# ── what a program begins with ──────────────────────────────────────────────────────────────────────────────────────────


class Lanes(NamedTuple):
    """The reaches of a patch, a lane each, going down the network. All but the last three are what ``places`` says of them."""

    reach: Any
    lag: Any  # in groups of steps, behind the highest headwater of its branch
    tributary: Any  # lanes of two reaches that drain to it
    row: Any  # of the mailbox, where other patches read its discharge; or -1
    active: Any  # False for a spare lane, which repeats another
    share: Any  # weights of the two tributaries
    lane: Any
    place: Any


class LanesUp(NamedTuple):
    """The reaches of a patch, a lane each, going up the network. All but the last four are what ``places`` says of them."""

    reach: Any
    distance: Any  # in groups of steps, to the root of its branch
    parent: Any  # the lane downstream
    row: Any
    active: Any
    lag: Any
    source: Any  # row of the mailbox that the root of a branch reads first; or -1
    share: Any  # weight of the link to the parent
    source_share: Any  # and of that to the source
    lane: Any
    place: Any


class Coefficients(NamedTuple):
    """Of each lane's filter: the first tap, the first two together, the second, 1 - pole, gain."""

    c0: Any
    c01: Any
    c1: Any
    one_minus_pole: Any
    gain: Any


class Window(NamedTuple):
    """Taps beyond the first two, in ``n_blocks`` blocks, and the ring of as many groups of what they are multiplied with.

    ``at`` is where the ring stands among all.
    """

    taps: Any
    ring: Any
    n_blocks: Any
    at: Any


class PatchLinks(NamedTuple):
    """Links of a patch from others: their records and weights, from which one on they are the patch's, and how many."""

    record: Any
    weight: Any
    first: Any
    n: Any


@triton.jit
def take_ticket(ticket, n_batch):
    """Number of the next patch in turn, and member of the batch."""
    taken = tl.atomic_add(ticket, 1)
    return taken // n_batch, (taken % n_batch).to(tl.int64)


@triton.jit
def coefficients_of(filter, place, n_places):
    """Coefficients of each lane."""
    c0 = tl.load(filter.coefficients + place)
    c01 = tl.load(filter.coefficients + n_places + place)
    one_minus_pole = tl.load(filter.coefficients + 2 * n_places + place)
    return Coefficients(c0, c01, c01 - c0, one_minus_pole, tl.load(filter.coefficients + 3 * n_places + place))


@triton.jit
def lags_of(filter, place, n_places, member, n_lags, mode: tl.constexpr):
    """Where each lane's newest lag stands in the flat history, and how many it has."""
    if mode.n_taps > 1:
        first = member * n_lags + tl.load(filter.first_lag + place)
        return first, tl.load(filter.first_lag + n_places + place).to(tl.int32)
    else:
        none = tl.zeros((R,), tl.int32)
        return none.to(tl.int64), none


@triton.jit
def state_of(outflow, history, n_lags, mode: tl.constexpr):
    """A state's outflow and newest lag, from where those of each lane stand."""
    y = tl.load(outflow).to(mode.real_type)
    inflow = tl.zeros((R,), mode.real_type)
    if mode.n_taps > 1:
        inflow = tl.load(history, mask=n_lags > 0, other=0.0).to(mode.real_type)
    return y, inflow


@triton.jit
def window_of(filter, patch, member, n_patches, ring_size, mode: tl.constexpr):
    """The window of a patch."""
    if mode.n_taps > 2:
        n_blocks = tl.load(filter.block_start + n_patches + 1 + patch)
        first = tl.load(filter.block_start + patch).to(tl.int64) * R * mode.group
        at = member * ring_size + first
        return Window(filter.taps + first, filter.ring + at, n_blocks, at)
    else:
        return Window(filter.taps, filter.ring, 0, 0)


# ── discharge that is known ─────────────────────────────────────────────────────────────────────────────────────────────


class KnownLanes(NamedTuple):
    """Of each lane whether its discharge is known, if not always; and where that and its gradient stand, at time 0."""

    has: Any
    series: Any
    gradient: Any


@triton.jit
def known_of(known, lanes, member, n_known, pitch, mode: tl.constexpr):
    """What is known of the lanes of a patch."""
    if mode.known:
        row = tl.load(known.row + lanes.place)
        at = (member * n_known + tl.maximum(row, 0)).to(tl.int64) * pitch
        return KnownLanes((row >= 0) & lanes.active, known.series + at, known.gradient + at)
    else:
        return KnownLanes(lanes.active, known.series, known.gradient)


@triton.jit
def known_at(lanes, time, end):
    """Discharge that is known at each lane's time, 0 where it is not, and whether it is."""
    inside = lanes.has & (time >= 0) & (time < end)
    value = tl.load(lanes.series + time, mask=inside, other=0.0)
    there = inside & (value == value)
    return tl.where(there, value, 0.0), there


# ── links from other patches ────────────────────────────────────────────────────────────────────────────────────────────


@triton.jit
def links_of(network, patch):
    """Links that a patch reads."""
    first = tl.load(network.link_start + patch)
    n = tl.load(network.link_start + patch + 1) - first
    return PatchLinks(network.links, network.link_weight, first, n)


@triton.jit
def read_links(links, first, n, lane, G: tl.constexpr):
    """Up to 32 links, one a lane: row of the mailbox, lane that it joins, that lane's first time, weight."""
    there = lane < n
    record = links.record + (first + lane) * 4
    row = tl.load(record, mask=there, other=0)
    to = tl.load(record + 1, mask=there, other=-1)
    lag = tl.load(record + 2, mask=there, other=0)
    return row, to, lag * G, tl.load(links.weight + first + lane, mask=there, other=0.0)


@triton.jit
def join_links(joined, words, width, links, FIRST: tl.constexpr, begin, end, lane, N: tl.constexpr,
               DOWN: tl.constexpr, mode: tl.constexpr):  # fmt: skip
    """Join the links from ``FIRST`` on, one by one, to ``N`` columns.

    ``begin`` is the time of the first column in a lane without lag; lags go back from it down the network, and forward up it.
    """
    for k in range(FIRST, links.n):
        row, to, lag, weight = read_links(links, links.first + k, 1, lane, mode.group)
        if DOWN:
            now = begin - spread(lag, 0, lane) + lane
        else:
            now = begin + spread(lag, 0, lane) + lane
        box = words + spread(row, 0, lane).to(mode.index_type) * width + now
        inside = (now >= 0) & (now < end) & (lane < N)
        mail = await_post(peek(box, inside), box, inside, mode.real_type)
        joined = join_series(joined, mail, spread(weight, 0, lane), spread(to, 0, lane) == lane, lane, N)
    return joined
