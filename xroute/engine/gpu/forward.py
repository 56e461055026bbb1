"""Triton kernels of the forward run; see `xroute.engine.gpu` for how it works and what calls them.

`route_steps` takes a step of runoff as a step of routing; `xroute.engine.gpu.substeps` takes several a step. Both go through the
series in groups of steps: a lane gathers the inflow of a group from its tributaries, which are one group ahead, filters it, and
posts what other patches read.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, assignment"
from __future__ import annotations

from typing import Any, NamedTuple

import triton
import triton.language as tl

from xroute.engine.gpu.lanes import (
    HEAD,
    INTERVAL,
    NEVER,
    OUTLET,
    Lanes,
    R,
    along,
    await_post,
    before_end,
    coefficients_of,
    columns_between,
    columns_of,
    from_start,
    join_links,
    join_series,
    kernel,
    known_at,
    known_of,
    lags_of,
    links_of,
    load_tile,
    multiple_of_8,
    peek,
    post,
    read_links,
    slide,
    spread,
    state_of,
    take_ticket,
    tile_of,
    times,
    vector_times,
    window_of,
    zeros_of,
)
from xroute.engine.gpu.rows import read_columns, write_columns


class Link(NamedTuple):
    """One link whose mail is looked at a chunk of steps before it is needed: each lane's first time and place, whom it joins."""

    time: Any
    box: Any
    joins: Any
    weight: Any


class History(NamedTuple):
    """Inflow before the start and, to be stored, of the last steps: each lane's newest, and how many it has."""

    first: Any
    final: Any
    n_lags: Any


@triton.jit
def lanes_down(network, patch, n_patches, INDEX: tl.constexpr):
    """The reaches of a patch."""
    lane = tl.arange(0, R)
    place = patch * R + lane
    n_places = n_patches * R
    reach = tl.load(network.places + place).to(INDEX)
    lag = tl.load(network.places + n_places + place)
    tributary = (tl.load(network.places + 2 * n_places + place), tl.load(network.places + 3 * n_places + place))
    row = tl.load(network.places + 4 * n_places + place)
    active = tl.load(network.places + 5 * n_places + place) == 0
    share = (tl.load(network.shares + place), tl.load(network.shares + n_places + place))
    return Lanes(reach, lag, tributary, row, active, share, lane, place)


@triton.jit
def gather_group(joined, q, lanes, mode: tl.constexpr):
    """Inflow of a group of steps: what joins from outside, and from the tributaries, which are one group ahead.

    A lane without tributaries is given its own discharge times 0, and so its own NaN, where a pole keeps that in any case.
    """
    G: tl.constexpr = mode.group
    inflows = ()
    first, second = lanes.tributary
    share = lanes.share
    for c in tl.static_range(G):
        inflow = joined[c] + share[0] * tl.gather(q[c], first, 0) + share[1] * tl.gather(q[c], second, 0)
        if mode.has_pole and mode.n_taps < 3 and mode.lateral != OUTLET:
            inflows = inflows + (inflow,)
        else:
            inflows = inflows + (tl.where(share[0] != 0, inflow, joined[c]),)
    return inflows


@triton.jit
def with_history(inflows, history, n_lags, time, GIVEN: tl.constexpr, G: tl.constexpr, ACC: tl.constexpr):
    """Put inflow of before the start, newest first in memory or zero, where a lane has not started."""
    changed = ()
    for c in tl.static_range(G):
        back = -1 - (time + c)
        old = tl.zeros((R,), ACC)
        if GIVEN:
            old = tl.load(history + back, mask=(back >= 0) & (back < n_lags), other=0.0).to(ACC)
        changed = changed + (tl.where(back >= 0, old, inflows[c]),)
    return changed


@triton.jit
def _group_of(rows, k, lane, mode: tl.constexpr):
    """Group ``k`` of each lane's ring, or of its taps: in shared memory, where they have room there, in a row of the lane."""
    G: tl.constexpr = mode.group
    if mode.near:
        return read_columns(rows + k * (G * 4), G, True)
    else:
        columns = ()
        for c in tl.static_range(G):
            columns = columns + (tl.load(rows + (k * G + c) * R + lane),)
        return columns


@triton.jit
def _window(current, window, j, lane, mode: tl.constexpr):
    """Response to taps beyond the first two: inflow of ``n_blocks`` groups before lies in a ring that only its lane uses."""
    G: tl.constexpr = mode.group
    total = zeros_of(G, mode.real_type)
    late = current
    slot = j % tl.maximum(window.n_blocks, 1)
    for block in range(window.n_blocks):
        slot = tl.where(slot == 0, window.n_blocks, slot) - 1
        early = _group_of(window.ring, slot, lane, mode)
        taps = _group_of(window.taps, block, lane, mode)
        for k in tl.static_range(G):
            more = ()
            for c in tl.static_range(G):
                if c >= k:
                    more = more + (total[c] + taps[k] * late[c - k],)
                else:
                    more = more + (total[c] + taps[k] * early[G + c - k],)
            total = more
        late = early
    return total


@triton.jit
def keep_window(columns, window, j, lane, mode: tl.constexpr):
    """Put a group into the ring of the last ``n_blocks``, in place of the oldest."""
    G: tl.constexpr = mode.group
    if window.n_blocks > 0:
        slot = j % window.n_blocks
        if mode.near:
            write_columns(window.ring + slot * (G * 4), columns, G, True)
        else:
            for c in tl.static_range(G):
                tl.store(window.ring + (slot * G + c) * R + lane, columns[c])


@triton.jit
def _save_history(inflows, history, time, end, active, G: tl.constexpr):
    """Inflow of the last steps, newest first."""
    for c in tl.static_range(G):
        back = end - 1 - (time + c)
        tl.store(history.final + back, inflows[c], mask=active & (back >= 0) & (back < history.n_lags))


@triton.jit
def fill_window(window, history, lanes, end, mode: tl.constexpr):
    """Put inflow of before the start into the ring; what of it a short series leaves in the history is stored at once."""
    G: tl.constexpr = mode.group
    for block in range(window.n_blocks):
        time = (-1 - block - lanes.lag) * G
        nothing = zeros_of(G, mode.real_type)
        past = with_history(nothing, history.first, history.n_lags, time, mode.state_in, G, mode.real_type)
        keep_window(past, window, window.n_blocks - 1 - block, lanes.lane, mode)
        if mode.state_out:
            if window.n_blocks * G >= end:
                _save_history(past, history, time, end, lanes.active, G)


@triton.jit
def through_window(inflows, window, history, lanes, j, time, end, mode: tl.constexpr):
    """Inflow, with that of before the start, and the response to taps beyond the first two; both are kept for later."""
    G: tl.constexpr = mode.group
    if j <= tl.max(lanes.lag, 0):
        inflows = with_history(inflows, history.first, history.n_lags, time, mode.state_in, G, mode.real_type)
    extra = _window(inflows, window, j, lanes.lane, mode)
    keep_window(inflows, window, j, lanes.lane, mode)
    if mode.state_out:
        if (j + 1 + window.n_blocks) * G >= end:
            _save_history(inflows, history, time, end, lanes.active, G)
    return inflows, extra


@triton.jit
def filter_group(r, inflows, extra, y, before, coefficients, mode: tl.constexpr):
    """Filter a group of steps: discharge, y, and the state after it.

    The recurrence adds to y what the step changes, ``c0 (I - I') + (c0 + c1) I' - (1 - pole) y``, so that rounding of
    the coefficients cannot make or lose water, however slow the reach.
    """
    G: tl.constexpr = mode.group
    out = ()
    ys = ()
    for c in tl.static_range(G):
        inflow = inflows[c]
        if mode.n_taps == 1:
            drive = coefficients.c0 * inflow
        else:
            drive = coefficients.c0 * (inflow - before) + coefficients.c01 * before
        if mode.n_taps > 2:
            drive += extra[c]
        if mode.lateral == INTERVAL:
            drive += coefficients.gain * r[c]
        if mode.has_pole:
            y += drive - coefficients.one_minus_pole * y
        else:
            y = drive
        before = inflow
        ys = ys + (y,)
        if mode.lateral == OUTLET:
            out = out + (y + r[c],)
        else:
            out = out + (y,)
    return out, ys, y, before


@triton.jit
def keep_trace(trace, r, inflows, ys, LATERAL: tl.constexpr, CHANNELS: tl.constexpr, G: tl.constexpr):
    """Inflow (with interval runoff) (and y) of a group, for the adjoint: rows of lanes, in the order of the program."""
    for c in tl.static_range(G):
        tl.store(trace + c * CHANNELS * R, inflows[c])
        if LATERAL == INTERVAL:
            tl.store(trace + (c * CHANNELS + 1) * R, r[c])
        if CHANNELS == (3 if LATERAL == INTERVAL else 2):
            tl.store(trace + (c * CHANNELS + CHANNELS - 1) * R, ys[c])


@triton.jit
def take_known(q, known, time, end, G: tl.constexpr):
    """Discharge of a group of steps, each a routing step, with what is known in its place."""
    taken = ()
    for c in tl.static_range(G):
        value, there = known_at(known, time + c, end)
        taken = taken + (tl.where(there, value, q[c]),)
    return taken


# ── the first two links, whose mail is fetched ahead ────────────────────────────────────────────────────────────────────


@triton.jit
def link_ahead(words, width, links, k, lane, N: tl.constexpr, mode: tl.constexpr):
    """Link ``k`` of a patch, with ``N`` columns a chunk; where there is none it has no time."""
    row, to, lag, weight = read_links(links, links.first, links.n, lane, mode.group)
    time = tl.where((links.n > k) & (lane < N), lane - spread(lag, k, lane), NEVER)
    box = words + spread(row, k, lane).to(mode.index_type) * width + time
    return Link(time, box, spread(to, k, lane) == lane, spread(weight, k, lane))


@triton.jit
def peek_link(link, by, end):
    """What may have been posted for the chunk that begins ``by`` steps after the first."""
    now = link.time + by
    return peek(link.box + by, (now >= 0) & (now < end))


@triton.jit
def join_link(joined, mail, link, by, end, lane, N: tl.constexpr, ACC: tl.constexpr):
    """Join a chunk of a link, and look at the next one."""
    now = link.time + by
    here = await_post(mail, link.box + by, (now >= 0) & (now < end), ACC)
    return join_series(joined, here, link.weight, link.joins, lane, N), peek_link(link, by + N, end)


# ── kernels ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@kernel
def route_steps(
    series, mailbox, network, filter, start, end, trace,
    n_reaches, n_steps, runoff_pitch, discharge_pitch, n_patches, n_batch, n_sources, width, ring_size, n_lags, trace_size,
    n_known, known_pitch, mode: tl.constexpr,
):  # fmt: skip
    """Route a patch through all of a series, a tile of ``C`` steps at a time in groups of ``G``."""
    C: tl.constexpr = 1 << mode.log_columns
    G: tl.constexpr = mode.group
    ACC: tl.constexpr = mode.real_type
    patch, member = take_ticket(mailbox.ticket, n_batch)
    lanes = lanes_down(network, patch, n_patches, mode.index_type)
    lane = lanes.lane
    n_places = n_patches * R
    coefficients = coefficients_of(filter, lanes.place, n_places)
    factor = coefficients.c0
    if mode.scaled:
        factor = tl.load(series.scale + lanes.reach)
    links = links_of(network, patch)
    depth = tl.max(lanes.lag, 0) * G
    n_chunks = (n_steps + depth + C - 1) // C

    # rows of runoff, from the first multiple of 8 elements on: that is `by` steps after the lane's own first step
    row = (member * n_reaches).to(mode.index_type) + lanes.reach
    raw = row * runoff_pitch - lanes.lag * G
    aligned = multiple_of_8(raw, True)
    by = (aligned - raw).to(tl.int32)
    first_time = tl.where(lanes.active, -lanes.lag * G, NEVER)
    offset = along(aligned, C)
    time = vector_times(first_time + by, C)
    tile = load_tile(series.runoff + offset, time, n_steps)
    to_offset = along((row * (discharge_pitch // 4) - lanes.lag * (G // 4)) * 4, C)
    to_time = vector_times(first_time, C)
    old = zeros_of(8, ACC)
    if not mode.aligned:
        few = load_tile(along(series.runoff + (aligned - 8), 8), vector_times(first_time + by - 8, 8), n_steps)
        old = columns_of(few.to(ACC), 3)
    words = mailbox.words + member * n_sources * width
    letter = lanes.row.to(mode.index_type) * width
    link1 = link_ahead(words, width, links, 0, lane, C, mode)
    link2 = link_ahead(words, width, links, 1, lane, C, mode)
    mail1 = peek_link(link1, 0, n_steps)
    mail2 = peek_link(link2, 0, n_steps)

    y = tl.zeros((R,), ACC)
    inflow = y
    y0 = y
    inflow0 = y
    first_lag, lags = lags_of(filter, lanes.place, n_places, member, n_lags, mode)
    history = History(start.history + first_lag, end.history + first_lag, lags)
    if mode.state_in:
        y0, inflow0 = state_of(start.outflow + member * n_reaches + lanes.reach, history.first, lags, mode)
    window = window_of(filter, patch, member, n_patches, ring_size, mode)
    if mode.n_taps > 2:
        fill_window(window, history, lanes, n_steps, mode)
    rows = trace.rows
    if mode.keep_trace:
        rows += member * trace_size + tl.load(trace.start + patch) + lane
    # y is discharge, or a channel of its own where runoff joins below or discharge is known
    CHANNELS: tl.constexpr = (2 if mode.lateral == INTERVAL else 1) + (1 if mode.lateral == OUTLET or mode.known else 0)
    known = known_of(series.known, lanes, member, n_known, known_pitch, mode)
    last_y = y
    last_inflow = y
    q = zeros_of(G, ACC)
    for m in range(n_chunks):
        r = columns_of(tile.to(ACC), mode.log_columns)
        if not mode.aligned:
            recent = columns_between(r, C - 8, C)
            r = slide(old[1:] + r, 7 - by, C)
            old = recent
            if m * C < depth:
                r = from_start(r, first_time + m * C, C)
            if mode.keep_trace:
                if (m + 1) * C > n_steps:  # a tile may reach into the next row, which must not get into the trace
                    r = before_end(r, first_time + m * C, n_steps, C)
        if mode.scaled:
            r = times(r, factor, C)
        joined = r
        if mode.lateral != HEAD:
            joined = zeros_of(C, ACC)
        tile = load_tile(series.runoff + (m + 1) * C + offset, time + (m + 1) * C, n_steps)
        if links.n > 0:
            joined, mail1 = join_link(joined, mail1, link1, m * C, n_steps, lane, C, ACC)
        if links.n > 1:
            joined, mail2 = join_link(joined, mail2, link2, m * C, n_steps, lane, C, ACC)
        if links.n > 2:
            joined = join_links(joined, words, width, links, 2, m * C, n_steps, lane, C, True, mode)
        outs = ()
        for k in tl.static_range(C // G):
            j = m * (C // G) + k
            here = first_time + j * G
            y = tl.where(j == lanes.lag, y0, y)
            inflow = tl.where(j == lanes.lag, inflow0, inflow)
            inflows = gather_group(joined[k * G : (k + 1) * G], q, lanes, mode)
            extra = inflows
            if mode.n_taps > 2:
                inflows, extra = through_window(inflows, window, history, lanes, j, here, n_steps, mode)
            q, ys, y, inflow = filter_group(r[k * G : (k + 1) * G], inflows, extra, y, inflow, coefficients, mode)
            if mode.state_out:
                ends = here == n_steps - 1 - mode.last
                last_y = tl.where(ends, ys[mode.last], last_y)
                last_inflow = tl.where(ends, inflows[mode.last], last_inflow)
            if mode.keep_trace:
                at = rows + j * (G * CHANNELS * R)
                keep_trace(at, r[k * G : (k + 1) * G], inflows, ys, mode.lateral, CHANNELS, G)
            if mode.known:
                q = take_known(q, known, here, n_steps, G)
            post(words + letter + here, q, (lanes.row >= 0) & (here >= 0) & (here < n_steps), G, ACC)
            outs = outs + q
        then = to_time + m * C
        tl.store(
            series.discharge + m * C + to_offset, tile_of(outs, mode.log_columns), mask=(then >= 0) & (then < n_steps)
        )
    if mode.state_out:
        tl.store(end.outflow + member * n_reaches + lanes.reach, last_y, mask=lanes.active)
        if mode.n_taps == 2:
            tl.store(history.final, last_inflow, mask=lanes.active & (lags > 0))
