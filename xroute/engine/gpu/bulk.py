"""The forward run by bulk copies: rows of runoff and discharge pass through shared memory, a piece of each lane's row at a time.

The kernel of `xroute.engine.gpu.forward` moves tiles through registers, in pieces of 128 bytes, and holds them there. What bounds it is
how memory is opened: pieces of 256 bytes and fewer programs at a time come much nearer to a copy. Here a lane's piece is loaded by a
copy of its own, routed in place, and stored by another, while the next one is on its way; registers hold a group of steps. Mail is
read and posted four words at a time, each lane its own row. See `xroute.engine.gpu.ptx` for the pieces, which need compute capability
9.0; the other kernel is for all else, and for Triton's interpreter.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, assignment"
from __future__ import annotations

import triton
import triton.language as tl

from xroute.engine.gpu.forward import (
    History,
    fill_window,
    filter_group,
    gather_group,
    keep_trace,
    lanes_down,
    take_known,
    through_window,
)
from xroute.engine.gpu.lanes import (
    HEAD,
    INTERVAL,
    NEVER,
    OUTLET,
    R,
    before_end,
    coefficients_of,
    kernel,
    known_of,
    lags_of,
    links_of,
    state_of,
    take_ticket,
    times,
    window_of,
    zeros_of,
)
from xroute.engine.gpu.ptx import (
    BARRIERS,
    PAD,
    await_sixteen,
    bulk_load,
    bulk_store,
    finish_bulk,
    open_ring,
    peek_four,
    post_four,
    read_four,
    read_some,
    wait_for_tile,
    write_four,
)

__all__ = ["route_bulk"]

STAGES = tl.constexpr(2)
"""Tiles of a program: one that is routed, and one on its way."""
AT_ONCE = tl.constexpr(16)
"""Steps for which mail is awaited at a time."""
AHEAD = tl.constexpr(2)
"""So many times as many steps before, it is looked at first: about as long as memory takes to answer."""


@triton.jit
def load_pieces(to, rows, by, m, time, end, barrier, lane, C: tl.constexpr):
    """Begin to load tile ``m``, of each lane the vectors of its window that hold steps of the series."""
    here = time + m * C
    first = tl.maximum(-here, 0) // 4
    last = tl.minimum((end - here + 3) // 4, (C + PAD) // 4)
    n_bytes = tl.maximum(last - first, 0) * 16
    bulk_load(to + first * 16, rows + (m * C + first * 4), n_bytes, barrier, True)


@triton.jit
def store_pieces(rows, source, m, time, end, C: tl.constexpr):
    """Begin to store tile ``m``, of each lane the vectors that hold steps of the series, or padding."""
    here = time + m * C
    first = tl.maximum(-here, 0)
    last = tl.minimum((end + 7) // 8 * 8 - here, C)
    n_bytes = tl.maximum(last - first, 0) * 4
    bulk_store(rows + (m * C + first), source + first * 4, n_bytes)


@triton.jit
def read_columns(address, N: tl.constexpr, ALIGNED: tl.constexpr):
    """``N`` columns of a lane's row in shared memory."""
    columns = ()
    for k in tl.static_range(0, N, 4):
        if ALIGNED:
            columns = columns + read_four(address + k * 4)
        else:
            columns = columns + read_some(address + k * 4)
    return columns


@triton.jit
def write_columns(address, columns, N: tl.constexpr):
    for k in tl.static_range(0, N, 4):
        write_four(address + k * 4, columns[k], columns[k + 1], columns[k + 2], columns[k + 3])


@triton.jit
def within(time, end, N: tl.constexpr, G: tl.constexpr):
    """Of each group of ``N`` steps from ``time`` on, whether it is one of the series: 0 or 1."""
    there = ()
    for k in tl.static_range(0, N, G):
        there = there + (((time + k >= 0) & (time + k < end)).to(tl.int32),)
    return there


@triton.jit
def peek_words(box, there, N: tl.constexpr, G: tl.constexpr):
    """What may have been posted by now for ``N`` steps."""
    mail = ()
    for k in tl.static_range(0, N, 4):
        mail = mail + (peek_four(box + k, there[k // G]),)
    return mail


@triton.jit
def add_weighted(columns, more, weight, N: tl.constexpr):
    """Columns and a share of others."""
    added = ()
    for c in tl.static_range(N):
        added = added + (columns[c] + weight * more[c],)
    return added


@triton.jit
def join_rest(joined, words, width, links, lanes, begin, end, N: tl.constexpr, mode: tl.constexpr):
    """Join the links beyond a lane's first, one by one; such are rare."""
    for k in range(links.n):
        record = links.record + (links.first + k) * 4
        row = tl.load(record)
        to = lanes.lane == tl.load(record + 1)
        weight = tl.where(to, tl.load(links.weight + links.first + k), 0.0)
        time = tl.where(to, begin - lanes.lag * mode.group, NEVER)
        box = words + (row.to(mode.index_type) * width + tl.where(to, time, 0))
        there = within(time, end, N, mode.group)
        values = await_sixteen(peek_words(box, there, N, mode.group), box)
        joined = add_weighted(joined, values, weight, N)
    return joined


@kernel
def route_bulk(
    series, mailbox, network, filter, start, end, trace,
    n_reaches, n_steps, runoff_pitch, discharge_pitch, n_patches, n_batch, n_sources, width, ring_size, n_lags, trace_size,
    n_known, known_pitch, mode: tl.constexpr,
):  # fmt: skip
    """`xroute.engine.gpu.forward.route_steps` in float32, by bulk copies; of ``network``, links are those beyond each lane's first."""
    C: tl.constexpr = 1 << mode.log_columns
    G: tl.constexpr = mode.group
    N: tl.constexpr = AT_ONCE
    ACC: tl.constexpr = tl.float32
    ROW: tl.constexpr = (C + PAD) * 4
    STAGE: tl.constexpr = R * ROW
    patch, member = take_ticket(mailbox.ticket, n_batch)
    lanes = lanes_down(network, patch, n_patches, mode.index_type)
    lane = lanes.lane
    n_places = n_patches * R
    ring = open_ring(lane, BARRIERS + STAGES * STAGE)
    barrier = ring
    ring += BARRIERS + lane * ROW
    first_time = tl.where(lanes.active, -lanes.lag * G, NEVER)

    # a window of runoff begins at the multiple of 4 elements `by` elements before the tile
    row = (member * n_reaches).to(mode.index_type) + lanes.reach
    raw = row * runoff_pitch - lanes.lag * G
    by = (raw & 3).to(tl.int32)
    rows = series.runoff + (raw - by)
    window_time = first_time - by
    load_pieces(ring, rows, by, 0, window_time, n_steps, barrier, lane, C)
    rows_out = series.discharge + (row * discharge_pitch - lanes.lag * G)

    coefficients = coefficients_of(filter, lanes.place, n_places)
    factor = coefficients.c0
    if mode.scaled:
        factor = tl.load(series.scale + lanes.reach)
    links = links_of(network, patch)
    n_chunks = (n_steps + tl.max(lanes.lag, 0) * G + C - 1) // C
    words = mailbox.words + member * n_sources * width
    joins = tl.load(network.places + 6 * n_places + lanes.place)
    weight = tl.load(network.shares + 2 * n_places + lanes.place)
    box = words + (tl.maximum(joins, 0).to(mode.index_type) * width - lanes.lag * G)
    mail_time = tl.where(joins >= 0, first_time, NEVER)
    letter = words + (tl.maximum(lanes.row, 0).to(mode.index_type) * width - lanes.lag * G)
    post_time = tl.where(lanes.row >= 0, first_time, NEVER)
    joined_from_outside = tl.max(joins, 0) >= 0
    mails = ()
    for h in tl.static_range(AHEAD):
        mails = mails + (peek_words(box + h * N, within(mail_time + h * N, n_steps, N, G), N, G),)

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
    trace_rows = trace.rows
    if mode.keep_trace:
        trace_rows += member * trace_size + tl.load(trace.start + patch) + lane
    CHANNELS: tl.constexpr = (2 if mode.lateral == INTERVAL else 1) + (1 if mode.lateral == OUTLET or mode.known else 0)
    known = known_of(series.known, lanes, member, n_known, known_pitch, mode)
    last_y = y
    last_inflow = y
    q = zeros_of(G, ACC)
    for m in range(n_chunks):
        stage = (m % STAGES) * STAGE
        wait_for_tile(barrier + (m % STAGES) * 8, (m // STAGES) & 1)
        if m + 1 < n_chunks:
            after = (m + 1) % STAGES
            load_pieces(ring + after * STAGE, rows, by, m + 1, window_time, n_steps, barrier + after * 8, lane, C)
        for u in range(C // (AHEAD * N)):
            for h in tl.static_range(AHEAD):
                at = m * C + (u * AHEAD + h) * N
                mine = ring + (stage + (u * AHEAD + h) * (N * 4))
                if mode.aligned:
                    r = read_columns(mine, N, True)
                else:
                    r = read_columns(mine + by * 4, N, False)
                if mode.keep_trace:
                    if at + N > n_steps:  # what stands beyond the end must not get into the trace
                        r = before_end(r, first_time + at, n_steps, N)
                if mode.scaled:
                    r = times(r, factor, N)
                joined = r
                if mode.lateral != HEAD:
                    joined = zeros_of(N, ACC)
                if joined_from_outside:
                    joined = add_weighted(joined, await_sixteen(mails[0], box), weight, N)
                    box += N
                    mails = mails[1:] + (
                        peek_words(box + (AHEAD - 1) * N, within(mail_time + (at + AHEAD * N), n_steps, N, G), N, G),
                    )
                    if links.n > 0:
                        joined = join_rest(joined, words, width, links, lanes, at, n_steps, N, mode)
                sent = within(post_time + at, n_steps, N, G)
                for k in tl.static_range(N // G):
                    j = at // G + k
                    here = first_time + (at + k * G)
                    y = tl.where(j == lanes.lag, y0, y)
                    inflow = tl.where(j == lanes.lag, inflow0, inflow)
                    inflows = gather_group(joined[k * G : (k + 1) * G], q, lanes, mode.has_pole and mode.n_taps < 3, G)
                    extra = inflows
                    if mode.n_taps > 2:
                        inflows, extra = through_window(inflows, window, history, lanes, j, here, n_steps, mode)
                    q, ys, y, inflow = filter_group(
                        r[k * G : (k + 1) * G], inflows, extra, y, inflow, coefficients, mode
                    )
                    if mode.state_out:
                        ends = here == n_steps - 1 - mode.last
                        last_y = tl.where(ends, ys[mode.last], last_y)
                        last_inflow = tl.where(ends, inflows[mode.last], last_inflow)
                    if mode.keep_trace:
                        to = trace_rows + j * (G * CHANNELS * R)
                        keep_trace(to, r[k * G : (k + 1) * G], inflows, ys, mode.lateral, CHANNELS, G)
                    if mode.known:
                        q = take_known(q, known, here, n_steps, G)
                    for c in tl.static_range(0, G, 4):
                        post_four(letter + (at + k * G + c), q[c], q[c + 1], q[c + 2], q[c + 3], sent[k])
                    write_columns(mine + k * (G * 4), q, G)
        store_pieces(rows_out, ring + stage, m, first_time, n_steps, C)
    finish_bulk(lane)
    if mode.state_out:
        tl.store(end.outflow + member * n_reaches + lanes.reach, last_y, mask=lanes.active)
        if mode.n_taps == 2:
            tl.store(history.final, last_inflow, mask=lanes.active & (lags > 0))
