"""Triton kernels of the forward run; see `xroute.engine.gpu` for how it works and what calls them.

`route_steps` takes a step of runoff as a step of routing; `route_substeps` takes several a step.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, assignment"
from __future__ import annotations

import triton
import triton.language as tl

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

HEAD, INTERVAL, OUTLET = (tl.constexpr(k) for k in (0, 1, 2))
MEAN, LAST, START_MEAN = (tl.constexpr(k) for k in (0, 1, 2))
NEVER = tl.constexpr(-1073741824)
"""A time before all others: of lanes that only repeat another."""


@triton.jit
def gather_group(joined, q, child, share, KEEP_NAN: tl.constexpr, G: tl.constexpr):
    """Inflow of a group of steps: what joins from outside, and from the tributaries, which are one group ahead.

    A lane without tributaries is given its own discharge times 0, and so its own NaN, which a pole keeps in any case.
    """
    inflows = ()
    for c in tl.static_range(G):
        inflow = joined[c] + share[0] * tl.gather(q[c], child[0], 0) + share[1] * tl.gather(q[c], child[1], 0)
        if KEEP_NAN:
            inflows = inflows + (inflow,)
        else:
            inflows = inflows + (tl.where(share[0] != 0, inflow, joined[c]),)
    return inflows


@triton.jit
def with_history(inflows, history, n_lags, time, KNOWN: tl.constexpr, G: tl.constexpr, ACC: tl.constexpr):
    """Put inflow of before the start, newest first in memory or zero, where a lane has not started."""
    changed = ()
    for c in tl.static_range(G):
        back = -1 - (time + c)
        old = tl.zeros((R,), ACC)
        if KNOWN:
            old = tl.load(history + back, mask=(back >= 0) & (back < n_lags), other=0.0).to(ACC)
        changed = changed + (tl.where(back >= 0, old, inflows[c]),)
    return changed


@triton.jit
def _window(current, ring, taps, n_blocks, j, lane, G: tl.constexpr, ACC: tl.constexpr):
    """Response to taps beyond the first two: inflow of ``n_blocks`` groups before lies in a ring that only its lane uses."""
    total = zeros_of(G, ACC)
    late = current
    for block in range(n_blocks):
        early = ()
        slot = (j + 2 * n_blocks - 1 - block) % n_blocks
        for c in tl.static_range(G):
            early = early + (tl.load(ring + (slot * G + c) * R + lane),)
        for k in tl.static_range(G):
            tap = tl.load(taps + (block * G + k) * R + lane)
            more = ()
            for c in tl.static_range(G):
                if c >= k:
                    more = more + (total[c] + tap * late[c - k],)
                else:
                    more = more + (total[c] + tap * early[G + c - k],)
            total = more
        late = early
    return total


@triton.jit
def keep_window(columns, ring, n_blocks, j, lane, G: tl.constexpr):
    """Put a group into the ring of the last ``n_blocks``, in place of the oldest."""
    if n_blocks > 0:
        for c in tl.static_range(G):
            tl.store(ring + ((j % n_blocks) * G + c) * R + lane, columns[c])


@triton.jit
def _save_history(inflows, history, n_lags, time, T, mask, G: tl.constexpr):
    """Inflow of the last steps, newest first."""
    for c in tl.static_range(G):
        back = T - 1 - (time + c)
        tl.store(history + back, inflows[c], mask=mask & (back >= 0) & (back < n_lags))


@triton.jit
def _filter_group(r, inflows, extra, y, before, c0, c01, loss, gain,
                  G: tl.constexpr, K: tl.constexpr, POLE: tl.constexpr, LATERAL: tl.constexpr):  # fmt: skip
    """Filter a group of steps: discharge, y, and the state after it.

    The recurrence adds to y what the step changes, ``c0 (I - I') + (c0 + c1) I' - (1 - pole) y``, so that rounding of
    the coefficients cannot make or lose water, however slow the reach.
    """
    out = ()
    ys = ()
    for c in tl.static_range(G):
        inflow = inflows[c]
        if K == 1:
            drive = c0 * inflow
        else:
            drive = c0 * (inflow - before) + c01 * before
        if K > 2:
            drive += extra[c]
        if LATERAL == INTERVAL:
            drive += gain * r[c]
        if POLE:
            y += drive - loss * y
        else:
            y = drive
        before = inflow
        ys = ys + (y,)
        if LATERAL == OUTLET:
            out = out + (y + r[c],)
        else:
            out = out + (y,)
    return out, ys, y, before


@triton.jit
def _join_all(joined, mailbox, links, link_weight, first, n_links, from_link, begin, end, WIDTH, lane,
              G: tl.constexpr, N: tl.constexpr, INDEX: tl.constexpr, ACC: tl.constexpr):  # fmt: skip
    """Join the links from ``from_link`` on; ``begin`` is the time of the first column in a lane without lag."""
    for k in range(from_link, n_links):
        number, to, lag, weight = links_of(links, link_weight, first + k, 1, lane, G)
        now = begin - spread(lag, 0, lane) + lane
        box = mailbox + spread(number, 0, lane).to(INDEX) * WIDTH + now
        inside = (now >= 0) & (now < end) & (lane < N)
        mail = await_post(peek(box, inside), box, inside, ACC)
        joined = join_series(joined, mail, spread(weight, 0, lane), spread(to, 0, lane) == lane, lane, N)
    return joined


@triton.jit
def before_end(columns, time, end, N: tl.constexpr):
    """Columns with zeros from ``end`` on."""
    kept = ()
    for c in tl.static_range(N):
        kept = kept + (tl.where(time + c < end, columns[c], 0.0),)
    return kept


@kernel
def route_steps(
    runoff, discharge, mailbox, places, shares, coefficients, scale, link_start, links, link_weight, ticket,
    outflow, final_outflow, history, final_history, first_lag, ring, ring_start, taps, trace, trace_start,
    n_reaches, T, R_PITCH, PITCH, n_patches, n_batch, n_kept, WIDTH, ring_size, n_lags_all, trace_size,
    LOG: tl.constexpr, LOGG: tl.constexpr, K: tl.constexpr, POLE: tl.constexpr, LATERAL: tl.constexpr,
    SCALED: tl.constexpr, SLIDE: tl.constexpr, END: tl.constexpr, TRACE: tl.constexpr, STATE_IN: tl.constexpr,
    STATE_OUT: tl.constexpr, INDEX: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """Route a patch through all of a series, ``2 ** LOG`` steps at a time in groups of ``2 ** LOGG``.

    ``END`` is where in its group the last step stands.
    """
    C: tl.constexpr = 1 << LOG
    G: tl.constexpr = 1 << LOGG
    GROUPS: tl.constexpr = C // G
    taken = tl.atomic_add(ticket, 1)
    p = taken // n_batch
    b = (taken % n_batch).to(tl.int64)
    lane = tl.arange(0, R)
    at = p * R + lane
    n_places = n_patches * R
    reach = tl.load(places + at).to(INDEX)
    lag = tl.load(places + n_places + at)
    child = (tl.load(places + 2 * n_places + at), tl.load(places + 3 * n_places + at))
    kept = tl.load(places + 4 * n_places + at)
    there = tl.load(places + 5 * n_places + at) == 0
    share = (tl.load(shares + at), tl.load(shares + n_places + at))
    c0 = tl.load(coefficients + at)
    c01 = tl.load(coefficients + n_places + at)
    loss = tl.load(coefficients + 2 * n_places + at)
    gain = tl.load(coefficients + 3 * n_places + at)
    factor = c0
    if SCALED:
        factor = tl.load(scale + reach)
    first = tl.load(link_start + p)
    n_links = tl.load(link_start + p + 1) - first
    n_chunks = (T + tl.max(lag, 0) * G + C - 1) // C

    # rows of runoff, from the first multiple of 8 elements on: that is `by` steps after the lane's own first step
    row = (b * n_reaches).to(INDEX) + reach
    raw = row * R_PITCH - lag * G
    aligned = (raw + 1031) // 8 - 128  # rounded up; the division of a negative number would round towards 0
    by = (aligned * 8 - raw).to(tl.int32)
    start = tl.where(there, -lag * G, NEVER)
    column = tl.arange(0, C)
    offset = (aligned * 8)[:, None] + column[None, :]
    time = (start + by)[:, None] + ((column // 4) * 4)[None, :]
    tile = tl.load(runoff + offset, mask=(time > -4) & (time < T), other=0.0)
    to_offset = ((row * (PITCH // 4) - lag * (G // 4)) * 4)[:, None] + column[None, :]
    to_time = start[:, None] + ((column // 4) * 4)[None, :]
    old = zeros_of(8, ACC)
    if SLIDE:
        few = tl.arange(0, 8)
        few_time = (start + by - 8)[:, None] + ((few // 4) * 4)[None, :]
        old = columns_of(
            tl.load(
                runoff + ((aligned - 1) * 8)[:, None] + few[None, :], mask=(few_time > -4) & (few_time < T), other=0.0
            ).to(ACC),
            3,
        )
    mailbox += b * n_kept * WIDTH
    letter = kept.to(INDEX) * WIDTH
    # the first two links have their mail fetched a chunk ahead
    number, link_to, link_lag, weight = links_of(links, link_weight, first, n_links, lane, G)
    time1 = tl.where(n_links > 0, lane - spread(link_lag, 0, lane), NEVER)
    time2 = tl.where(n_links > 1, lane - spread(link_lag, 1, lane), NEVER)
    box1 = mailbox + spread(number, 0, lane).to(INDEX) * WIDTH + time1
    box2 = mailbox + spread(number, 1, lane).to(INDEX) * WIDTH + time2
    joins1 = spread(link_to, 0, lane) == lane
    joins2 = spread(link_to, 1, lane) == lane
    weight1 = spread(weight, 0, lane)
    weight2 = spread(weight, 1, lane)
    mail1 = peek(box1, (time1 >= 0) & (time1 < T) & (lane < C))
    mail2 = peek(box2, (time2 >= 0) & (time2 < T) & (lane < C))

    y = tl.zeros((R,), ACC)
    before = y
    y0 = y
    before0 = y
    n_blocks = 0
    n_lags = lag * 0
    if K > 1:
        lags = tl.load(first_lag + at)
        n_lags = tl.load(first_lag + n_places + at).to(tl.int32)
        history += b * n_lags_all + lags
        final_history += b * n_lags_all + lags
    if STATE_IN:
        y0 = tl.load(outflow + b * n_reaches + reach).to(ACC)
        if K > 1:
            before0 = tl.load(history, mask=n_lags > 0, other=0.0).to(ACC)
    if K > 2:
        n_blocks = tl.load(ring_start + n_patches + 1 + p)
        block0 = tl.load(ring_start + p).to(tl.int64) * R * G
        ring += b * ring_size + block0
        taps += block0
        for block in range(n_blocks):
            past_time = (-1 - block - lag) * G
            past = with_history(zeros_of(G, ACC), history, n_lags, past_time, STATE_IN, G, ACC)
            keep_window(past, ring, n_blocks, n_blocks - 1 - block, lane, G)
            if STATE_OUT:
                if n_blocks * G >= T:
                    _save_history(past, final_history, n_lags, past_time, T, there, G)
    if TRACE:
        trace += b * trace_size + tl.load(trace_start + p) + lane
    CHANNELS: tl.constexpr = (
        1 if LATERAL == HEAD else 2
    )  # y is discharge, or a channel of its own where runoff joins below
    last_y = y
    last_inflow = y
    q = zeros_of(G, ACC)
    for m in range(n_chunks):
        r = columns_of(tile.to(ACC), LOG)
        if SLIDE:
            recent = ()
            for k in tl.static_range(8):
                recent = recent + (r[C - 8 + k],)
            r = slide(old[1:] + r, 7 - by, C)
            old = recent
            if TRACE:
                if (m + 1) * C > T:  # a tile may reach into the next row, which must not get into the trace
                    r = before_end(r, start + m * C, T, C)
        if SCALED:
            scaled = ()
            for c in tl.static_range(C):
                scaled = scaled + (r[c] * factor,)
            r = scaled
        joined = r
        if LATERAL != HEAD:
            joined = zeros_of(C, ACC)
        after = time + (m + 1) * C
        tile = tl.load(runoff + (m + 1) * C + offset, mask=(after > -4) & (after < T), other=0.0)
        if n_links > 0:
            now = time1 + m * C
            mail = await_post(mail1, box1 + m * C, (now >= 0) & (now < T) & (lane < C), ACC)
            joined = join_series(joined, mail, weight1, joins1, lane, C)
            mail1 = peek(box1 + (m + 1) * C, (now + C >= 0) & (now + C < T) & (lane < C))
        if n_links > 1:
            now = time2 + m * C
            mail = await_post(mail2, box2 + m * C, (now >= 0) & (now < T) & (lane < C), ACC)
            joined = join_series(joined, mail, weight2, joins2, lane, C)
            mail2 = peek(box2 + (m + 1) * C, (now + C >= 0) & (now + C < T) & (lane < C))
        if n_links > 2:
            joined = _join_all(
                joined, mailbox, links, link_weight, first, n_links, 2, m * C, T, WIDTH, lane, G, C, INDEX, ACC
            )
        outs = ()
        for k in tl.static_range(GROUPS):
            j = m * GROUPS + k
            here = start + j * G
            y = tl.where(j == lag, y0, y)
            before = tl.where(j == lag, before0, before)
            inflows = gather_group(joined[k * G : (k + 1) * G], q, child, share, POLE and K < 3, G)
            extra = inflows
            if K > 2:
                if j <= tl.max(lag, 0):
                    inflows = with_history(inflows, history, n_lags, here, STATE_IN, G, ACC)
                extra = _window(inflows, ring, taps, n_blocks, j, lane, G, ACC)
                keep_window(inflows, ring, n_blocks, j, lane, G)
                if STATE_OUT:
                    if (j + 1 + n_blocks) * G >= T:
                        _save_history(inflows, final_history, n_lags, here, T, there, G)
            q, ys, y, before = _filter_group(
                r[k * G : (k + 1) * G], inflows, extra, y, before, c0, c01, loss, gain, G, K, POLE, LATERAL
            )
            if STATE_OUT:
                ends = here == T - 1 - END
                last_y = tl.where(ends, ys[END], last_y)
                last_inflow = tl.where(ends, inflows[END], last_inflow)
            if TRACE:
                _keep_trace(trace + j * (G * CHANNELS * R), r[k * G : (k + 1) * G], inflows, ys, LATERAL, CHANNELS, G)
            sends = (kept >= 0) & (here >= 0) & (here < T)
            for c in tl.static_range(G):
                post(mailbox + letter + here + c, q[c], sends, ACC)
            outs = outs + q
        then = to_time + m * C
        tl.store(discharge + m * C + to_offset, tile_of(outs, LOG), mask=(then >= 0) & (then < T))
    if STATE_OUT:
        tl.store(final_outflow + b * n_reaches + reach, last_y, mask=there)
        if K == 2:
            tl.store(final_history, last_inflow, mask=there & (n_lags > 0))


@triton.jit
def _keep_trace(trace, r, inflows, ys, LATERAL: tl.constexpr, CHANNELS: tl.constexpr, G: tl.constexpr):
    """Inflow (with interval runoff) (and y) of a group, for the adjoint: rows of lanes, in the order of the program."""
    for c in tl.static_range(G):
        tl.store(trace + c * CHANNELS * R, inflows[c])
        if LATERAL == INTERVAL:
            tl.store(trace + (c * CHANNELS + 1) * R, r[c])
        if CHANNELS == (3 if LATERAL == INTERVAL else 2):
            tl.store(trace + (c * CHANNELS + CHANNELS - 1) * R, ys[c])


@kernel
def route_substeps(
    runoff, discharge, mailbox, places, shares, coefficients, scale, link_start, links, link_weight, ticket,
    outflow, final_outflow, history, final_history, first_lag, ring, ring_start, taps, trace, trace_start,
    n_reaches, T, R_PITCH, PITCH, n_patches, n_batch, n_kept, WIDTH, ring_size, n_lags_all, trace_size,
    first_step, n_steps,
    S: tl.constexpr, G: tl.constexpr, K: tl.constexpr, POLE: tl.constexpr, SAMPLING: tl.constexpr,
    LATERAL: tl.constexpr, SCALED: tl.constexpr, TRACE: tl.constexpr, STATE_IN: tl.constexpr, STATE_OUT: tl.constexpr,
    INDEX: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """Route a patch through ``n_steps`` steps of runoff of ``S`` routing steps each, in groups of ``G``, a divisor of S."""
    PER_STEP: tl.constexpr = S // G
    taken = tl.atomic_add(ticket, 1)
    p = taken // n_batch
    b = (taken % n_batch).to(tl.int64)
    lane = tl.arange(0, R)
    at = p * R + lane
    n_places = n_patches * R
    reach = tl.load(places + at).to(INDEX)
    lag = tl.load(places + n_places + at)
    child = (tl.load(places + 2 * n_places + at), tl.load(places + 3 * n_places + at))
    kept = tl.load(places + 4 * n_places + at)
    there = tl.load(places + 5 * n_places + at) == 0
    share = (tl.load(shares + at), tl.load(shares + n_places + at))
    c0 = tl.load(coefficients + at)
    c01 = tl.load(coefficients + n_places + at)
    loss = tl.load(coefficients + 2 * n_places + at)
    gain = tl.load(coefficients + 3 * n_places + at)
    factor = c0 * 0 + 1
    if SCALED:
        factor = tl.load(scale + reach)
    first = tl.load(link_start + p)
    n_links = tl.load(link_start + p + 1) - first
    n_groups = n_steps * PER_STEP
    fine = n_groups * G
    row = (b * n_reaches).to(INDEX) + reach
    runoff += row * R_PITCH + first_step
    discharge += row * PITCH + first_step
    mailbox += b * n_kept * WIDTH
    letter = kept.to(INDEX) * WIDTH
    y = tl.zeros((R,), ACC)
    before = y
    y0 = y
    before0 = y
    n_blocks = 0
    n_lags = lag * 0
    if K > 1:
        lags = tl.load(first_lag + at)
        n_lags = tl.load(first_lag + n_places + at).to(tl.int32)
        history += b * n_lags_all + lags
        final_history += b * n_lags_all + lags
    if STATE_IN:
        y0 = tl.load(outflow + b * n_reaches + reach).to(ACC)
        if K > 1:
            before0 = tl.load(history, mask=n_lags > 0, other=0.0).to(ACC)
    if K > 2:
        n_blocks = tl.load(ring_start + n_patches + 1 + p)
        block0 = tl.load(ring_start + p).to(tl.int64) * R * G
        ring += b * ring_size + block0
        taps += block0
        for block in range(n_blocks):
            past_time = (-1 - block - lag) * G
            past = with_history(zeros_of(G, ACC), history, n_lags, past_time, STATE_IN, G, ACC)
            keep_window(past, ring, n_blocks, n_blocks - 1 - block, lane, G)
            if STATE_OUT:
                if n_blocks * G >= fine:
                    _save_history(past, final_history, n_lags, past_time, fine, there, G)
    if TRACE:
        trace += b * trace_size + tl.load(trace_start + p) + lane
    CHANNELS: tl.constexpr = 3 if LATERAL == INTERVAL else 2
    q = zeros_of(G, ACC)
    sample = y
    runs = there & (lag == 0)
    ahead = tl.load(runoff, mask=runs, other=0.0)
    # the first two links have their mail fetched a group ahead
    number, link_to, link_lag, weight = links_of(links, link_weight, first, n_links, lane, G)
    time1 = tl.where((n_links > 0) & (lane < G), lane - spread(link_lag, 0, lane), NEVER)
    time2 = tl.where((n_links > 1) & (lane < G), lane - spread(link_lag, 1, lane), NEVER)
    box1 = mailbox + spread(number, 0, lane).to(INDEX) * WIDTH + time1
    box2 = mailbox + spread(number, 1, lane).to(INDEX) * WIDTH + time2
    joins1 = spread(link_to, 0, lane) == lane
    joins2 = spread(link_to, 1, lane) == lane
    weight1 = spread(weight, 0, lane)
    weight2 = spread(weight, 1, lane)
    mail1 = peek(box1, (time1 >= 0) & (time1 < fine))
    mail2 = peek(box2, (time2 >= 0) & (time2 < fine))
    for j in range(n_groups + tl.max(lag, 0)):
        own = j - lag
        runs = there & (own >= 0) & (own < n_groups)
        step = (own + R * PER_STEP) // PER_STEP - R  # rounded down, also where a lane has not begun
        part = own - step * PER_STEP
        here = own * G
        held = ahead.to(ACC) * factor
        after = (own + 1 + R * PER_STEP) // PER_STEP - R
        ahead = tl.load(runoff + after, mask=there & (own + 1 >= 0) & (own + 1 < n_groups), other=0.0)
        r = ()
        for _ in tl.static_range(G):
            r = r + (held,)
        joined = r
        if LATERAL != HEAD:
            joined = zeros_of(G, ACC)
        if n_links > 0:
            mail = await_post(mail1, box1, (time1 >= 0) & (time1 < fine), ACC)
            joined = join_series(joined, mail, weight1, joins1, lane, G)
            time1 += G
            box1 += G
            mail1 = peek(box1, (time1 >= 0) & (time1 < fine))
        if n_links > 1:
            mail = await_post(mail2, box2, (time2 >= 0) & (time2 < fine), ACC)
            joined = join_series(joined, mail, weight2, joins2, lane, G)
            time2 += G
            box2 += G
            mail2 = peek(box2, (time2 >= 0) & (time2 < fine))
        if n_links > 2:
            joined = _join_all(
                joined, mailbox, links, link_weight, first, n_links, 2, j * G, fine, WIDTH, lane, G, G, INDEX, ACC
            )
        y = tl.where(own == 0, y0, y)
        before = tl.where(own == 0, before0, before)
        inflows = gather_group(joined, q, child, share, POLE and K < 3, G)
        extra = inflows
        if K > 2:
            if j <= tl.max(lag, 0):
                inflows = with_history(inflows, history, n_lags, here, STATE_IN, G, ACC)
            extra = _window(inflows, ring, taps, n_blocks, j, lane, G, ACC)
            keep_window(inflows, ring, n_blocks, j, lane, G)
            if STATE_OUT:
                if (j + 1 + n_blocks) * G >= fine:
                    _save_history(inflows, final_history, n_lags, here, fine, there, G)
        q, ys, new, last = _filter_group(r, inflows, extra, y, before, c0, c01, loss, gain, G, K, POLE, LATERAL)
        if TRACE:
            _keep_trace(trace + j * (G * CHANNELS * R), r, inflows, ys, LATERAL, CHANNELS, G)
        for c in tl.static_range(G):
            post(mailbox + letter + here + c, q[c], runs & (kept >= 0), ACC)
        sample = tl.where(part == 0, 0.0, sample)
        if SAMPLING == LAST:
            sample = q[G - 1]
        elif SAMPLING == MEAN:
            for c in tl.static_range(G):
                sample += q[c]
        else:
            sample += y
            for c in tl.static_range(G - 1):
                sample += ys[c]
        result = sample
        if SAMPLING != LAST:
            result = sample / S
        if SAMPLING == START_MEAN and LATERAL == OUTLET:
            result += held
        tl.store(discharge + step, result, mask=runs & (part == PER_STEP - 1))
        y = tl.where(runs, new, y)
        before = tl.where(runs, last, before)
    if STATE_OUT:
        tl.store(final_outflow + b * n_reaches + reach, y, mask=there)
        if K == 2:
            tl.store(final_history, before, mask=there & (n_lags > 0))
