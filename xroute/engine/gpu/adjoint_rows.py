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
    add_weighted,
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
STAGES = tl.constexpr(3)
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
def _load_behind(own, rows, offset, time, end, C: tl.constexpr):
    """Begin to load the vector behind a tile of each lane's row, whose window begins at ``offset`` and ``time``."""
    load_tile_of_rows((own + C * 4)[:, None], rows, (offset + C)[:, None], time + C, end, False, 4)


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
    ACC: tl.constexpr = tl.float32
    UNITS: tl.constexpr = C // N
    ROW: tl.constexpr = (C + PAD) * 4
    RESULT_ROW: tl.constexpr = (C + RESULT_PAD) * 4
    STAGE: tl.constexpr = R * (2 * ROW + RESULT_ROW)
    turn, member = take_ticket(mailbox.ticket, n_batch)
    patch = n_patches - 1 - turn
    lanes = lanes_up(network, patch, n_patches, mode.index_type)
    lane = lanes.lane
    n_places = n_patches * R
    ring = tl.max(open_rows(lane, STAGES * STAGE), 0)  # a number, which need not be made anew for each layout
    own_y = ring + lane * ROW
    own_r = own_y + R * ROW
    own_g = ring + 2 * R * ROW + lane * RESULT_ROW
    vector = tl.arange(0, C // 4) * 4
    tile_y = own_y[:, None] + (vector * 4)[None, :]
    tile_g = own_g[:, None] + (vector * 4)[None, :]
    n_groups = (n_steps + G - 1) // G
    depth = tl.max(lanes.distance, 0)
    rest = 0 if mode.aligned_result else 1  # the first steps' result may want a tile of its own
    n_chunks = (n_groups + depth + rest + C // G - 1) // (C // G)

    # rows from each lane's first tile on, and from the multiples of 4 elements `by` before; the result's begin `up` later
    row = (member * n_reaches).to(mode.index_type) + lanes.reach
    begin = n_groups * G - C
    first = begin + lanes.distance * G
    begins = tl.where(lanes.active, first, NEVER)
    at_g = row * grad_pitch + first
    by_g = (at_g & 3).to(tl.int32)
    offset_g = vectors_along(at_g - by_g, C)
    at_r = row * runoff_pitch + first
    by_r = (at_r & 3).to(tl.int32)
    offset_r = vectors_along(at_r - by_r, C)
    at_y = row * discharge_pitch + (first - G)
    offset_y = vectors_along(at_y, C)
    at_out = row * result_pitch + first
    up = (-at_out & 3).to(tl.int32)
    rows_out = series.grad_runoff + (at_out + up)
    offset_out = vectors_along(at_out + up, C)
    for s in tl.static_range(STAGES - 1):
        to, back = s * STAGE, s * C
        then = begins - back
        load_tile_of_rows(tile_y + to, series.discharge - back, offset_y, then - G, n_steps, False, C)
        load_tile_of_rows(tile_y + (to + R * ROW), series.runoff - back, offset_r, then - by_r, n_steps, False, C)
        load_tile_of_rows(tile_g + to, series.grad_discharge - back, offset_g, then - by_g, n_steps, False, C)
        if s == 0:  # what stands behind a tile is what the one after it begins with, but here
            _load_behind(own_g, series.grad_discharge, at_g - by_g, begins - by_g, n_steps, C)
            _load_behind(own_r, series.runoff, at_r - by_r, begins - by_r, n_steps, C)
        commit_copies(lane)

    coefficients = coefficients_of(filter, lanes.place, n_places)
    ends = ends_of(start, grads, filter, lanes, member, n_reaches, n_lags, n_places, mode)
    links = links_of(network, patch)
    words = mailbox.words + member * n_sources * width
    last = begins + (C - N)  # the first time of the last columns
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

    zero = tl.zeros((R,), ACC)
    ys_now = ()
    for c in tl.static_range(G):  # y of the first group; the others' is what tributaries were looked at for a group before
        there = begins + (C - G + c) < n_steps
        ys_now = ys_now + (tl.load(series.discharge + (at_y + C + c), mask=there & lanes.active, other=0.0),)
    later, first_lam, first_inflow = zero, zero, zero
    sums = Sums(zero, zero, zero, zero, zero)
    mu_below = zeros_of(G, ACC)
    old_outs = zeros_of(4, ACC)
    for b in range(n_chunks * UNITS):
        m = b // UNITS
        u = UNITS - 1 - (b - m * UNITS)
        stage = (m % STAGES) * STAGE
        by = b * N  # steps that have been gone back
        if u == UNITS - 1:
            wait_copies(lane, STAGES - 2)
            if m > 0:
                before = ((m + STAGES - 1) % STAGES) * STAGE
                move_four(own_g + (stage + C * 4), own_g + before)
                move_four(own_r + (stage + C * 4), own_r + before)
        at = u * (N * 4) + stage
        joined = read_columns(own_g + at + by_g * 4, N, False)
        rs = read_columns(own_r + at + by_r * 4, N, False)
        ahead = read_columns(own_y + at, N, True)
        here = last - by
        near_end = by <= depth * G + N
        near_start = begin + (C - N - G) - by <= 0
        next_at_edge = (by + N <= depth * G + N) | (begin + (C - 2 * N) - by < 0)
        if near_end | near_start:  # a tile may hold the ends of other rows, and of tiles before
            joined = only_between(joined, here, n_steps, N)
            rs = only_between(rs, here, n_steps, N)
            ahead = only_between(ahead, here - G, n_steps, N)
        if u == UNITS - 1:
            if m + STAGES - 1 < n_chunks:
                back = (m + STAGES - 1) * C
                to = ((m + STAGES - 1) % STAGES) * STAGE
                then = begins - back
                to_y, to_r, to_g = tile_y + to, tile_y + (to + R * ROW), tile_g + to
                of_y, of_r, of_g = series.discharge - back, series.runoff - back, series.grad_discharge - back
                if full & (back >= begin + depth * G + C - n_steps) & (back <= begin - G):
                    load_tile_of_rows(to_y, of_y, offset_y, then, n_steps, True, C)
                    load_tile_of_rows(to_r, of_r, offset_r, then, n_steps, True, C)
                    load_tile_of_rows(to_g, of_g, offset_g, then, n_steps, True, C)
                else:
                    load_tile_of_rows(to_y, of_y, offset_y, then - G, n_steps, False, C)
                    load_tile_of_rows(to_r, of_r, offset_r, then - by_r, n_steps, False, C)
                    load_tile_of_rows(to_g, of_g, offset_g, then - by_g, n_steps, False, C)
            commit_copies(lane)
        to_y, to_inflow = joined, joined
        if mode.state_out:
            to_y, to_inflow = zeros_of(N, ACC), zeros_of(N, ACC)
            if near_end:
                to_y = at_end(to_y, ends.grad_y, here, n_steps, N)
                to_inflow = at_end(to_inflow, ends.grad_inflow, here, n_steps, N)
        if given:
            joined = add_weighted(joined, await_words(mail, box, mail_there, N, G), lanes.source_share, N)
            box -= N
            mail_there = groups_inside(has_mail, here - N, n_steps, next_at_edge, N, G)
            mail = peek_words(box, mail_there, N, G)
        if links.n > 0:
            joined = _join_more(joined, words, width, links, lane, here, n_steps, True, N, mode)
        inflows = zeros_of(N, ACC) if mode.lateral == INTERVAL else rs
        if past_given:
            values = of_words(was, N)
            if near_end:
                values = only_between(values, here, n_steps, N)
            inflows = add_weighted(inflows, values, tributaries.source_share, N)
            past_box -= N
            was = peek_words(past_box, groups_inside(has_past, here - N, n_steps, next_at_edge, N, G), N, G)
        if more_past.n > 0:
            inflows = _join_more(
                inflows, of_member, discharge_pitch, more_past, lane, here, n_steps, False, N, mode
            )
        out_at = own_g + stage + (AHEAD * 4 - up * 4)
        if mode.runoff_gradient and not mode.aligned_result:
            if u == UNITS - 1:
                write_some(out_at + C * 4, old_outs[0], old_outs[1], old_outs[2], old_outs[3])
        sent = groups_inside(sends, here, n_steps, near_end | near_start, N, G)
        for lo in tl.static_range(N - G, -1, -G):
            t = here + lo
            now = ahead[lo : lo + G]
            own = _inflow_again(inflows[lo : lo + G], now, tributaries, G)
            if near_start:  # before the start there is no inflow to differ from
                sums = _without_rise(sums, t == -G)
            lams, mus, qs, later, sums, _ = adjoint_group(
                Given(joined[lo : lo + G], to_y[lo : lo + G], to_inflow[lo : lo + G]), Past(own, ys_now, rs[lo : lo + G]),
                mu_below, later, sums, lanes, coefficients, t, (), mode, mode.state_out, False,
            )  # fmt: skip
            ys_now = now
            if near_start:
                first_lam = tl.where(t == 0, later, first_lam)
                first_inflow = tl.where(t == 0, own[0], first_inflow)
            mu_below = mus
            post_group(letter + (lo - by), mus, sent[lo // G], G)
            if mode.runoff_gradient:
                old_outs = result_of(mus, qs, lams, coefficients.gain, mode.lateral, G)
                write_columns(out_at + (u * N + lo) * 4, old_outs, G, mode.aligned_result)
                old_outs = old_outs[:4]
        if mode.runoff_gradient:
            if u == 0:
                back = m * C
                source = tile_g + (stage + AHEAD * 4)
                wait_lanes(lane)
                result = series.grad_runoff - back
                if full & (back >= begin + depth * G + C - n_steps + 4) & (back <= begin):
                    store_tile_of_rows(result, offset_out, source, begins, n_steps, True, C)
                else:
                    store_tile_of_rows(result, offset_out, source, begins + up - back, n_steps, False, C)
                    if not mode.aligned_result:
                        store_parts(rows_out - back, own_g + (stage + AHEAD * 4), begins + up - back, n_steps, C)
    finish(
        grads.filter + member * 4 * n_places + lanes.place, grads.first_state.outflow + member * n_reaches + lanes.reach,
        sums, first_lam, first_inflow, zero, ends, coefficients, lanes, n_places, mode,
    )  # fmt: skip
