"""The Triton kernel of the adjoint with several routing steps a step of runoff, of pieces in `xroute.engine.gpu.adjoint`."""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, assignment"
from __future__ import annotations

import triton
import triton.language as tl

from xroute.engine.gpu.adjoint import (
    Given,
    Past,
    Sums,
    adjoint_group,
    at_end,
    clear_window,
    ends_of,
    finish,
    lanes_up,
    result_of,
    through_window,
    trace_rows,
)
from xroute.engine.gpu.forward import with_history
from xroute.engine.gpu.lanes import (
    INTERVAL,
    LAST,
    MEAN,
    OUTLET,
    START_MEAN,
    R,
    add_weighted,
    await_post,
    coefficients_of,
    join_links,
    kernel,
    known_at,
    known_of,
    links_of,
    peek,
    post,
    take_ticket,
    window_of,
    zeros_of,
)


@triton.jit
def _peek_columns(box, mask, time, end, G: tl.constexpr):
    """Columns of a group that each lane reads from a row of its own."""
    mail = ()
    for c in tl.static_range(G):
        mail = mail + (peek(box + c, mask & (time >= 0) & (time < end)),)
    return mail


@triton.jit
def _await_columns(mail, box, mask, time, end, G: tl.constexpr, ACC: tl.constexpr):
    values = ()
    for c in tl.static_range(G):
        values = values + (await_post(mail[c], box + c, mask & (time >= 0) & (time < end), ACC),)
    return values


@triton.jit
def _sampled(wanted, after, ends_step, mode: tl.constexpr):
    """What a group's discharge and y are given: of ``wanted``, the gradient of its step's discharge, and of the step after."""
    G: tl.constexpr = mode.group
    zero = tl.zeros((R,), mode.real_type)
    to_q = ()
    to_y = ()
    for c in tl.static_range(G):
        if mode.sampling == MEAN:
            to_q = to_q + (wanted / mode.substeps,)
            to_y = to_y + (zero,)
        elif mode.sampling == LAST:
            to_q = to_q + (tl.where(ends_step, wanted, 0.0) if c == G - 1 else zero,)
            to_y = to_y + (zero,)
        else:
            to_q = to_q + (zero,)
            to_y = to_y + ((tl.where(ends_step, after, wanted) if c == G - 1 else wanted) / mode.substeps,)
    return to_q, to_y


@kernel
def adjoint_substeps(
    series, mailbox, network, filter, start, grads, trace,
    n_reaches, n_steps, grad_pitch, result_pitch, discharge_pitch, n_patches, n_batch, n_sources, width, ring_size, n_lags,
    trace_size, n_known, known_pitch, mode: tl.constexpr,
):  # fmt: skip
    """Adjoint of `xroute.engine.gpu.substeps.route_substeps`."""
    S: tl.constexpr = mode.substeps
    G: tl.constexpr = mode.group
    ACC: tl.constexpr = mode.real_type
    PER_STEP: tl.constexpr = S // G
    CHANNELS: tl.constexpr = 3 if mode.lateral == INTERVAL else 2
    turn, member = take_ticket(mailbox.ticket, n_batch)
    patch = n_patches - 1 - turn
    lanes = lanes_up(network, patch, n_patches, mode.index_type)
    lane = lanes.lane
    n_places = n_patches * R
    coefficients = coefficients_of(filter, lanes.place, n_places)
    links = links_of(network, patch)
    n_groups = n_steps * PER_STEP
    n_routed = n_groups * G
    row = (member * n_reaches).to(mode.index_type) + lanes.reach
    grad = series.grad_discharge + row * grad_pitch
    result = series.grad_runoff + row * result_pitch
    zero = tl.zeros((R,), ACC)
    ends = ends_of(start, grads, filter, lanes, member, n_reaches, n_lags, n_places, mode)
    window = window_of(filter, patch, member, n_patches, ring_size, mode)
    grad_taps = grads.taps + window.at
    if mode.n_taps > 2:
        clear_window(window, grad_taps, lane, mode)
    words = mailbox.words + member * n_sources * width
    letter = lanes.row.to(mode.index_type) * width
    rows = trace.rows + (member * trace_size + tl.load(trace.start + patch) + lane)
    later = zero
    first_lam = zero
    to_start = zero
    held_sum = zero
    first_inflow = zero
    sums = Sums(zero, zero, zero, zero, zero)
    known = known_of(series.known, lanes, member, n_known, known_pitch, mode)
    known_sum = zero
    mu_below = zeros_of(G, ACC)
    given = tl.max(lanes.source, 0) >= 0
    source_time = lane * 0 + (n_routed - G)
    source = words + lanes.source.to(mode.index_type) * width + source_time
    mail = _peek_columns(source, lanes.source >= 0, source_time, n_routed, G)
    for j in range(n_groups + tl.max(lanes.distance, 0) + window.n_blocks):
        own_group = n_groups - 1 - (j - lanes.distance)
        runs = lanes.active & (own_group >= 0) & (own_group < n_groups)
        step = (own_group + R * PER_STEP + window.n_blocks * PER_STEP) // PER_STEP - R - window.n_blocks
        part = own_group - step * PER_STEP
        t = own_group * G
        wanted = tl.load(grad + step, mask=runs, other=0.0).to(ACC)
        after = zero
        if mode.sampling == START_MEAN:
            after = tl.load(grad + step + 1, mask=runs & (step + 1 < n_steps), other=0.0).to(ACC)
        known_now = ()
        if mode.known:
            value, there = known_at(known, step, n_steps)
            there = there & runs
            for _ in tl.static_range(G):
                known_now = known_now + (there,)
            if mode.sampling == START_MEAN:  # what is sampled there is what is known, and not y
                value, there_after = known_at(known, step + 1, n_steps)
                after = tl.where(there_after, 0.0, after)
                known_sum = tl.where(part == PER_STEP - 1, tl.where(there, wanted, 0.0), known_sum)
                wanted = tl.where(there, 0.0, wanted)
            else:
                known_sum = tl.where(part == PER_STEP - 1, 0.0, known_sum)
        else:
            for _ in tl.static_range(G):
                known_now = known_now + (runs,)
        if mode.sampling == START_MEAN:
            to_start = tl.where(own_group == 0, wanted / S, to_start)
        joined, to_y = _sampled(wanted, after, part == PER_STEP - 1, mode)
        if given:
            values = _await_columns(mail, source, lanes.source >= 0, source_time, n_routed, G, ACC)
            joined = add_weighted(joined, values, lanes.source_share, G)
            source -= G
            source_time -= G
            mail = _peek_columns(source, lanes.source >= 0, source_time, n_routed, G)
        if links.n > 0:
            begin = (n_groups - 1 - j) * G
            joined = join_links(joined, words, width, links, 0, begin, n_routed, lane, G, False, mode)
        here = rows + (t + lanes.lag * G).to(tl.int64) * (CHANNELS * R)
        inflows = trace_rows(here, t, n_routed, lanes.active, 0, CHANNELS, G, G)
        ys = trace_rows(here, t, n_routed, lanes.active, CHANNELS - 1, CHANNELS, G, G)
        rs = inflows
        if mode.lateral == INTERVAL:
            rs = trace_rows(here, t, n_routed, lanes.active, 1, CHANNELS, G, G)
        if mode.n_taps > 2 and mode.state_in:
            if (j + 1) >= n_groups:
                inflows = with_history(inflows, ends.history, ends.n_lags, t, True, G, ACC)
        to_y = at_end(to_y, ends.grad_y, t, n_routed, G)
        to_inflow = at_end(zeros_of(G, ACC), ends.grad_inflow, t, n_routed, G)
        lams, mus, qs, later, sums, of_known = adjoint_group(
            Given(joined, to_y, to_inflow), Past(inflows, ys, rs), mu_below, later, sums, lanes, coefficients, t, known_now,
            mode,
        )  # fmt: skip
        if mode.known:
            for c in tl.static_range(G):
                known_sum += of_known[c]
            tl.store(known.gradient + step, known_sum, mask=known.has & runs & (part == 0))
        first_lam = tl.where(own_group == 0, later, first_lam)
        first_inflow = tl.where(own_group == 0, inflows[0], first_inflow)
        if mode.n_taps > 2:
            mus = through_window(mus, lams, inflows, window, grad_taps, ends, j, t, n_routed, lanes, mode)
        mu_below = mus
        post(words + letter + t, mus, runs & (lanes.row >= 0), G, ACC)
        held_sum = tl.where(part == PER_STEP - 1, 0.0, held_sum)
        group_result = result_of(mus, qs, lams, coefficients.gain, mode.lateral, G)
        for c in tl.static_range(G):
            held_sum += group_result[c]
        if mode.runoff_gradient:
            held = held_sum
            if mode.sampling == START_MEAN and mode.lateral == OUTLET:
                held += wanted
            tl.store(result + step, held, mask=runs & (part == 0))
    finish(
        grads.filter + member * 4 * n_places + lanes.place, grads.first_state.outflow + member * n_reaches + lanes.reach,
        sums, first_lam, first_inflow, to_start, ends, coefficients, lanes, n_places, mode,
    )  # fmt: skip
