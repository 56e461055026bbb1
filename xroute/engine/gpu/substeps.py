"""The Triton kernel of a forward run with several routing steps a step of runoff; see `xroute.engine.gpu` for how it works."""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, assignment"
from __future__ import annotations

import triton
import triton.language as tl

from xroute.engine.gpu.forward import (
    History,
    fill_window,
    filter_group,
    gather_group,
    join_link,
    keep_trace,
    lanes_down,
    link_ahead,
    peek_link,
    through_window,
)
from xroute.engine.gpu.lanes import (
    HEAD,
    INTERVAL,
    LAST,
    MEAN,
    OUTLET,
    START_MEAN,
    R,
    coefficients_of,
    join_links,
    kernel,
    known_at,
    known_of,
    lags_of,
    links_of,
    post,
    state_of,
    take_ticket,
    window_of,
    zeros_of,
)


@triton.jit
def hold_known(q, value, there, G: tl.constexpr):
    """Discharge of a group of one step's routing steps, with what is known of that step in its place."""
    held = ()
    for c in tl.static_range(G):
        held = held + (tl.where(there, value, q[c]),)
    return held


@kernel
def route_substeps(
    series, mailbox, network, filter, start, end, trace,
    n_reaches, first_step, n_steps, runoff_pitch, discharge_pitch, n_patches, n_batch, n_sources, width, ring_size, n_lags,
    trace_size, n_known, known_pitch, mode: tl.constexpr,
):  # fmt: skip
    """Route a patch through ``n_steps`` steps of runoff of several routing steps each, in groups of ``G``, a divisor."""
    S: tl.constexpr = mode.substeps
    G: tl.constexpr = mode.group
    ACC: tl.constexpr = mode.real_type
    PER_STEP: tl.constexpr = S // G
    patch, member = take_ticket(mailbox.ticket, n_batch)
    lanes = lanes_down(network, patch, n_patches, mode.index_type)
    lane = lanes.lane
    n_places = n_patches * R
    coefficients = coefficients_of(filter, lanes.place, n_places)
    factor = coefficients.c0 * 0 + 1
    if mode.scaled:
        factor = tl.load(series.scale + lanes.reach)
    links = links_of(network, patch)
    n_groups = n_steps * PER_STEP
    n_routed = n_groups * G
    row = (member * n_reaches).to(mode.index_type) + lanes.reach
    runoff = series.runoff + (row * runoff_pitch + first_step)
    discharge = series.discharge + (row * discharge_pitch + first_step)
    words = mailbox.words + member * n_sources * width
    letter = lanes.row.to(mode.index_type) * width
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
        fill_window(window, history, lanes, n_routed, mode)
    rows = trace.rows
    if mode.keep_trace:
        rows += member * trace_size + tl.load(trace.start + patch) + lane
    CHANNELS: tl.constexpr = 3 if mode.lateral == INTERVAL else 2
    known = known_of(series.known, lanes, member, n_known, known_pitch, mode)
    q = zeros_of(G, ACC)
    sample = y
    ahead = tl.load(runoff, mask=lanes.active & (lanes.lag == 0), other=0.0)
    link1 = link_ahead(words, width, links, 0, lane, G, mode)
    link2 = link_ahead(words, width, links, 1, lane, G, mode)
    mail1 = peek_link(link1, 0, n_routed)
    mail2 = peek_link(link2, 0, n_routed)
    for j in range(n_groups + tl.max(lanes.lag, 0)):
        own = j - lanes.lag
        runs = lanes.active & (own >= 0) & (own < n_groups)
        step = (own + R * PER_STEP) // PER_STEP - R  # rounded down, also where a lane has not begun
        part = own - step * PER_STEP
        here = own * G
        held = ahead.to(ACC) * factor
        after = (own + 1 + R * PER_STEP) // PER_STEP - R
        ahead = tl.load(runoff + after, mask=lanes.active & (own + 1 >= 0) & (own + 1 < n_groups), other=0.0)
        r = ()
        for _ in tl.static_range(G):
            r = r + (held,)
        joined = r
        if mode.lateral != HEAD:
            joined = zeros_of(G, ACC)
        if links.n > 0:
            joined, mail1 = join_link(joined, mail1, link1, j * G, n_routed, lane, G, ACC)
        if links.n > 1:
            joined, mail2 = join_link(joined, mail2, link2, j * G, n_routed, lane, G, ACC)
        if links.n > 2:
            joined = join_links(joined, words, width, links, 2, j * G, n_routed, lane, G, True, mode)
        y = tl.where(own == 0, y0, y)
        inflow = tl.where(own == 0, inflow0, inflow)
        inflows = gather_group(joined, q, lanes, mode.has_pole and mode.n_taps < 3, G)
        extra = inflows
        if mode.n_taps > 2:
            inflows, extra = through_window(inflows, window, history, lanes, j, here, n_routed, mode)
        q, ys, new_y, new_inflow = filter_group(r, inflows, extra, y, inflow, coefficients, mode)
        if mode.keep_trace:
            keep_trace(rows + j * (G * CHANNELS * R), r, inflows, ys, mode.lateral, CHANNELS, G)
        if mode.known:
            value, there = known_at(known, first_step + step, first_step + n_steps)
            q = hold_known(q, value, there & runs, G)
        post(words + letter + here, q, runs & (lanes.row >= 0), G, ACC)
        sample = tl.where(part == 0, 0.0, sample)
        if mode.sampling == LAST:
            sample = q[G - 1]
        elif mode.sampling == MEAN:
            for c in tl.static_range(G):
                sample += q[c]
        else:
            sample += y
            for c in tl.static_range(G - 1):
                sample += ys[c]
        result = sample
        if mode.sampling != LAST:
            result = sample / S
        if mode.sampling == START_MEAN and mode.lateral == OUTLET:
            result += held
        if mode.known:
            result = tl.where(there, value, result)  # exactly, however it is sampled
        tl.store(discharge + step, result, mask=runs & (part == PER_STEP - 1))
        y = tl.where(runs, new_y, y)
        inflow = tl.where(runs, new_inflow, inflow)
    if mode.state_out:
        tl.store(end.outflow + member * n_reaches + lanes.reach, y, mask=lanes.active)
        if mode.n_taps == 2:
            tl.store(history.final, inflow, mask=lanes.active & (lags > 0))
