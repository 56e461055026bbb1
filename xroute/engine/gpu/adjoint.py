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

import triton
import triton.language as tl

from xroute.engine.gpu.forward import (
    HEAD,
    INTERVAL,
    LAST,
    MEAN,
    NEVER,
    OUTLET,
    START_MEAN,
    before_end,
    keep_window,
    with_history,
)
from xroute.engine.gpu.lanes import (
    R,
    await_post,
    columns_of,
    join_series,
    kernel,
    links_of,
    peek,
    post,
    slide,
    spread,
    tile_of,
    zeros_of,
)


@triton.jit
def _join_more(joined, mailbox, links, link_weight, first, n_links, begin, end, WIDTH, lane,
                G: tl.constexpr, N: tl.constexpr, INDEX: tl.constexpr, ACC: tl.constexpr):  # fmt: skip
    """Join links one by one; ``begin`` is the time of the first column in a lane at its root."""
    for k in range(n_links):
        number, to, distance, weight = links_of(links, link_weight, first + k, 1, lane, G)
        now = begin + spread(distance, 0, lane) + lane
        box = mailbox + spread(number, 0, lane).to(INDEX) * WIDTH + now
        inside = (now >= 0) & (now < end) & (lane < N)
        mail = await_post(peek(box, inside), box, inside, ACC)
        joined = join_series(joined, mail, spread(weight, 0, lane), spread(to, 0, lane) == lane, lane, N)
    return joined


@triton.jit
def _trace_rows(
    trace, time, end, mask, CHANNEL: tl.constexpr, CHANNELS: tl.constexpr, G: tl.constexpr, N: tl.constexpr
):
    """``N`` columns of one channel of the trace; 0 in groups outside of the series."""
    columns = ()
    for c in tl.static_range(N):
        group = time + c // G * G
        inside = mask & (group >= 0) & (group < end)
        columns = columns + (tl.load(trace + (c * CHANNELS + CHANNEL) * R, mask=inside, other=0.0),)
    return columns


@triton.jit
def _add_weighted(columns, more, weight, N: tl.constexpr):
    added = ()
    for c in tl.static_range(N):
        added = added + (columns[c] + weight * more[c],)
    return added


@triton.jit
def _adjoint_group(g, to_y, to_inflow, mu_below, inflows, ys, rs, later, sums, parent, share, c0, c1, loss, gain, time,
                   G: tl.constexpr, K: tl.constexpr, LATERAL: tl.constexpr):  # fmt: skip
    """A group of steps, last to first: adjoints of y, of inflow and of discharge, and the sums for the filter.

    ``g`` is what discharge is given from outside, ``to_y`` what y is, ``to_inflow`` what inflow is; ``later`` is the
    adjoint of y, and with the sums goes inflow, one step on.
    """
    lams = ()
    mus = ()
    qs = ()
    d0, d1, dp, dg, inflow_on = sums
    inside = time >= 0
    for c in tl.static_range(G - 1, -1, -1):
        to_q = g[c] + share * tl.where(share != 0, tl.gather(mu_below[c], parent, 0), 0.0)
        lam = to_q + to_y[c]
        lam += later - loss * later
        if K > 2:  # windows reach back to before the start, where there is no y
            lam = tl.where(time >= 0, lam, 0.0)
        mu = c0 * lam + to_inflow[c]
        if K > 1:
            mu += c1 * later
        if K > 2:
            d0 += lam * inflows[c]
            d1 += later * inflows[c]
        elif K > 1:
            d0 += later * tl.where(inside, inflow_on - inflows[c], 0.0)
            d1 += later * (inflows[c] - ys[c])
        else:
            d0 += later * tl.where(inside, inflow_on - ys[c], 0.0)
        inflow_on = inflows[c]
        dp += later * ys[c]
        if LATERAL == INTERVAL:
            dg += lam * rs[c]
        later = lam
        lams = (lam,) + lams
        mus = (mu,) + mus
        qs = (to_q,) + qs
    return lams, mus, qs, later, (d0, d1, dp, dg, inflow_on)


@triton.jit
def _finish(grad_filter, grad_outflow, grad_history, sums, first_lam, first_inflow, more, y0, inflow0, c1, loss, n_lags,
            there, n_places, K: tl.constexpr):  # fmt: skip
    """Store the sums for the filter, with the terms of the first step, and the gradient of the initial state."""
    d0, d1, dp, dg, _ = sums
    if K == 1:
        d0 += first_lam * (first_inflow - y0)
    if K == 2:  # longer windows have gone on to the time before the start
        d0 += first_lam * (first_inflow - inflow0)
        d1 += first_lam * (inflow0 - y0)
    tl.store(grad_filter, d0)
    tl.store(grad_filter + n_places, d1)
    tl.store(grad_filter + 2 * n_places, dp + first_lam * y0)
    tl.store(grad_filter + 3 * n_places, dg)
    tl.store(grad_outflow, first_lam - loss * first_lam + more, mask=there)
    if K == 2:
        tl.store(grad_history, c1 * first_lam, mask=there & (n_lags > 0))


@triton.jit
def _at_end(columns, value, time, end, N: tl.constexpr):
    """Columns with ``value`` added in the last step of the series."""
    changed = ()
    for c in tl.static_range(N):
        changed = changed + (columns[c] + tl.where(time + c == end - 1, value, 0.0),)
    return changed


@triton.jit
def _window_back(current, inflows, ring, taps, grad_taps, n_blocks, j, lane, G: tl.constexpr, ACC: tl.constexpr):
    """Adjoint of inflow through taps beyond the first two; adds to their gradient. The ring holds later adjoints of y."""
    total = zeros_of(G, ACC)
    near = current
    for block in range(n_blocks):
        far = ()
        slot = (j + 2 * n_blocks - 1 - block) % n_blocks
        for c in tl.static_range(G):
            far = far + (tl.load(ring + (slot * G + c) * R + lane),)
        for k in tl.static_range(G):
            at = (block * G + k) * R + lane
            tap = tl.load(taps + at)
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
def _with_window(mus, total, grad_final_history, grad_history, n_lags, time, end, mask,
                 FINAL: tl.constexpr, G: tl.constexpr):  # fmt: skip
    """Add the window's part and the final state's; before the start, what is left is the initial state's."""
    changed = ()
    for c in tl.static_range(G):
        mu = mus[c] + total[c]
        if FINAL:
            back = end - 1 - (time + c)
            mu += tl.load(grad_final_history + back, mask=mask & (back >= 0) & (back < n_lags), other=0.0)
        back = -1 - (time + c)
        tl.store(grad_history + back, mu, mask=mask & (back >= 0) & (back < n_lags))
        changed = changed + (mu,)
    return changed


@kernel
def adjoint_steps(
    grad, grad_runoff, mailbox, places, shares, coefficients, link_start, links, link_weight, ticket,
    outflow, history, grad_final_outflow, grad_final_history, grad_outflow, grad_history, first_lag,
    ring, ring_start, taps, grad_taps, grad_filter, trace, trace_start, discharge,
    n_reaches, T, G_PITCH, PITCH, Q_PITCH, n_patches, n_batch, n_sources, WIDTH, ring_size, n_lags_all, trace_size,
    LOG: tl.constexpr, LOGG: tl.constexpr, K: tl.constexpr, LATERAL: tl.constexpr,
    SLIDE: tl.constexpr, ALIGNED: tl.constexpr, STATE_IN: tl.constexpr, STATE_GRAD: tl.constexpr,
    RUNOFF: tl.constexpr, INDEX: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """Adjoint of `xroute.engine.gpu.forward.route_steps`."""
    C: tl.constexpr = 1 << LOG
    G: tl.constexpr = 1 << LOGG
    GROUPS: tl.constexpr = C // G
    CHANNELS: tl.constexpr = 1 if LATERAL == HEAD else 2
    taken = tl.atomic_add(ticket, 1)
    p = n_patches - 1 - taken // n_batch
    b = (taken % n_batch).to(tl.int64)
    lane = tl.arange(0, R)
    at = p * R + lane
    n_places = n_patches * R
    reach = tl.load(places + at).to(INDEX)
    distance = tl.load(places + n_places + at)
    parent = tl.load(places + 2 * n_places + at)
    kept = tl.load(places + 3 * n_places + at)
    there = tl.load(places + 4 * n_places + at) == 0
    lag = tl.load(places + 5 * n_places + at)
    given_by = tl.load(places + 6 * n_places + at)
    share = tl.load(shares + at)
    given_share = tl.load(shares + n_places + at)
    c0 = tl.load(coefficients + at)
    c1 = tl.load(coefficients + n_places + at) - c0
    loss = tl.load(coefficients + 2 * n_places + at)
    gain = tl.load(coefficients + 3 * n_places + at)
    first = tl.load(link_start + p)
    n_links = tl.load(link_start + p + 1) - first
    n_groups = (T + G - 1) // G
    zero = tl.zeros((R,), ACC)
    y0 = zero
    inflow0 = zero
    n_blocks = 0
    n_lags = lag * 0
    if K > 1:
        lags = tl.load(first_lag + at)
        n_lags = tl.load(first_lag + n_places + at).to(tl.int32)
        history += b * n_lags_all + lags
        grad_final_history += b * n_lags_all + lags
        grad_history += b * n_lags_all + lags
    if STATE_IN:
        y0 = tl.load(outflow + b * n_reaches + reach).to(ACC)
        if K > 1:
            inflow0 = tl.load(history, mask=n_lags > 0, other=0.0).to(ACC)
    grad_final = zero
    grad_last = zero
    if STATE_GRAD:
        grad_final = tl.load(grad_final_outflow + b * n_reaches + reach).to(ACC)
        if K == 2:
            grad_last = tl.load(grad_final_history, mask=n_lags > 0, other=0.0).to(ACC)
    if K > 2:
        n_blocks = tl.load(ring_start + n_patches + 1 + p)
        block0 = tl.load(ring_start + p).to(tl.int64) * R * G
        ring += b * ring_size + block0
        grad_taps += b * ring_size + block0
        taps += block0
        for slot in range(n_blocks * G):
            tl.store(ring + slot * R + lane, zero)
            tl.store(grad_taps + slot * R + lane, zero)
    n_chunks = (n_groups + tl.max(distance, 0) + n_blocks + GROUPS - 1) // GROUPS

    # the tile of chunk m begins m chunks before `start`; in memory at the multiple of 8 elements `by` steps earlier
    row = (b * n_reaches).to(INDEX) + reach
    start = (n_groups - GROUPS + distance) * G
    raw = row * G_PITCH + start
    aligned = (raw + 1024) // 8 - 128
    by = (raw - aligned * 8).to(tl.int32)
    begins = tl.where(there, start, NEVER)
    column = tl.arange(0, C)
    offset = (aligned * 8)[:, None] + column[None, :]
    time = (begins - by)[:, None] + ((column // 4) * 4)[None, :]
    tile = tl.load(grad + offset, mask=(time > -4) & (time < T), other=0.0)
    group_offset = (n_groups - GROUPS + distance) * (G // 4)
    vector_time = begins[:, None] + ((column // 4) * 4)[None, :]
    to_offset = ((row * (PITCH // 4) + group_offset) * 4)[:, None] + column[None, :]
    to_time = vector_time
    up = by
    if not ALIGNED:  # columns are slid to the first multiple of 8 elements from the chunk's begin on, `up` steps later
        to_raw = row * PITCH + start
        to_aligned = (to_raw + 1031) // 8 - 128
        up = (to_aligned * 8 - to_raw).to(tl.int32)
        to_offset = (to_aligned * 8)[:, None] + column[None, :]
        to_time = (begins + up)[:, None] + ((column // 4) * 4)[None, :]
    y_tile = tl.zeros((R, C), ACC)
    y_offset = to_offset
    if LATERAL != OUTLET:
        y_offset = ((row * (Q_PITCH // 4) + group_offset) * 4)[:, None] + column[None, :]
        y_tile = tl.load(discharge + y_offset, mask=(vector_time >= 0) & (vector_time < T), other=0.0)
    old = zeros_of(8, ACC)
    if SLIDE:
        few = tl.arange(0, 8)
        few_time = (begins - by + C)[:, None] + ((few // 4) * 4)[None, :]
        old = columns_of(
            tl.load(
                grad + (aligned * 8 + C)[:, None] + few[None, :], mask=(few_time > -4) & (few_time < T), other=0.0
            ).to(ACC),
            3,
        )
    mailbox += b * n_sources * WIDTH
    letter = kept.to(INDEX) * WIDTH
    begin = (n_groups - GROUPS) * G
    given = tl.max(given_by, 0) >= 0
    box = (
        mailbox + ((given_by.to(INDEX) * (WIDTH // 4) + (n_groups - GROUPS) * (G // 4)) * 4)[:, None] + column[None, :]
    )
    box_time = tl.where(given_by >= 0, begin, NEVER)[:, None] + ((column // 4) * 4)[None, :]
    mail = peek(box, (box_time >= 0) & (box_time < T))

    trace += b * trace_size + tl.load(trace_start + p) + lane + (start + lag * G).to(tl.int64) * (CHANNELS * R)
    next_inflows = _trace_rows(trace, begins, T, there, 0, CHANNELS, G, C)
    later = zero
    first_lam = zero
    first_inflow = zero
    sums = (zero, zero, zero, zero, zero)
    old_outs = zeros_of(8, ACC)
    mu_below = zeros_of(G, ACC)
    nothing = zeros_of(C, ACC)
    for m in range(n_chunks):
        g = columns_of(tile.to(ACC), LOG)
        if SLIDE:
            recent = ()
            for k in tl.static_range(8):
                recent = recent + (g[k],)
            g = slide(g + old[:7], by, C)
            old = recent
        here = begins - m * C
        to_y = nothing
        to_inflow = nothing
        if m * C <= tl.max(distance, 0) * G + C:  # near the end of the series: a tile may reach into the next row
            g = before_end(g, here, T, C)
            if STATE_GRAD:
                to_y = _at_end(nothing, grad_final, here, T, C)
                to_inflow = _at_end(nothing, grad_last, here, T, C)
        joined = g
        before = time - (m + 1) * C
        tile = tl.load(grad - (m + 1) * C + offset, mask=(before > -4) & (before < T), other=0.0)
        inflows = next_inflows
        rs = inflows
        ys = inflows
        if LATERAL == INTERVAL:
            rs = _trace_rows(trace, here, T, there, 1, CHANNELS, G, C)
        if LATERAL == OUTLET:
            ys = _trace_rows(trace, here, T, there, 1, CHANNELS, G, C)
        else:
            ys = columns_of(y_tile.to(ACC), LOG)
            earlier = vector_time - (m + 1) * C
            y_tile = tl.load(discharge - (m + 1) * C + y_offset, mask=(earlier >= 0) & (earlier < T), other=0.0)
        trace -= C * CHANNELS * R
        next_inflows = _trace_rows(trace, here - C, T, there, 0, CHANNELS, G, C)
        if given:
            now = box_time - m * C
            values = await_post(mail, box - m * C, (now >= 0) & (now < T), ACC)
            joined = _add_weighted(joined, columns_of(values, LOG), given_share, C)
            mail = peek(box - (m + 1) * C, (now - C >= 0) & (now - C < T))
        if n_links > 0:
            joined = _join_more(
                joined, mailbox, links, link_weight, first, n_links, begin - m * C, T, WIDTH, lane, G, C, INDEX, ACC
            )
        outs = ()
        for lo in tl.static_range(C - G, -1, -G):
            j = m * GROUPS + (C - G - lo) // G
            t = here + lo
            own = inflows[lo : lo + G]
            if K > 2 and STATE_IN:
                if (j + 1) >= n_groups:
                    own = with_history(own, history, n_lags, t, True, G, ACC)
            lams, mus, qs, later, sums = _adjoint_group(
                joined[lo : lo + G], to_y[lo : lo + G], to_inflow[lo : lo + G], mu_below, own, ys[lo : lo + G],
                rs[lo : lo + G], later, sums, parent, share, c0, c1, loss, gain, t, G, K, LATERAL,
            )  # fmt: skip
            first_lam = tl.where(t == 0, later, first_lam)
            first_inflow = tl.where(t == 0, own[0], first_inflow)
            if K > 2:
                total = _window_back(lams, own, ring, taps, grad_taps, n_blocks, j, lane, G, ACC)
                keep_window(lams, ring, n_blocks, j, lane, G)
                mus = _with_window(mus, total, grad_final_history, grad_history, n_lags, t, T, there, STATE_GRAD, G)
            mu_below = mus
            sends = (kept >= 0) & (t >= 0) & (t < T)
            for c in tl.static_range(G):
                post(mailbox + letter + t + c, mus[c], sends, ACC)
            if LATERAL == HEAD:
                outs = mus + outs
            elif LATERAL == OUTLET:
                outs = qs + outs
            else:
                scaled = ()
                for c in tl.static_range(G):
                    scaled = scaled + (gain * lams[c],)
                outs = scaled + outs
        if RUNOFF:
            then = to_time - m * C
            if ALIGNED:
                tl.store(grad_runoff - m * C + to_offset, tile_of(outs, LOG), mask=(then >= 0) & (then < T))
            else:
                first_outs = ()
                for c in tl.static_range(8):
                    first_outs = first_outs + (outs[c],)
                outs = slide(outs + old_outs[:7], up, C)
                old_outs = first_outs
                out_tile = tile_of(outs, LOG)
                tl.store(grad_runoff - m * C + to_offset, out_tile, mask=(then >= 0) & (then + 3 < T))
                if (m * C <= tl.max(distance, 0) * G + C) | (
                    begin - m * C < 8
                ):  # the ends of rows, in parts of vectors
                    exact = then + (column % 4)[None, :]
                    parts = ((then < 0) | (then + 3 >= T)) & (exact >= 0) & (exact < T)
                    tl.store(grad_runoff - m * C + to_offset, out_tile, mask=parts)
    if RUNOFF:
        if not ALIGNED:
            few = tl.arange(0, 8)
            few_time = (begins - (n_chunks - 1) * C)[:, None] + few[None, :]
            few_offset = (row * PITCH + start - (n_chunks - 1) * C)[:, None] + few[None, :]
            rest = (few[None, :] < up[:, None]) & (few_time >= 0) & (few_time < T)
            tl.store(grad_runoff + few_offset, tile_of(old_outs, 3), mask=rest)
    _finish(
        grad_filter + b * 4 * n_places + at, grad_outflow + b * n_reaches + reach, grad_history, sums, first_lam,
        first_inflow, zero, y0, inflow0, c1, loss, n_lags, there, n_places, K,
    )  # fmt: skip


@triton.jit
def _peek_columns(box, there, time, end, G: tl.constexpr):
    """Columns of a group that each lane reads from a row of its own."""
    mail = ()
    for c in tl.static_range(G):
        mail = mail + (peek(box + c, there & (time >= 0) & (time < end)),)
    return mail


@triton.jit
def _await_columns(mail, box, there, time, end, G: tl.constexpr, ACC: tl.constexpr):
    values = ()
    for c in tl.static_range(G):
        values = values + (await_post(mail[c], box + c, there & (time >= 0) & (time < end), ACC),)
    return values


@kernel
def adjoint_substeps(
    grad, grad_runoff, mailbox, places, shares, coefficients, link_start, links, link_weight, ticket,
    outflow, history, grad_final_outflow, grad_final_history, grad_outflow, grad_history, first_lag,
    ring, ring_start, taps, grad_taps, grad_filter, trace, trace_start, discharge,
    n_reaches, T, G_PITCH, PITCH, Q_PITCH, n_patches, n_batch, n_sources, WIDTH, ring_size, n_lags_all, trace_size,
    first_step, n_steps,
    S: tl.constexpr, G: tl.constexpr, K: tl.constexpr, SAMPLING: tl.constexpr,
    LATERAL: tl.constexpr, STATE_IN: tl.constexpr, RUNOFF: tl.constexpr, INDEX: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """Adjoint of `xroute.engine.gpu.forward.route_substeps`."""
    PER_STEP: tl.constexpr = S // G
    CHANNELS: tl.constexpr = 3 if LATERAL == INTERVAL else 2
    taken = tl.atomic_add(ticket, 1)
    p = n_patches - 1 - taken // n_batch
    b = (taken % n_batch).to(tl.int64)
    lane = tl.arange(0, R)
    at = p * R + lane
    n_places = n_patches * R
    reach = tl.load(places + at).to(INDEX)
    distance = tl.load(places + n_places + at)
    parent = tl.load(places + 2 * n_places + at)
    kept = tl.load(places + 3 * n_places + at)
    there = tl.load(places + 4 * n_places + at) == 0
    lag = tl.load(places + 5 * n_places + at)
    given_by = tl.load(places + 6 * n_places + at)
    share = tl.load(shares + at)
    given_share = tl.load(shares + n_places + at)
    c0 = tl.load(coefficients + at)
    c1 = tl.load(coefficients + n_places + at) - c0
    loss = tl.load(coefficients + 2 * n_places + at)
    gain = tl.load(coefficients + 3 * n_places + at)
    first = tl.load(link_start + p)
    n_links = tl.load(link_start + p + 1) - first
    n_groups = n_steps * PER_STEP
    fine = n_groups * G
    row = (b * n_reaches).to(INDEX) + reach
    grad += row * G_PITCH + first_step
    grad_runoff += row * PITCH + first_step
    zero = tl.zeros((R,), ACC)
    y0 = zero
    inflow0 = zero
    n_blocks = 0
    n_lags = lag * 0
    if K > 1:
        lags = tl.load(first_lag + at)
        n_lags = tl.load(first_lag + n_places + at).to(tl.int32)
        history += b * n_lags_all + lags
        grad_final_history += b * n_lags_all + lags
        grad_history += b * n_lags_all + lags
    if STATE_IN:
        y0 = tl.load(outflow + b * n_reaches + reach).to(ACC)
        if K > 1:
            inflow0 = tl.load(history, mask=n_lags > 0, other=0.0).to(ACC)
    grad_final = tl.load(grad_final_outflow + b * n_reaches + reach).to(ACC)
    grad_last = zero
    if K == 2:
        grad_last = tl.load(grad_final_history, mask=n_lags > 0, other=0.0).to(ACC)
    if K > 2:
        n_blocks = tl.load(ring_start + n_patches + 1 + p)
        block0 = tl.load(ring_start + p).to(tl.int64) * R * G
        ring += b * ring_size + block0
        grad_taps += b * ring_size + block0
        taps += block0
        for slot in range(n_blocks * G):
            tl.store(ring + slot * R + lane, zero)
            tl.store(grad_taps + slot * R + lane, zero)
    mailbox += b * n_sources * WIDTH
    letter = kept.to(INDEX) * WIDTH
    trace += b * trace_size + tl.load(trace_start + p) + lane
    later = zero
    first_lam = zero
    to_start = zero
    held_sum = zero
    first_inflow = zero
    sums = (zero, zero, zero, zero, zero)
    mu_below = zeros_of(G, ACC)
    given = tl.max(given_by, 0) >= 0
    box_time = lane * 0 + (fine - G)
    box = mailbox + given_by.to(INDEX) * WIDTH + box_time
    mail = _peek_columns(box, given_by >= 0, box_time, fine, G)
    for j in range(n_groups + tl.max(distance, 0) + n_blocks):
        own_group = n_groups - 1 - (j - distance)
        runs = there & (own_group >= 0) & (own_group < n_groups)
        step = (own_group + R * PER_STEP + n_blocks * PER_STEP) // PER_STEP - R - n_blocks
        part = own_group - step * PER_STEP
        t = own_group * G
        wanted = tl.load(grad + step, mask=runs, other=0.0).to(ACC)
        g = ()
        to_y = zeros_of(G, ACC)
        if SAMPLING == MEAN:
            for _ in tl.static_range(G):
                g = g + (wanted / S,)
        elif SAMPLING == LAST:
            for _ in tl.static_range(G - 1):
                g = g + (zero,)
            g = g + (tl.where(part == PER_STEP - 1, wanted, 0.0),)
        else:
            g = zeros_of(G, ACC)
            after = tl.load(grad + step + 1, mask=runs & (step + 1 < n_steps), other=0.0).to(ACC)
            to_y = ()
            for _ in tl.static_range(G - 1):
                to_y = to_y + (wanted / S,)
            to_y = to_y + (tl.where(part == PER_STEP - 1, after, wanted) / S,)
            to_start = tl.where(own_group == 0, wanted / S, to_start)
        joined = g
        if given:
            joined = _add_weighted(
                joined, _await_columns(mail, box, given_by >= 0, box_time, fine, G, ACC), given_share, G
            )
            box -= G
            box_time -= G
            mail = _peek_columns(box, given_by >= 0, box_time, fine, G)
        if n_links > 0:
            joined = _join_more(
                joined, mailbox, links, link_weight, first, n_links, (n_groups - 1 - j) * G, fine, WIDTH, lane,
                G, G, INDEX, ACC,
            )  # fmt: skip
        rows = trace + (t + lag * G).to(tl.int64) * (CHANNELS * R)
        inflows = _trace_rows(rows, t, fine, there, 0, CHANNELS, G, G)
        ys = _trace_rows(rows, t, fine, there, CHANNELS - 1, CHANNELS, G, G)
        rs = inflows
        if LATERAL == INTERVAL:
            rs = _trace_rows(rows, t, fine, there, 1, CHANNELS, G, G)
        if K > 2 and STATE_IN:
            if (j + 1) >= n_groups:
                inflows = with_history(inflows, history, n_lags, t, True, G, ACC)
        lams, mus, qs, later, sums = _adjoint_group(
            joined, _at_end(to_y, grad_final, t, fine, G), _at_end(zeros_of(G, ACC), grad_last, t, fine, G), mu_below,
            inflows, ys, rs, later, sums, parent, share, c0, c1, loss, gain, t,
            G, K, LATERAL,
        )  # fmt: skip
        first_lam = tl.where(own_group == 0, later, first_lam)
        first_inflow = tl.where(own_group == 0, inflows[0], first_inflow)
        if K > 2:
            total = _window_back(lams, inflows, ring, taps, grad_taps, n_blocks, j, lane, G, ACC)
            keep_window(lams, ring, n_blocks, j, lane, G)
            mus = _with_window(mus, total, grad_final_history, grad_history, n_lags, t, fine, there, True, G)
        mu_below = mus
        for c in tl.static_range(G):
            post(mailbox + letter + t + c, mus[c], runs & (kept >= 0), ACC)
        held_sum = tl.where(part == PER_STEP - 1, 0.0, held_sum)
        for c in tl.static_range(G):
            if LATERAL == HEAD:
                held_sum += mus[c]
            elif LATERAL == OUTLET:
                held_sum += qs[c]
            else:
                held_sum += gain * lams[c]
        if RUNOFF:
            result = held_sum
            if SAMPLING == START_MEAN and LATERAL == OUTLET:
                result += wanted
            tl.store(grad_runoff + step, result, mask=runs & (part == 0))
    _finish(
        grad_filter + b * 4 * n_places + at, grad_outflow + b * n_reaches + reach, grad_history, sums, first_lam,
        first_inflow, to_start, y0, inflow0, c1, loss, n_lags, there, n_places, K,
    )  # fmt: skip
