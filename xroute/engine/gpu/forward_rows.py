"""The forward run with rows in shared memory.

`xroute.engine.gpu.forward` holds a tile of 32 columns, pieces of 128 bytes of each row, in registers, and the next one too. What
bounds it is how memory is opened. Here pieces of 256 bytes are copied to shared memory beside the computation, routed in place,
and stored; registers hold a group of steps. A lane reads and posts its mail four words at a time, from rows of its own. Inside
of the series nothing asks whether a step is one. The pieces are in `xroute.engine.gpu.rows`; the other kernel is for other types,
older devices and Triton's interpreter.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, assignment"
from __future__ import annotations

from typing import Any, NamedTuple

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
    Window,
    add_weighted,
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
    PAD,
    clear_some,
    commit_copies,
    move_four,
    open_rows,
    store_four,
    store_four_or_not,
    wait_copies,
    wait_lanes,
)
from xroute.engine.gpu.rows import (
    await_words,
    groups_inside,
    load_tile_of_rows,
    peek_words,
    post_group,
    read_columns,
    vectors_along,
    within,
    write_columns,
)

__all__ = ["NEAR", "route_rows"]

STAGES = tl.constexpr(2)
"""Tiles of a program: one that is routed, and those on their way."""
AT_ONCE = tl.constexpr(32)
"""Steps for which mail is awaited at a time. Fewer cost a quarter of the speed, more are more than registers hold."""
NEAR = tl.constexpr(40)
"""Taps for which windows have room in shared memory; longer ones stay in global memory."""
ROOM = tl.constexpr(28160)
"""Bytes of shared memory that a program takes at least.

So eight share a multiprocessor of Hopper; more of them open more rows of memory, and are slower.
"""


@triton.jit
def join_rest(joined, words, width, links, lanes, begin, end, N: tl.constexpr, mode: tl.constexpr):
    """Join the links beyond a lane's first, one by one; such are rare."""
    for k in range(links.n):
        record = links.record + (links.first + k) * 4
        to = lanes.lane == tl.load(record + 1)
        weight = tl.where(to, tl.load(links.weight + links.first + k), 0.0)
        time = tl.where(to, begin - lanes.lag * mode.group, NEVER)
        box = words + (tl.load(record).to(mode.index_type) * width + tl.where(to, time, 0))
        there = within(time, end, N, mode.group)
        values = await_words(peek_words(box, there, N, mode.group), box, there, N, mode.group)
        joined = add_weighted(joined, values, weight, N)
    return joined


@triton.jit
def bring_near(window, rows, lanes, mode: tl.constexpr):
    """A window with its taps and its ring in shared memory, in two rows of each lane."""
    G: tl.constexpr = mode.group
    WIDTH: tl.constexpr = (NEAR + PAD) * 4
    taps = rows + lanes.lane * WIDTH
    for block in range(window.n_blocks):
        columns = ()
        for c in tl.static_range(G):
            columns = columns + (tl.load(window.taps + (block * G + c) * R + lanes.lane),)
        write_columns(taps + block * (G * 4), columns, G, True)
    return Window(taps, taps + R * WIDTH, window.n_blocks, window.at)


class Mail(NamedTuple):
    """Where each lane's mail is read and posted, at its first time; whether it is, 0 or 1, and in any lane; the link's weight."""

    box: Any
    has_mail: Any
    any_mail: Any
    weight: Any
    letter: Any
    sends: Any


@triton.jit
def mail_of(network, words, width, lanes, n_places, mode: tl.constexpr):
    """The first link of each lane, and its row of the mailbox."""
    joins = tl.load(network.places + 6 * n_places + lanes.place)
    weight = tl.load(network.shares + 2 * n_places + lanes.place)
    box = words + (tl.maximum(joins, 0).to(mode.index_type) * width - lanes.lag * mode.group)
    has_mail = ((joins >= 0) & lanes.active).to(tl.int32)
    letter = words + (tl.maximum(lanes.row, 0).to(mode.index_type) * width - lanes.lag * mode.group)
    sends = ((lanes.row >= 0) & lanes.active).to(tl.int32)
    return Mail(box, has_mail, tl.max(joins, 0) >= 0, weight, letter, sends)


@triton.jit
def load_rows(to, rows, offset, first, by, end, inside, C: tl.constexpr):
    """Begin to load the tile ``by`` steps after the first."""
    if inside:
        load_tile_of_rows(to, rows + by, offset, first, end, True, C)
    else:
        load_tile_of_rows(to, rows + by, offset, first + by, end, False, C)


@triton.jit
def load_first(own, tile, rows, at, first, end, C: tl.constexpr, mode: tl.constexpr):
    """Begin to load the first tile, and the vector before it."""
    load_rows(tile + PAD * 4, rows, vectors_along(at, C), first, 0, end, False, C)
    if not mode.aligned:
        load_rows(own[:, None], rows, (at - 4)[:, None], first - 4, 0, end, False, 4)
    commit_copies(tl.arange(0, R))


@triton.jit
def clear_before(own, start, up, C: tl.constexpr):
    """Put zeros before the first step of a row that begins ``start`` columns after the tile's first vector, within a vector.

    That may hold the last steps of another row. A lane without tributaries is given its own discharge of a group before times
    0, which of what is not finite there would be a NaN.
    """
    here = (start >= 0) & (start <= C)  # also in the last vector, which the next tile begins with
    clear_some(own + tl.where(here, start, 0) * 4, tl.where(here, -up & 3, 0))


@triton.jit
def begin_tile(own, stage, before, by, depth, lanes, up, C: tl.constexpr, G: tl.constexpr):
    """Bring the last vector of the tile before, where rows begin within vectors, and clear what is not of the lane's row."""
    if by > 0:
        move_four(own + stage, own + (before + C * 4))
        wait_lanes(lanes.lane)
    if by <= depth:
        clear_before(own + stage, lanes.lag * G - by, up, C)


@triton.jit
def start_of(start, end, filter, lanes, member, n_reaches, n_lags, n_places, mode: tl.constexpr):
    """The state that lanes start with, y and inflow, and where more of it stands."""
    y = tl.zeros((R,), mode.real_type)
    inflow = y
    first_lag, lags = lags_of(filter, lanes.place, n_places, member, n_lags, mode)
    history = History(start.history + first_lag, end.history + first_lag, lags)
    if mode.state_in:
        y, inflow = state_of(start.outflow + member * n_reaches + lanes.reach, history.first, lags, mode)
    return y, inflow, history


@triton.jit
def rows_of(trace, member, trace_size, patch, lanes, mode: tl.constexpr):
    """Where the trace of each lane begins."""
    rows = trace.rows
    if mode.keep_trace:
        rows += member * trace_size + tl.load(trace.start + patch) + lanes.lane
    return rows


@triton.jit
def store_state(end, history, y, inflow, lanes, member, n_reaches, mode: tl.constexpr):
    """Store the state that lanes end with."""
    tl.store(end.outflow + member * n_reaches + lanes.reach, y, mask=lanes.active)
    if mode.n_taps == 2:
        tl.store(history.final, inflow, mask=lanes.active & (history.n_lags > 0))


@triton.jit
def store_rows(rows, offset, source, first, by, end, inside, C: tl.constexpr):
    """Store the tile ``by`` steps after the first; rows end with padding, which may be written to."""
    if inside:
        store_four(rows + by + offset, source)
    else:
        time = vectors_along(first + by, C)
        store_four_or_not(rows + by + offset, source, ((time >= 0) & (time < end)).to(tl.int32))


@kernel
def route_rows(
    series, mailbox, network, filter, start, end, trace,
    n_reaches, n_steps, runoff_pitch, discharge_pitch, n_patches, n_batch, n_sources, width, ring_size, n_lags, trace_size,
    n_known, known_pitch, mode: tl.constexpr,
):  # fmt: skip
    """`xroute.engine.gpu.forward.route_steps` in float32; the links of ``network`` are those beyond each lane's first."""
    C: tl.constexpr = mode.columns
    G: tl.constexpr = mode.group
    N: tl.constexpr = AT_ONCE
    ACC: tl.constexpr = tl.float32
    ROW: tl.constexpr = (C + PAD) * 4
    STAGE: tl.constexpr = R * ROW
    LAST: tl.constexpr = (STAGES - 1) * STAGE
    patch, member = take_ticket(mailbox.ticket, n_batch)
    lanes = lanes_down(network, patch, n_patches, mode.index_type)
    n_places = n_patches * R
    WINDOW: tl.constexpr = 2 * R * (NEAR + PAD) * 4 if mode.near else 0
    ring = tl.max(open_rows(lanes.lane, max(STAGES * STAGE + WINDOW, ROOM)), 0)  # the same number in all layouts
    own = ring + lanes.lane * ROW
    tile = own[:, None] + (tl.arange(0, C // 4) * 16)[None, :]
    depth = tl.max(lanes.lag, 0) * G
    full = tl.min(lanes.active.to(tl.int32), 0) != 0  # no lane that only repeats another
    first_time = tl.where(lanes.active, -lanes.lag * G, NEVER)

    # rows of runoff from the first vector on, `up` elements after the tile's first; what is before that is of the tile before
    row = (member * n_reaches).to(mode.index_type) + lanes.reach
    raw = row * runoff_pitch - lanes.lag * G
    up = (-raw & 3).to(tl.int32)
    offset = vectors_along(raw + up, C)
    load_first(own, tile, series.runoff, raw + up, first_time + up, n_steps, C, mode)
    for k in tl.static_range(1, STAGES - 1):
        load_rows(tile + (k * STAGE + PAD * 4), series.runoff, offset, first_time + up, k * C, n_steps, False, C)
        commit_copies(lanes.lane)
    offset_out = vectors_along(row * discharge_pitch - lanes.lag * G, C)
    n_tiles = (n_steps + depth + C - 1) // C

    coefficients = coefficients_of(filter, lanes.place, n_places)
    links = links_of(network, patch)
    words = mailbox.words + member * n_sources * width
    post = mail_of(network, words, width, lanes, n_places, mode)
    box = post.box
    mail_there = groups_inside(post.has_mail, first_time, n_steps, True, N, G)
    mail = peek_words(box, mail_there, N, G)

    y0, inflow0, history = start_of(start, end, filter, lanes, member, n_reaches, n_lags, n_places, mode)
    window = window_of(filter, patch, member, n_patches, ring_size, mode)
    if WINDOW > 0:
        window = bring_near(window, ring + STAGES * STAGE, lanes, mode)
    if mode.n_taps > 2:
        fill_window(window, history, lanes, n_steps, mode)
    rows = rows_of(trace, member, trace_size, patch, lanes, mode)
    CHANNELS: tl.constexpr = (2 if mode.lateral == INTERVAL else 1) + (1 if mode.lateral == OUTLET or mode.known else 0)
    known = known_of(series.known, lanes, member, n_known, known_pitch, mode)
    y, inflow, last_y, last_inflow = zeros_of(4, ACC)
    q = zeros_of(G, ACC)
    stage = 0
    for m in range(n_tiles):
        by = m * C  # steps since the first tile
        before = LAST if stage == 0 else stage - STAGE  # the stage of the tile before, which the next one to load takes
        wait_copies(lanes.lane, STAGES - 2)
        if not mode.aligned:
            begin_tile(own, stage, before, by, depth, lanes, up, C, G)
        ahead = by + (STAGES - 1) * C
        if ahead < n_tiles * C:
            inside = full & (ahead >= depth) & (ahead + C + 4 <= n_steps)
            load_rows(tile + (before + PAD * 4), series.runoff, offset, first_time + up, ahead, n_steps, inside, C)
        commit_copies(lanes.lane)
        for u in range(C // N):
            at = by + u * N
            mine = own + (stage + u * (N * 4))
            r = read_columns(mine + (PAD * 4 if mode.aligned else (PAD - up) * 4), N, mode.aligned)
            early = at < depth + N
            late = at + N + G > n_steps
            if mode.keep_trace:
                if late:  # what stands beyond the end must not get into the trace
                    r = before_end(r, first_time + at, n_steps, N)
            if mode.scaled:
                r = times(r, tl.load(series.scale + lanes.reach), N)
            joined = r
            if mode.lateral != HEAD:
                joined = zeros_of(N, ACC)
            if post.any_mail:
                joined = add_weighted(joined, await_words(mail, box, mail_there, N, G), post.weight, N)
                box += N
                edge = early | (at + 2 * N > n_steps)
                mail_there = groups_inside(post.has_mail, first_time + (at + N), n_steps, edge, N, G)
                mail = peek_words(box, mail_there, N, G)
                if links.n > 0:
                    joined = join_rest(joined, words, width, links, lanes, at, n_steps, N, mode)
            sent = groups_inside(post.sends, first_time + at, n_steps, early | late, N, G)
            for k in tl.static_range(N // G):
                j = at // G + k
                here = first_time + (at + k * G)
                if early:
                    y = tl.where(j == lanes.lag, y0, y)
                    inflow = tl.where(j == lanes.lag, inflow0, inflow)
                inflows = gather_group(joined[k * G : (k + 1) * G], q, lanes, mode)
                extra = inflows
                if mode.n_taps > 2:
                    inflows, extra = through_window(inflows, window, history, lanes, j, here, n_steps, mode)
                q, ys, y, inflow = filter_group(r[k * G : (k + 1) * G], inflows, extra, y, inflow, coefficients, mode)
                if mode.state_out:
                    if late:
                        ends = here == n_steps - 1 - mode.last
                        last_y = tl.where(ends, ys[mode.last], last_y)
                        last_inflow = tl.where(ends, inflows[mode.last], last_inflow)
                if mode.keep_trace:
                    to = rows + j * (G * CHANNELS * R)
                    keep_trace(to, r[k * G : (k + 1) * G], inflows, ys, mode.lateral, CHANNELS, G)
                if mode.known:
                    q = take_known(q, known, here, n_steps, G)
                post_group(post.letter + (at + k * G), q, sent[k], G)
                write_columns(mine + k * (G * 4), q, G, True)
        wait_lanes(lanes.lane)
        inside = full & (by >= depth) & (by + C <= n_steps)
        store_rows(series.discharge, offset_out, tile + stage, first_time, by, n_steps, inside, C)
        wait_lanes(lanes.lane)
        stage = 0 if stage == LAST else stage + STAGE
    if mode.state_out:
        store_state(end, history, last_y, last_inflow, lanes, member, n_reaches, mode)
