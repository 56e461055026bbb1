r"""Triton kernels of the adjoint; see `xroute.engine.cpu.adjoint` for the formulas and `xroute.engine.gpu` for what calls them.

Patches are taken last to first, time runs backward, and a reach lags the one that it drains to by a group of steps. What
comes from another patch comes to the root of a branch; the first such series of each root is read as a tile, the others,
where rivers divide, one by one. Inflow of the forward run comes from a trace, rows of lanes as the forward kernels left
them, and y from its discharge, or from the trace where that is not y.

What filters pass on adds up to what they get: their coefficients sum to 1, and gradients with respect to k, x, tau, ... are
small differences of the coefficients' own. So with up to two taps the sums are of differences, in float32 too:

    e0 = sum_t lam[t+1] (I[t+1] - I[t])     e1 = sum_t lam[t+1] (I[t] - y[t])     dp = sum_t lam[t+1] y[t]

from t = -1 on, and the gradients e0 + e1 + dp of c0, e1 + dp of c1, and dp of the pole, are made of them in float64.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, assignment"
from __future__ import annotations

from typing import Any, NamedTuple

import triton
import triton.language as tl

from xroute.engine.gpu.forward import keep_window, with_history
from xroute.engine.gpu.lanes import (
    HEAD,
    INTERVAL,
    NEVER,
    OUTLET,
    LanesUp,
    R,
    add_weighted,
    along,
    await_post,
    coefficients_of,
    columns_between,
    columns_of,
    join_links,
    kernel,
    known_at,
    known_of,
    lags_of,
    links_of,
    load_inside,
    load_tile,
    multiple_of_8,
    only_between,
    peek,
    post,
    slide,
    state_of,
    take_ticket,
    tile_of,
    times,
    vector_times,
    window_of,
    zeros_of,
)


class Given(NamedTuple):
    """Columns of what discharge, y and inflow are given from outside."""

    discharge: Any
    y: Any
    inflow: Any


class Past(NamedTuple):
    """Columns of the forward run."""

    inflow: Any
    y: Any
    runoff: Any


class Ends(NamedTuple):
    """Of each lane, y and the newest inflow before the start, the gradients with respect to those at the end, and its lags.

    ``history``, ``final_history`` and ``to_history`` are where its lags at the start, the gradients of those at the end, and
    the gradients of those at the start stand.
    """

    y: Any
    inflow: Any
    grad_y: Any
    grad_inflow: Any
    n_lags: Any
    history: Any
    final_history: Any
    to_history: Any


class Sums(NamedTuple):
    """Sums for the filter, over time: for the first two taps, pole and gain; and the inflow one step on."""

    first: Any
    second: Any
    pole: Any
    gain: Any
    inflow_on: Any


@triton.jit
def lanes_up(network, patch, n_patches, INDEX: tl.constexpr):
    """The reaches of a patch."""
    lane = tl.arange(0, R)
    place = patch * R + lane
    n_places = n_patches * R
    reach = tl.load(network.places + place).to(INDEX)
    distance = tl.load(network.places + n_places + place)
    parent = tl.load(network.places + 2 * n_places + place)
    row = tl.load(network.places + 3 * n_places + place)
    active = tl.load(network.places + 4 * n_places + place) == 0
    lag = tl.load(network.places + 5 * n_places + place)
    source = tl.load(network.places + 6 * n_places + place)
    share = tl.load(network.shares + place)
    source_share = tl.load(network.shares + n_places + place)
    return LanesUp(reach, distance, parent, row, active, lag, source, share, source_share, lane, place)


@triton.jit
def ends_of(start, grads, filter, lanes, member, n_reaches, n_lags, n_places, mode: tl.constexpr):
    """What is known of the two ends of the series."""
    y = tl.zeros((R,), mode.real_type)
    inflow = y
    grad_y = y
    grad_inflow = y
    first, lags = lags_of(filter, lanes.place, n_places, member, n_lags, mode)
    history = start.history + first
    final_history = grads.final_state.history + first
    if mode.state_in:
        y, inflow = state_of(start.outflow + member * n_reaches + lanes.reach, history, lags, mode)
    if mode.state_out:
        grad_y = tl.load(grads.final_state.outflow + member * n_reaches + lanes.reach).to(mode.real_type)
        if mode.n_taps == 2:
            grad_inflow = tl.load(final_history, mask=lags > 0, other=0.0).to(mode.real_type)
    return Ends(y, inflow, grad_y, grad_inflow, lags, history, final_history, grads.first_state.history + first)


@triton.jit
def trace_rows(rows, time, end, mask, CHANNEL: tl.constexpr, CHANNELS: tl.constexpr, G: tl.constexpr, N: tl.constexpr):
    """``N`` columns of one channel of the trace; 0 in groups outside of the series."""
    columns = ()
    for c in tl.static_range(N):
        group = time + c // G * G
        inside = mask & (group >= 0) & (group < end)
        columns = columns + (tl.load(rows + (c * CHANNELS + CHANNEL) * R, mask=inside, other=0.0),)
    return columns


@triton.jit
def _known_group(known, time, end, mode: tl.constexpr):
    """Whether discharge is known, in each step of a group of routing steps."""
    G: tl.constexpr = mode.group
    columns = ()
    for c in tl.static_range(G):
        if mode.known:
            value, there = known_at(known, time + c, end)
            columns = columns + (there,)
        else:
            columns = columns + (known.has,)
    return columns


@triton.jit
def _store_known(known, columns, time, end, mode: tl.constexpr):
    """Store what comes to discharge that is known, of a group of routing steps that are steps."""
    G: tl.constexpr = mode.group
    if mode.known:
        for c in tl.static_range(G):
            tl.store(known.gradient + time + c, columns[c], mask=known.has & (time + c >= 0) & (time + c < end))


@triton.jit
def adjoint_group(
    given, past, mu_below, later, sums, lanes, coefficients, time, known, mode: tl.constexpr,
    MORE: tl.constexpr = True, STARTS: tl.constexpr = True,
):  # fmt: skip
    """A group of steps, last to first: adjoints of y, of inflow and of discharge, and the sums for the filter.

    ``mu_below`` is the adjoint of the inflow of the reach below, ``later`` that of y one step on. Where discharge is
    ``known``, all that comes to it is that of what is known, and given back beside them; nothing goes on to y. Only with
    ``MORE`` is anything but discharge given from outside, and only with ``STARTS`` need the first step of the series be
    looked for here.
    """
    of_known = ()
    lams = ()
    mus = ()
    qs = ()
    d0, d1, dp, dg, inflow_on = sums
    inside = time >= 0
    G: tl.constexpr = mode.group
    for c in tl.static_range(G - 1, -1, -1):
        inflow = past.inflow[c]
        # a root is given its own times 0, and so its own NaN, which it keeps in any case
        to_q = given.discharge[c] + lanes.share * tl.gather(mu_below[c], lanes.parent, 0)
        if mode.known:
            of_known = (tl.where(known[c], to_q, 0.0),) + of_known
            to_q = tl.where(known[c], 0.0, to_q)
        else:
            of_known = (to_q,) + of_known
        lam = to_q
        if MORE:
            lam += given.y[c]
        lam += later - coefficients.one_minus_pole * later
        if mode.n_taps > 2:  # windows reach back to before the start, where there is no y
            lam = tl.where(inside, lam, 0.0)
        mu = coefficients.c0 * lam
        if MORE:
            mu += given.inflow[c]
        if mode.n_taps > 1:
            mu += coefficients.c1 * later
        if mode.n_taps > 2:
            d0 += lam * inflow
            d1 += later * inflow
        else:
            before = inflow if mode.n_taps > 1 else past.y[c]
            rise = inflow_on - before
            if STARTS:
                rise = tl.where(inside, rise, 0.0)
            d0 += later * rise
            if mode.n_taps > 1:
                d1 += later * (inflow - past.y[c])
        inflow_on = inflow
        dp += later * past.y[c]
        if mode.lateral == INTERVAL:
            dg += lam * past.runoff[c]
        later = lam
        lams = (lam,) + lams
        mus = (mu,) + mus
        qs = (to_q,) + qs
    return lams, mus, qs, later, Sums(d0, d1, dp, dg, inflow_on), of_known


@triton.jit
def finish(to_filter, to_outflow, sums, lam, inflow, more, ends, coefficients, lanes, n_places, mode: tl.constexpr):
    """Store the sums for the filter, with the terms of the first step, and the gradient of the initial state.

    ``lam`` and ``inflow`` are those of the first step, ``more`` is what y before it is given from outside.
    """
    d0, d1, dp, dg, _ = sums
    if mode.n_taps == 1:
        d0 += lam * (inflow - ends.y)
    if mode.n_taps == 2:  # longer windows have gone on to the time before the start
        d0 += lam * (inflow - ends.inflow)
        d1 += lam * (ends.inflow - ends.y)
    tl.store(to_filter, d0)
    tl.store(to_filter + n_places, d1)
    tl.store(to_filter + 2 * n_places, dp + lam * ends.y)
    tl.store(to_filter + 3 * n_places, dg)
    tl.store(to_outflow, lam - coefficients.one_minus_pole * lam + more, mask=lanes.active)
    if mode.n_taps == 2:
        tl.store(ends.to_history, coefficients.c1 * lam, mask=lanes.active & (ends.n_lags > 0))


@triton.jit
def at_end(columns, value, time, end, N: tl.constexpr):
    """Columns with ``value`` added in the last step of the series."""
    changed = ()
    for c in tl.static_range(N):
        changed = changed + (columns[c] + tl.where(time + c == end - 1, value, 0.0),)
    return changed


# ── windows ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@triton.jit
def clear_window(window, grad_taps, lane, mode: tl.constexpr):
    """Zeros in the ring and in the gradient of the taps."""
    zero = tl.zeros((R,), mode.real_type)
    for slot in range(window.n_blocks * mode.group):
        tl.store(window.ring + slot * R + lane, zero)
        tl.store(grad_taps + slot * R + lane, zero)


@triton.jit
def _window_back(current, inflows, window, grad_taps, j, lane, G: tl.constexpr, ACC: tl.constexpr):
    """Adjoint of inflow through taps beyond the first two; adds to their gradient. The ring holds later adjoints of y."""
    total = zeros_of(G, ACC)
    near = current
    for block in range(window.n_blocks):
        far = ()
        slot = (j + 2 * window.n_blocks - 1 - block) % window.n_blocks
        for c in tl.static_range(G):
            far = far + (tl.load(window.ring + (slot * G + c) * R + lane),)
        for k in tl.static_range(G):
            at = (block * G + k) * R + lane
            tap = tl.load(window.taps + at)
            grad = tl.load(grad_taps + at)
            more = ()
            for c in tl.static_range(G):
                if c + k < G:
                    value = near[c + k]
                else:
                    value = far[c + k - G]
                more = more + (total[c] + tap * value,)
                grad += value * inflows[c]
            total = more
            tl.store(grad_taps + at, grad)
        near = far
    return total


@triton.jit
def through_window(mus, lams, inflows, window, grad_taps, ends, j, time, end, lanes, mode: tl.constexpr):
    """Adjoint of a group's inflow, with what it does through taps beyond the first two; the adjoint of y is kept for that."""
    total = _window_back(lams, inflows, window, grad_taps, j, lanes.lane, mode.group, mode.real_type)
    keep_window(lams, window, j, lanes.lane, mode)
    return _with_window(mus, total, ends, time, end, lanes.active, mode)


@triton.jit
def _with_window(mus, total, ends, time, end, active, mode: tl.constexpr):
    """Add the window's part and the final state's; before the start, what is left is the initial state's."""
    G: tl.constexpr = mode.group
    changed = ()
    for c in tl.static_range(G):
        mu = mus[c] + total[c]
        if mode.state_out:
            back = end - 1 - (time + c)
            mu += tl.load(ends.final_history + back, mask=active & (back >= 0) & (back < ends.n_lags), other=0.0)
        back = -1 - (time + c)
        tl.store(ends.to_history + back, mu, mask=active & (back >= 0) & (back < ends.n_lags))
        changed = changed + (mu,)
    return changed


# ── a step of runoff a routing step ─────────────────────────────────────────────────────────────────────────────────────


@triton.jit
def _store_rest(result, columns, up, time, end):
    """Store the first columns of all, which no chunk before them has taken along."""
    rest = (tl.arange(0, 8)[None, :] < up[:, None]) & (time >= 0) & (time < end)
    tl.store(result, tile_of(columns, 3), mask=rest)


@triton.jit
def _from_outside(g, ends, near_end, near_start, time, end, mode: tl.constexpr):
    """What a chunk of steps is given: the gradient of its discharge, and where the series ends that of the final state."""
    C: tl.constexpr = 1 << mode.log_columns
    nothing = zeros_of(C, mode.real_type)
    to_y = nothing
    to_inflow = nothing
    if near_end | near_start:  # a tile may reach into the rows before and behind
        g = only_between(g, time, end, C)
    if mode.state_out:
        if near_end:
            to_y = at_end(nothing, ends.grad_y, time, end, C)
            to_inflow = at_end(nothing, ends.grad_inflow, time, end, C)
    return Given(g, to_y, to_inflow)


@triton.jit
def _join_source(joined, mail, source, time, m, share, end, mode: tl.constexpr):
    """Join a chunk of the first series from outside of each root, and look at the next one."""
    C: tl.constexpr = 1 << mode.log_columns
    now = time - m * C
    values = await_post(mail, source - m * C, (now >= 0) & (now < end), mode.real_type)
    joined = add_weighted(joined, columns_of(values, mode.log_columns), share, C)
    return joined, peek(source - (m + 1) * C, (now - C >= 0) & (now - C < end))


@triton.jit
def _result_tiles(row, pitch, first, group_offset, begins, by, mode: tl.constexpr):
    """Where the first tile of the result stands, its vectors' times, and by how many steps it is later than the columns."""
    C: tl.constexpr = 1 << mode.log_columns
    if mode.aligned_result:
        return along((row * (pitch // 4) + group_offset) * 4, C), vector_times(begins, C), by
    else:  # columns are slid to the first multiple of 8 elements from the chunk's begin on
        raw = row * pitch + first
        aligned = multiple_of_8(raw, True)
        up = (aligned - raw).to(tl.int32)
        return along(aligned, C), vector_times(begins + up, C), up


@triton.jit
def result_of(mus, qs, lams, gain, LATERAL: tl.constexpr, G: tl.constexpr):
    """Gradient of a group's runoff."""
    if LATERAL == HEAD:
        return mus
    elif LATERAL == OUTLET:
        return qs
    else:
        return times(lams, gain, G)


@triton.jit
def _store_slid(result, outs, later_outs, up, then, end, at_ends, mode: tl.constexpr):
    """Store columns slid ``up`` by some steps, so that vectors stand where memory has them."""
    C: tl.constexpr = 1 << mode.log_columns
    tile = tile_of(slide(outs + later_outs, up, C), mode.log_columns)
    tl.store(result, tile, mask=(then >= 0) & (then + 3 < end))
    if at_ends:
        _store_ends(result, tile, then, end, C)


@triton.jit
def _store_ends(rows, tile, then, end, N: tl.constexpr):
    """Store the parts of those vectors of a tile that reach beyond the ends of their rows."""
    exact = then + (tl.arange(0, N) % 4)[None, :]
    parts = ((then < 0) | (then + 3 >= end)) & (exact >= 0) & (exact < end)
    tl.store(rows, tile, mask=parts)


@kernel
def adjoint_steps(
    series, mailbox, network, filter, start, grads, trace,
    n_reaches, n_steps, grad_pitch, result_pitch, discharge_pitch, n_patches, n_batch, n_sources, width, ring_size, n_lags,
    trace_size, n_known, known_pitch, mode: tl.constexpr,
):  # fmt: skip
    """Adjoint of `xroute.engine.gpu.forward.route_steps`."""
    C: tl.constexpr = 1 << mode.log_columns
    G: tl.constexpr = mode.group
    ACC: tl.constexpr = mode.real_type
    GROUPS: tl.constexpr = C // G
    CHANNELS: tl.constexpr = (2 if mode.lateral == INTERVAL else 1) + (1 if mode.lateral == OUTLET or mode.known else 0)
    turn, member = take_ticket(mailbox.ticket, n_batch)
    patch = n_patches - 1 - turn
    lanes = lanes_up(network, patch, n_patches, mode.index_type)
    lane = lanes.lane
    n_places = n_patches * R
    coefficients = coefficients_of(filter, lanes.place, n_places)
    links = links_of(network, patch)
    n_groups = (n_steps + G - 1) // G
    zero = tl.zeros((R,), ACC)
    ends = ends_of(start, grads, filter, lanes, member, n_reaches, n_lags, n_places, mode)
    window = window_of(filter, patch, member, n_patches, ring_size, mode)
    grad_taps = grads.taps + window.at
    if mode.n_taps > 2:
        clear_window(window, grad_taps, lane, mode)
    n_chunks = (n_groups + tl.max(lanes.distance, 0) + window.n_blocks + GROUPS - 1) // GROUPS

    # the tile of chunk m begins m chunks before `first`; in memory at the multiple of 8 elements `by` steps earlier
    row = (member * n_reaches).to(mode.index_type) + lanes.reach
    first = (n_groups - GROUPS + lanes.distance) * G
    raw = row * grad_pitch + first
    aligned = multiple_of_8(raw, False)
    by = (raw - aligned).to(tl.int32)
    begins = tl.where(lanes.active, first, NEVER)
    offset = along(aligned, C)
    time = vector_times(begins - by, C)
    tile = load_tile(series.grad_discharge + offset, time, n_steps)
    group_offset = (n_groups - GROUPS + lanes.distance) * (G // 4)
    vector_time = vector_times(begins, C)
    to_offset, to_time, up = _result_tiles(row, result_pitch, first, group_offset, begins, by, mode)
    if mode.lateral != OUTLET and not mode.known:
        y_offset = along((row * (discharge_pitch // 4) + group_offset) * 4, C)
        y_tile = load_inside(series.discharge + y_offset, vector_time, n_steps)
    old = zeros_of(8, ACC)
    if not mode.aligned:
        few = load_tile(along(series.grad_discharge + (aligned + C), 8), vector_times(begins - by + C, 8), n_steps)
        old = columns_of(few.to(ACC), 3)
    words = mailbox.words + member * n_sources * width
    letter = lanes.row.to(mode.index_type) * width
    begin = (n_groups - GROUPS) * G
    given = tl.max(lanes.source, 0) >= 0
    source = along(words + (lanes.source.to(mode.index_type) * (width // 4) + (n_groups - GROUPS) * (G // 4)) * 4, C)
    source_time = vector_times(tl.where(lanes.source >= 0, begin, NEVER), C)
    mail = peek(source, (source_time >= 0) & (source_time < n_steps))

    first_row = (first + lanes.lag * G).to(tl.int64) * (CHANNELS * R)
    rows = trace.rows + (member * trace_size + tl.load(trace.start + patch) + lane + first_row)
    next_inflows = trace_rows(rows, begins, n_steps, lanes.active, 0, CHANNELS, G, C)
    later, first_lam, first_inflow = zero, zero, zero
    sums = Sums(zero, zero, zero, zero, zero)
    known = known_of(series.known, lanes, member, n_known, known_pitch, mode)
    old_outs = zeros_of(8, ACC)
    mu_below = zeros_of(G, ACC)
    for m in range(n_chunks):
        g = columns_of(tile.to(ACC), mode.log_columns)
        if not mode.aligned:
            recent = columns_between(g, 0, 8)
            g = slide(g + old[:7], by, C)
            old = recent
        here = begins - m * C
        near_end = m * C <= tl.max(lanes.distance, 0) * G + C
        outside = _from_outside(g, ends, near_end, begin - m * C <= 0, here, n_steps, mode)
        joined = outside.discharge
        tile = load_tile(series.grad_discharge - (m + 1) * C + offset, time - (m + 1) * C, n_steps)
        inflows = next_inflows
        rs = inflows
        if mode.lateral == INTERVAL:
            rs = trace_rows(rows, here, n_steps, lanes.active, 1, CHANNELS, G, C)
        if mode.lateral == OUTLET or mode.known:
            ys = trace_rows(rows, here, n_steps, lanes.active, CHANNELS - 1, CHANNELS, G, C)
        else:
            ys = columns_of(y_tile.to(ACC), mode.log_columns)
            y_tile = load_inside(series.discharge - (m + 1) * C + y_offset, vector_time - (m + 1) * C, n_steps)
        rows -= C * CHANNELS * R
        next_inflows = trace_rows(rows, here - C, n_steps, lanes.active, 0, CHANNELS, G, C)
        if given:
            joined, mail = _join_source(joined, mail, source, source_time, m, lanes.source_share, n_steps, mode)
        if links.n > 0:
            joined = join_links(joined, words, width, links, 0, begin - m * C, n_steps, lane, C, False, mode)
        outs = ()
        for lo in tl.static_range(C - G, -1, -G):
            j = m * GROUPS + (C - G - lo) // G
            t = here + lo
            own = inflows[lo : lo + G]
            if mode.n_taps > 2 and mode.state_in:
                if (j + 1) >= n_groups:
                    own = with_history(own, ends.history, ends.n_lags, t, True, G, ACC)
            lams, mus, qs, later, sums, of_known = adjoint_group(
                Given(joined[lo : lo + G], outside.y[lo : lo + G], outside.inflow[lo : lo + G]),
                Past(own, ys[lo : lo + G], rs[lo : lo + G]), mu_below, later, sums, lanes, coefficients, t,
                _known_group(known, t, n_steps, mode), mode,
            )  # fmt: skip
            _store_known(known, of_known, t, n_steps, mode)
            first_lam = tl.where(t == 0, later, first_lam)
            first_inflow = tl.where(t == 0, own[0], first_inflow)
            if mode.n_taps > 2:
                mus = through_window(mus, lams, own, window, grad_taps, ends, j, t, n_steps, lanes, mode)
            mu_below = mus
            post(words + letter + t, mus, (lanes.row >= 0) & (t >= 0) & (t < n_steps), G, ACC)
            outs = result_of(mus, qs, lams, coefficients.gain, mode.lateral, G) + outs
        if mode.runoff_gradient:
            then = to_time - m * C
            result = series.grad_runoff - m * C + to_offset
            if mode.aligned_result:
                tl.store(result, tile_of(outs, mode.log_columns), mask=(then >= 0) & (then < n_steps))
            else:
                _store_slid(result, outs, old_outs[:7], up, then, n_steps, near_end | (begin - m * C < 8), mode)
                old_outs = columns_between(outs, 0, 8)
    if mode.runoff_gradient and not mode.aligned_result:
        back = (n_chunks - 1) * C
        few_offset = along(row * result_pitch + first - back, 8)
        _store_rest(series.grad_runoff + few_offset, old_outs, up, along(begins - back, 8), n_steps)
    finish(
        grads.filter + member * 4 * n_places + lanes.place, grads.first_state.outflow + member * n_reaches + lanes.reach,
        sums, first_lam, first_inflow, zero, ends, coefficients, lanes, n_places, mode,
    )  # fmt: skip
