"""The adjoint without a trace, its rows moved through shared memory: for float32, and filters of up to two taps.

`xroute.engine.gpu.adjoint` has the formulas, and a kernel for all else. What that one reads from a trace, inflow, is made again
here, of runoff and of the tributaries' discharge, whose lanes are one group behind: discharge is read a group ahead. So the
forward run keeps nothing, and four series are moved by the adjoint and two by the forward run, not four and three.

Three series come through shared memory (`xroute.engine.gpu.rows`): discharge, runoff, and the gradient of discharge, in whose
place that of runoff is written. Rows may begin anywhere, those that come not at the same element of a vector as those that go.
So each lane reads its row from its own column on, and writes results a few columns further on, from where they go to memory in
whole vectors; what is left over of a tile goes with the next one, and what fills no vector at the ends of a row by itself.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, assignment"
from __future__ import annotations

from typing import Any, NamedTuple

import triton
import triton.language as tl

from xroute.engine.gpu.adjoint import (
    Given,
    Past,
    Sums,
    adjoint_group,
    at_end,
    ends_of,
    finish,
    lanes_up,
    result_of,
)
from xroute.engine.gpu.lanes import (
    INTERVAL,
    NEVER,
    R,
    add_weighted,
    coefficients_of,
    kernel,
    links_of,
    only_between,
    take_ticket,
    zeros_of,
)
from xroute.engine.gpu.ptx import PAD, commit_copies, move_four, open_rows, wait_copies, wait_lanes, write_some
from xroute.engine.gpu.rows import (
    await_words,
    groups_inside,
    load_tile_of_rows,
    of_words,
    peek_words,
    post_group,
    read_columns,
    store_parts,
    store_tile_of_rows,
    vectors_along,
    within,
    write_columns,
)

__all__ = ["adjoint_rows"]

COLUMNS = tl.constexpr(32)
"""Of a tile."""
STAGES = tl.constexpr(2)
"""Tiles of a program: one that is worked on, the others on their way."""
AT_ONCE = tl.constexpr(16)
"""Steps for which mail is awaited at a time."""
AHEAD = tl.constexpr(8)
"""Columns by which results stand further on than what they are made of, so that nothing is overwritten before it is read."""
RESULT_PAD = tl.constexpr(12)
"""Columns beyond a tile's in rows that results are written to."""


class Tributaries(NamedTuple):
    """Where each lane's inflow came from: two lanes, the row of a reach in another patch (-1: none), and the three weights."""

    lane: Any
    share: Any
    source: Any
    source_share: Any


@triton.jit
def _tributaries_of(past, place, n_places, INDEX: tl.constexpr):
    """The tributaries of the reaches of a patch."""
    first, second = tl.load(past.places + place), tl.load(past.places + n_places + place)
    share = tl.load(past.shares + place), tl.load(past.shares + n_places + place)
    source = tl.load(past.places + 2 * n_places + place).to(INDEX)
    return Tributaries((first, second), share, source, tl.load(past.shares + 2 * n_places + place))


@triton.jit
def _inflow_again(columns, ahead, tributaries, G: tl.constexpr):
    """Inflow of a group, from what comes to it from outside of the patch, and discharge of the lanes one group ahead of it.

    Those are the tributaries, which lag by a group here: they come to the same steps a group later. A lane without any is
    given its own discharge times 0.
    """
    inflows = ()
    first, second = tributaries.lane
    share = tributaries.share
    for c in tl.static_range(G):
        inflow = columns[c] + share[0] * tl.gather(ahead[c], first, 0) + share[1] * tl.gather(ahead[c], second, 0)
        inflows = inflows + (inflow,)
    return inflows


@triton.jit
def _without_rise(sums, where):
    """Sums as if inflow had been 0 one step on, ``where`` that is so."""
    return Sums(sums.first, sums.second, sums.pole, sums.gain, tl.where(where, 0.0, sums.inflow_on))


@triton.jit
def _join_more(joined, rows, pitch, links, lane, times, end, WAIT: tl.constexpr, N: tl.constexpr, mode: tl.constexpr):
    """Join the links beyond a lane's first, one by one: mail, or discharge; ``times`` are those of each lane's first column."""
    for k in range(links.n):
        record = links.record + (links.first + k) * 4
        to = lane == tl.load(record + 1)
        weight = tl.where(to, tl.load(links.weight + links.first + k), 0.0)
        time = tl.where(to, times, NEVER)
        box = rows + (tl.load(record).to(mode.index_type) * pitch + tl.where(to, times, 0))
        there = within(time, end, N, mode.group)
        mail = peek_words(box, there, N, mode.group)
        if WAIT:
            values = await_words(mail, box, there, N, mode.group)
        else:
            values = only_between(of_words(mail, N), time, end, N)
        joined = add_weighted(joined, values, weight, N)
    return joined


class Rows(NamedTuple):
    """Rows of each lane: where they stand in shared memory and, from the first tile on, in memory, and their first steps.

    Tiles stand at the vectors of 16 bytes ``by`` columns before (``up`` behind, of the result) each lane's own first step.
    """

    begins: Any  # a lane's first step; never, of a lane that only repeats another
    own_y: Any  # a lane's row in shared memory
    own_r: Any
    own_g: Any
    tile_y: Any  # all vectors there; those of runoff stand behind
    tile_g: Any
    y: Any  # places of all vectors in memory
    r: Any
    g: Any
    out: Any
    by_r: Any
    by_g: Any
    up: Any
    row_out: Any  # a lane's place in memory, of the result's first vector


@triton.jit
def _rows_of(series, row, first, active, ring, lane, pitches, G: tl.constexpr, C: tl.constexpr):
    """Rows of lanes whose tiles begin with step ``first``; discharge is read a group of steps ahead."""
    begins = tl.where(active, first, NEVER)
    own_y = ring + lane * ((C + PAD) * 4)
    own_g = ring + 2 * R * (C + PAD) * 4 + lane * ((C + RESULT_PAD) * 4)
    vector = (tl.arange(0, C // 4) * 16)[None, :]
    at_g, at_r, at_out = row * pitches[0] + first, row * pitches[3] + first, row * pitches[1] + first
    by_g, by_r, up = (at_g & 3).to(tl.int32), (at_r & 3).to(tl.int32), (-at_out & 3).to(tl.int32)
    return Rows(
        begins, own_y, own_y + R * (C + PAD) * 4, own_g, own_y[:, None] + vector, own_g[:, None] + vector,
        vectors_along(row * pitches[2] + (first - G), C), vectors_along(at_r - by_r, C), vectors_along(at_g - by_g, C),
        vectors_along(at_out + up, C), by_r, by_g, up, series.grad_runoff + (at_out + up),
    )  # fmt: skip


@triton.jit
def _load_tiles(series, rows, to, back, end, INSIDE: tl.constexpr, G: tl.constexpr, C: tl.constexpr):
    """Begin to load the tiles ``back`` steps before the first, to the stage that is ``to`` bytes behind the first."""
    begins, to_r = rows.begins - back, to + R * (C + PAD) * 4
    load_tile_of_rows(rows.tile_y + to, series.discharge - back, rows.y, begins - G, end, INSIDE, C)
    load_tile_of_rows(rows.tile_y + to_r, series.runoff - back, rows.r, begins - rows.by_r, end, INSIDE, C)
    load_tile_of_rows(rows.tile_g + to, series.grad_discharge - back, rows.g, begins - rows.by_g, end, INSIDE, C)


@triton.jit
def _load_behind(own, rows, offset, time, end, C: tl.constexpr):
    """Begin to load the vector behind a tile of each lane's row, whose first vectors are at ``offset``, and at ``time``."""
    load_tile_of_rows((own + C * 4)[:, None], rows, (tl.min(offset, 1) + C)[:, None], time + C, end, False, 4)


@triton.jit
def _load_first(series, rows, lane, end, STAGE: tl.constexpr, G: tl.constexpr, C: tl.constexpr):
    """Begin to load all tiles but the last that there is room for, and what stands behind the first of them."""
    for s in tl.static_range(STAGES - 1):
        _load_tiles(series, rows, s * STAGE, s * C, end, False, G, C)
        if s == 0:  # later tiles find it at the beginning of the tile before
            _load_behind(rows.own_g, series.grad_discharge, rows.g, rows.begins - rows.by_g, end, C)
            _load_behind(rows.own_r, series.runoff, rows.r, rows.begins - rows.by_r, end, C)
        commit_copies(lane)


@triton.jit
def _wait_for_tile(rows, m, lane, STAGE: tl.constexpr, C: tl.constexpr):
    """Wait for tile ``m``, and put behind it what the tile before began with."""
    wait_copies(lane, STAGES - 2)
    if m > 0:
        stage, before = (m % STAGES) * STAGE, ((m + STAGES - 1) % STAGES) * STAGE
        move_four(rows.own_g + (stage + C * 4), rows.own_g + before)
        move_four(rows.own_r + (stage + C * 4), rows.own_r + before)
        wait_lanes(lane)  # the next tile comes there, by other lanes' copies


@triton.jit
def _store_tile(series, rows, m, end, whole, at_ends, lane, STAGE: tl.constexpr, C: tl.constexpr, mode: tl.constexpr):
    """Store the results of tile ``m``: of all lanes ``whole`` vectors, or what of them are steps of the series."""
    back, from_own = m * C, (m % STAGES) * STAGE + AHEAD * 4
    wait_lanes(lane)
    if whole:
        store_tile_of_rows(series.grad_runoff - back, rows.out, rows.tile_g + from_own, rows.begins, end, True, C)
    else:
        begins = rows.begins + rows.up - back
        store_tile_of_rows(series.grad_runoff - back, rows.out, rows.tile_g + from_own, begins, end, False, C)
        if not mode.aligned_result:
            if at_ends:
                store_parts(rows.row_out - back, rows.own_g + from_own, begins, end, C)


@triton.jit
def _first_y(series, place, time, active, end, G: tl.constexpr):
    """Discharge, which is y, of a lane's first group; the others' is what tributaries were looked at for a group before."""
    ys = ()
    for c in tl.static_range(G):
        ys = ys + (tl.load(series.discharge + (place + c), mask=active & (time + c < end), other=0.0),)
    return ys


@triton.jit
def _read_tile(rows, at, time, edge, end, N: tl.constexpr, G: tl.constexpr):
    """``N`` columns of the gradient of discharge, of runoff, and of discharge a group ahead; zeros outside of the series."""
    g = read_columns(rows.own_g + at + rows.by_g * 4, N, False)
    r = read_columns(rows.own_r + at + rows.by_r * 4, N, False)
    ahead = read_columns(rows.own_y + at, N, True)
    if edge:  # a tile may hold the ends of other rows, and of tiles before
        g = only_between(g, time, end, N)
        r = only_between(r, time, end, N)
        ahead = only_between(ahead, time - G, end, N)
    return g, r, ahead


@triton.jit
def _given_to_state(ends, near_end, time, end, N: tl.constexpr, mode: tl.constexpr):
    """What y and inflow are given by the final state."""
    to_y, to_inflow = zeros_of(N, tl.float32), zeros_of(N, tl.float32)
    if mode.state_out:
        if near_end:
            to_y = at_end(to_y, ends.grad_y, time, end, N)
            to_inflow = at_end(to_inflow, ends.grad_inflow, time, end, N)
    return to_y, to_inflow


@kernel
def adjoint_rows(
    series, mailbox, network, past, filter, start, grads,
    n_reaches, n_steps, grad_pitch, result_pitch, discharge_pitch, runoff_pitch, n_patches, n_batch, n_sources, width, n_lags,
    mode: tl.constexpr,
):  # fmt: skip
    """`xroute.engine.gpu.adjoint.adjoint_steps` without a trace, its rows moved through shared memory."""
    C: tl.constexpr = COLUMNS
    G: tl.constexpr = mode.group
    N: tl.constexpr = AT_ONCE
    UNITS: tl.constexpr = C // N
    STAGE: tl.constexpr = R * (2 * (C + PAD) + C + RESULT_PAD) * 4
    turn, member = take_ticket(mailbox.ticket, n_batch)
    patch = n_patches - 1 - turn
    lanes = lanes_up(network, patch, n_patches, mode.index_type)
    lane = lanes.lane
    n_places = n_patches * R
    ring = tl.max(open_rows(lane, STAGES * STAGE), 0)  # a number, which need not be made anew for each layout
    n_groups = (n_steps + G - 1) // G
    depth = tl.max(lanes.distance, 0)
    rest = 0 if mode.aligned_result else 1  # the first steps' result may want a tile of its own
    n_chunks = (n_groups + depth + rest + C // G - 1) // (C // G)
    row = (member * n_reaches).to(mode.index_type) + lanes.reach
    begin = n_groups * G - C
    first = begin + lanes.distance * G
    pitches = grad_pitch, result_pitch, discharge_pitch, runoff_pitch
    rows = _rows_of(series, row, first, lanes.active, ring, lane, pitches, G, C)
    _load_first(series, rows, lane, n_steps, STAGE, G, C)

    coefficients = coefficients_of(filter, lanes.place, n_places)
    ends = ends_of(start, grads, filter, lanes, member, n_reaches, n_lags, n_places, mode)
    links = links_of(network, patch)
    words = mailbox.words + member * n_sources * width
    last = rows.begins + (C - N)  # the first time of the last columns
    full = tl.min(lanes.active.to(tl.int32), 0) != 0  # no lane that only repeats another
    given = tl.max(lanes.source, 0) >= 0
    box = words + (tl.maximum(lanes.source, 0).to(mode.index_type) * width + (first + (C - N)))
    has_mail = (lanes.source >= 0).to(tl.int32)
    letter = words + (tl.maximum(lanes.row, 0).to(mode.index_type) * width + (first + (C - N)))
    sends = ((lanes.row >= 0) & lanes.active).to(tl.int32)
    tributaries = _tributaries_of(past, lanes.place, n_places, mode.index_type)
    more_past = links_of(past, patch)
    past_given = tl.max(tributaries.source, 0) >= 0
    of_member = series.discharge + (member * n_reaches).to(mode.index_type) * discharge_pitch
    past_box = of_member + (tl.maximum(tributaries.source, 0) * discharge_pitch + (first + (C - N)))
    has_past = (tributaries.source >= 0).to(tl.int32)
    mail_there = groups_inside(has_mail, last, n_steps, True, N, G)
    mail = peek_words(box, mail_there, N, G)
    was = peek_words(past_box, groups_inside(has_past, last, n_steps, True, N, G), N, G)

    zero = tl.zeros((R,), tl.float32)
    ys_now = _first_y(series, row * discharge_pitch + (first + (C - G)), first + (C - G), lanes.active, n_steps, G)
    later, first_lam, first_inflow = zero, zero, zero
    sums = Sums(zero, zero, zero, zero, zero)
    mu_below, old_outs = zeros_of(G, tl.float32), zeros_of(4, tl.float32)
    for b in range(n_chunks * UNITS):
        m = b // UNITS
        u = UNITS - 1 - (b - m * UNITS)
        stage = (m % STAGES) * STAGE
        by = b * N  # steps that have been gone back
        here = last - by
        near_end = by <= depth * G + N
        near_start = begin + (C - N - G) - by <= 0
        next_at_edge = (by <= depth * G) | (begin + (C - 2 * N) - by < 0)
        if u == UNITS - 1:
            _wait_for_tile(rows, m, lane, STAGE, C)
        joined, rs, ahead = _read_tile(rows, u * (N * 4) + stage, here, near_end | near_start, n_steps, N, G)
        if u == UNITS - 1:
            if m + STAGES - 1 < n_chunks:
                back = (m + STAGES - 1) * C
                to = ((m + STAGES - 1) % STAGES) * STAGE
                if full & (back >= begin + depth * G + C - n_steps) & (back <= begin - G):
                    _load_tiles(series, rows, to, back, n_steps, True, G, C)
                else:
                    _load_tiles(series, rows, to, back, n_steps, False, G, C)
            commit_copies(lane)
        to_y, to_inflow = _given_to_state(ends, near_end, here, n_steps, N, mode)
        if given:
            joined = add_weighted(joined, await_words(mail, box, mail_there, N, G), lanes.source_share, N)
            box -= N
            mail_there = groups_inside(has_mail, here - N, n_steps, next_at_edge, N, G)
            mail = peek_words(box, mail_there, N, G)
        if links.n > 0:
            joined = _join_more(joined, words, width, links, lane, here, n_steps, True, N, mode)
        inflows = zeros_of(N, tl.float32) if mode.lateral == INTERVAL else rs
        if past_given:
            values = of_words(was, N)
            if near_end:
                values = only_between(values, here, n_steps, N)
            inflows = add_weighted(inflows, values, tributaries.source_share, N)
            past_box -= N
            was = peek_words(past_box, groups_inside(has_past, here - N, n_steps, next_at_edge, N, G), N, G)
        if more_past.n > 0:
            inflows = _join_more(inflows, of_member, discharge_pitch, more_past, lane, here, n_steps, False, N, mode)
        out_at = rows.own_g + stage + (AHEAD * 4 - rows.up * 4)
        if mode.runoff_gradient and not mode.aligned_result:
            if u == UNITS - 1:
                write_some(out_at + C * 4, old_outs[0], old_outs[1], old_outs[2], old_outs[3])
        sent = groups_inside(sends, here, n_steps, near_end | near_start, N, G)
        for lo in tl.static_range(N - G, -1, -G):
            t = here + lo
            own = _inflow_again(inflows[lo : lo + G], ahead[lo : lo + G], tributaries, G)
            if near_start:  # before the start there is no inflow to differ from
                sums = _without_rise(sums, t == -G)
            lams, mus, qs, later, sums, _ = adjoint_group(
                Given(joined[lo : lo + G], to_y[lo : lo + G], to_inflow[lo : lo + G]), Past(own, ys_now, rs[lo : lo + G]),
                mu_below, later, sums, lanes, coefficients, t, (), mode, mode.state_out, False,
            )  # fmt: skip
            ys_now = ahead[lo : lo + G]
            if near_start:
                first_lam = tl.where(t == 0, later, first_lam)
                first_inflow = tl.where(t == 0, own[0], first_inflow)
            mu_below = mus
            post_group(letter + (lo - by), mus, sent[lo // G], G)
            if mode.runoff_gradient:
                outs = result_of(mus, qs, lams, coefficients.gain, mode.lateral, G)
                write_columns(out_at + (u * N + lo) * 4, outs, G, mode.aligned_result)
                old_outs = outs[:4]
        if mode.runoff_gradient:
            if u == 0:
                whole = full & (m * C >= begin + depth * G + C - n_steps + 4) & (m * C <= begin)
                at_ends = (m * C >= begin - 4) | (m * C <= depth * G + C)
                _store_tile(series, rows, m, n_steps, whole, at_ends, lane, STAGE, C, mode)
    finish(
        grads.filter + member * 4 * n_places + lanes.place, grads.first_state.outflow + member * n_reaches + lanes.reach,
        sums, first_lam, first_inflow, zero, ends, coefficients, lanes, n_places, mode,
    )  # fmt: skip
