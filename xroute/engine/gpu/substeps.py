"""The Triton kernel of a forward run with several routing steps a step of runoff; see `xroute.engine.gpu` for how it works.

Two loops: over steps of runoff, and within one over the groups of its routing steps. A lane that lags by ``a`` steps and ``b``
groups takes the runoff of its step in group ``b``, until when the step before goes on, and its discharge is complete a group
before that. Where all lanes of a patch are inside of the series, nothing is asked of time: the **edges**, where some have not
begun or have ended, have a loop body of their own. Each lane reads the mail of its own first link, whole vectors of it, a group
before it is needed.

So many routing steps make much mail, and most of it has been read when a run has hardly begun. So rows of the mailbox are used
again: who has read a row alone leaves empty words behind and says so (its **turn**). Who waits for a row waits for a patch that
stands before its own, as with mail.
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
    through_window,
)
from xroute.engine.gpu.lanes import (
    EMPTY,
    HEAD,
    INTERVAL,
    LAST,
    MEAN,
    NEVER,
    OUTLET,
    START_MEAN,
    R,
    along,
    bits_of,
    coefficients_of,
    columns_of,
    join_links,
    kernel,
    known_at,
    known_of,
    lags_of,
    links_of,
    load_here,
    peek,
    state_of,
    take_ticket,
    tile_of,
    times,
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


class Course(NamedTuple):
    """What a program hands on from group to group.

    ``y`` and ``inflow`` are those of the last routing step, ``q`` is discharge of the last group, ``sample`` what is sampled of a
    step's, ``result`` that of the last whole step; ``mail`` is what has been looked at of the next group's.
    """

    y: Any
    inflow: Any
    q: Any
    sample: Any
    result: Any
    mail: Any


class Post(NamedTuple):
    """Where the mail of each lane's first link, and its own letters, stand at time 0 of a lane without lag; and who has any."""

    box: Any
    reads: Any
    weight: Any
    wipes: Any
    letter: Any
    writes: Any
    n_readers: Any


class Phase(NamedTuple):
    """By how many whole steps of runoff, and groups beyond them, each lane lags; in which group of a step it ends one."""

    steps: Any
    groups: Any
    last: Any


class Patch(NamedTuple):
    """What stays as it is while a patch is routed."""

    lanes: Any
    post: Any
    phase: Any
    y0: Any
    inflow0: Any
    coefficients: Any
    links: Any
    words: Any
    width: Any
    window: Any
    history: Any
    rows: Any
    known: Any
    first_step: Any
    n_steps: Any
    n_groups: Any
    most_lag: Any


@triton.jit
def place_of(words, row, width, lag, mode: tl.constexpr):
    """Where each lane's row of the mailbox stands at time 0 of a lane without lag, as vectors."""
    G: tl.constexpr = mode.group
    V: tl.constexpr = mode.vector
    first = (row.to(mode.index_type) * (width // V) - lag * (G // V)) * V
    return words + (first[:, None] + tl.arange(0, V)[None, :])


@triton.jit
def inside(wanted, own, n_groups, V: tl.constexpr, EDGE: tl.constexpr):
    """Whether each vector of a group's words is wanted; within the series it is not asked where that ends."""
    if EDGE:
        wanted = wanted & (own >= 0) & (own < n_groups)
    return tl.broadcast_to(wanted[:, None], (R, V))


@triton.jit
def peek_group(box, wanted, mode: tl.constexpr):
    """What may have been posted of a group by now, as vectors."""
    G: tl.constexpr = mode.group
    V: tl.constexpr = mode.vector
    mail = ()
    for c in tl.static_range(G // V):
        mail = mail + (peek(box + c * V, wanted),)
    return mail


@triton.jit
def is_missing(mail, mode: tl.constexpr):
    """Whether any word of a group is empty: of all words, as numbers without a sign, that is the largest."""
    N: tl.constexpr = mode.group // mode.vector
    WORD: tl.constexpr = tl.uint64 if mode.real_type == tl.float64 else tl.uint32
    largest = mail[0].to(WORD, bitcast=True)
    for c in tl.static_range(1, N):
        largest = tl.maximum(largest, mail[c].to(WORD, bitcast=True))
    largest = tl.max(largest, 1).to(mail[0].dtype, bitcast=True)
    return tl.max((largest == EMPTY).to(tl.int32), 0) > 0


@triton.jit
def columns_of_vectors(vectors, mode: tl.constexpr):
    """Columns of a group's vectors."""
    G: tl.constexpr = mode.group
    V: tl.constexpr = mode.vector
    columns = ()
    for c in tl.static_range(G // V):
        if V == 4:
            columns = columns + columns_of(vectors[c], 2)
        elif V == 2:
            columns = columns + columns_of(vectors[c], 1)
        else:
            columns = columns + (tl.reshape(vectors[c], (R,)),)
    return columns


@triton.jit
def vectors_of(columns, mode: tl.constexpr):
    """Vectors of a group's columns."""
    G: tl.constexpr = mode.group
    V: tl.constexpr = mode.vector
    vectors = ()
    for c in tl.static_range(G // V):
        if V == 4:
            vectors = vectors + (tile_of(columns[c * V : c * V + V], 2),)
        elif V == 2:
            vectors = vectors + (tile_of(columns[c * V : c * V + V], 1),)
        else:
            vectors = vectors + (tl.reshape(columns[c], (R, 1)),)
    return vectors


@triton.jit
def post_group(letter, columns, wanted, mode: tl.constexpr):
    """Write a group for other programs."""
    G: tl.constexpr = mode.group
    V: tl.constexpr = mode.vector
    vectors = vectors_of(columns, mode)
    for c in tl.static_range(G // V):
        tl.store(letter + c * V, bits_of(vectors[c], mode.real_type), mask=wanted)


@triton.jit
def await_turn(at, turn, wanted):
    """Wait until so many others are done with a row of the mailbox, in which they have left empty words."""
    late = 1  # a number, since Triton fails where a loop carries a vector that nobody wants after it
    while late > 0:
        late = tl.max(tl.where(wanted, turn - tl.atomic_add(at, 0, mask=wanted, sem="acquire"), 0), 0)


@triton.jit
def _wipe_group(box, wanted, mode: tl.constexpr):
    """Leave empty words where a group has been read, for who uses the row next."""
    G: tl.constexpr = mode.group
    V: tl.constexpr = mode.vector
    for c in tl.static_range(G // V):
        tl.store(box + c * V, tl.full((R, V), EMPTY, box.dtype.element_ty), mask=wanted)


@triton.jit
def add_mail(joined, mail, weight, mode: tl.constexpr):
    """Columns with a group of mail added."""
    G: tl.constexpr = mode.group
    words = columns_of_vectors(mail, mode)
    added = ()
    for c in tl.static_range(G):
        added = added + (joined[c] + weight * words[c].to(mode.real_type, bitcast=True),)
    return added


@triton.jit
def _sampled(sample, q, ys, y, mode: tl.constexpr):
    """What is sampled of a step, with a group more; ``y`` is that before the group."""
    G: tl.constexpr = mode.group
    if mode.sampling == LAST:
        return q[G - 1]
    elif mode.sampling == MEAN:
        for c in tl.static_range(G):
            sample += q[c]
        return sample
    else:
        sample += y
        for c in tl.static_range(G - 1):
            sample += ys[c]
        return sample


@triton.jit
def _keep_notes(course, at, lane, mode: tl.constexpr):
    """Keep what a program hands on, so that its adjoint can go on from there once more."""
    G: tl.constexpr = mode.group
    tl.store(at + lane, course.y)
    tl.store(at + R + lane, course.inflow)
    for c in tl.static_range(G):
        tl.store(at + (2 + c) * R + lane, course.q[c])


@triton.jit
def _keep_inflow(room, inflows, y, inflow, lane, mode: tl.constexpr):
    """Keep the inflow of a group as vectors, and y and inflow before it."""
    G: tl.constexpr = mode.group
    V: tl.constexpr = mode.vector
    vectors = vectors_of(inflows, mode)
    for c in tl.static_range(G // V):
        tl.store(vectors_at(room + c * (V * R), lane, mode), vectors[c])
    tl.store(room + G * R + lane, y)
    tl.store(room + (G + 1) * R + lane, inflow)


@triton.jit
def vectors_at(room, lane, mode: tl.constexpr):
    """Where a vector of each lane stands."""
    V: tl.constexpr = mode.vector
    return room + (lane[:, None] * V + tl.arange(0, V)[None, :])


@triton.jit
def _whole_step(sample, held, mode: tl.constexpr):
    """Discharge of a step of which all has been sampled."""
    if mode.sampling == LAST:
        return sample
    else:
        mean = sample * (1.0 / mode.substeps)
        if mode.sampling == START_MEAN and mode.lateral == OUTLET:
            mean += held
        return mean


@triton.jit
def _route_group(course, runoff, before, k, step, patch, EDGE: tl.constexpr, mode: tl.constexpr):
    """Route group ``k`` of a step of runoff, which in lanes that lag is still the one ``before``."""
    G: tl.constexpr = mode.group
    ACC: tl.constexpr = mode.real_type
    V: tl.constexpr = mode.vector
    CHANNELS: tl.constexpr = 3 if mode.lateral == INTERVAL else 2
    y, inflow, q, sample, result, mail = course
    lanes, post, n_groups = patch.lanes, patch.post, patch.n_groups
    j = step * (mode.substeps // G) + k
    own = j - lanes.lag
    runs = lanes.active & (own >= 0) & (own < n_groups)
    held = tl.where(k < patch.phase.groups, before, runoff)
    r = ()
    for _ in tl.static_range(G):
        r = r + (held,)
    joined = r
    if mode.lateral != HEAD:
        joined = zeros_of(G, ACC)
    if post.n_readers > 0:
        here = inside(post.reads, own, n_groups, V, EDGE)
        if not mode.replay:
            while is_missing(mail, mode):
                mail = peek_group(post.box + j * G, here, mode)
        joined = add_mail(joined, mail, post.weight, mode)
        if mode.again:
            _wipe_group(post.box + j * G, inside(post.wipes, own, n_groups, V, EDGE), mode)
        mail = peek_group(post.box + (j + 1) * G, inside(post.reads, own + 1, n_groups, V, EDGE), mode)
    if patch.links.n > 0:  # further links of a lane are rare
        joined = join_links(
            joined, patch.words, patch.width, patch.links, 0, j * G, n_groups * G, lanes.lane, G, True, mode
        )
    if EDGE:
        y = tl.where(own == 0, patch.y0, y)
        inflow = tl.where(own == 0, patch.inflow0, inflow)
    inflows = gather_group(joined, q, lanes, mode)
    extra = inflows
    if mode.n_taps > 2:
        inflows, extra = through_window(
            inflows, patch.window, patch.history, lanes, j, own * G, n_groups * G, mode
        )
    q, ys, new_y, new_inflow = filter_group(r, inflows, extra, y, inflow, patch.coefficients, mode)
    if mode.keep_trace:
        if j < n_groups + patch.most_lag:
            keep_trace(patch.rows + j * (G * CHANNELS * R), r, inflows, ys, mode.lateral, CHANNELS, G)
    if mode.known:
        own_step = step - patch.phase.steps - tl.where(k < patch.phase.groups, 1, 0)
        value, there = known_at(patch.known, patch.first_step + own_step, patch.first_step + patch.n_steps)
        q = hold_known(q, value, there & runs, G)
    if mode.replay:
        at = (step % mode.notes) * (mode.substeps // G) + k
        _keep_inflow(patch.rows + at * ((G + 2) * R), inflows, y, inflow, lanes.lane, mode)
    else:
        post_group(post.letter + j * G, q, inside(post.writes, own, n_groups, V, EDGE), mode)
    if mode.sampling != LAST:
        sample = tl.where(k == patch.phase.groups, 0.0, sample)
    sample = _sampled(sample, q, ys, y, mode)
    whole = _whole_step(sample, held, mode)
    if mode.known:
        whole = tl.where(there, value, whole)  # exactly, however it is sampled
    result = tl.where(k == patch.phase.last, whole, result)
    if EDGE:
        new_y = tl.where(runs, new_y, y)
        new_inflow = tl.where(runs, new_inflow, inflow)
    return Course(new_y, new_inflow, q, sample, result, mail)


@triton.jit
def route_step(course, runoff, before, step, patch, mode: tl.constexpr):
    """Route the groups of a step of runoff."""
    PER_STEP: tl.constexpr = mode.substeps // mode.group
    edge = (step * PER_STEP <= patch.most_lag) | (step >= patch.n_steps - 1)
    if edge:
        for k in range(tl.where(step * PER_STEP < patch.n_groups + patch.most_lag, PER_STEP, 0)):
            course = _route_group(course, runoff, before, k, step, patch, True, mode)
    elif PER_STEP <= 4 and not mode.replay:
        for k in tl.static_range(PER_STEP):
            course = _route_group(course, runoff, before, k, step, patch, False, mode)
    else:
        for k in range(PER_STEP):
            course = _route_group(course, runoff, before, k, step, patch, False, mode)
    return course


@triton.jit
def notes_at(number, member, n_patches, n_steps, mode: tl.constexpr):
    """Where the notes of a patch begin: those of as many blocks of steps as the patch that lags most may go through."""
    PER_STEP: tl.constexpr = mode.substeps // mode.group
    n_blocks = (n_steps + (R + PER_STEP - 2) // PER_STEP + mode.notes - 1) // mode.notes
    return (member * n_patches + number) * n_blocks * ((2 + mode.group) * R)


@kernel
def route_substeps(
    series, mailbox, network, filter, start, end, trace,
    n_reaches, first_step, n_steps, runoff_pitch, discharge_pitch, n_patches, n_batch, n_sources, width, ring_size, n_lags,
    trace_size, n_known, known_pitch, mode: tl.constexpr,
):  # fmt: skip
    """Route a patch through ``n_steps`` steps of runoff of several routing steps each, in groups of ``G``, a divisor."""
    G: tl.constexpr = mode.group
    ACC: tl.constexpr = mode.real_type
    PER_STEP: tl.constexpr = mode.substeps // G
    V: tl.constexpr = mode.vector
    C: tl.constexpr = 4  # steps of runoff that are read, and of discharge that are written, together
    number, member = take_ticket(mailbox.ticket, n_batch)
    lanes = lanes_down(network, number, n_patches, mode.index_type)
    n_places = n_patches * R
    factor = tl.full((R,), 1.0, ACC)
    if mode.scaled:
        factor = tl.load(series.scale + lanes.reach)
    y = tl.zeros((R,), ACC)
    inflow = y
    y0 = y
    inflow0 = y
    first_lag, lags = lags_of(filter, lanes.place, n_places, member, n_lags, mode)
    history = History(start.history + first_lag, end.history + first_lag, lags)
    if mode.state_in:
        y0, inflow0 = state_of(start.outflow + member * n_reaches + lanes.reach, history.first, lags, mode)
    window = window_of(filter, number, member, n_patches, ring_size, mode)
    if mode.n_taps > 2:
        fill_window(window, history, lanes, n_steps * mode.substeps, mode)
    rows = trace.rows
    if mode.keep_trace:
        rows += member * trace_size + tl.load(trace.start + number) + lanes.lane
    if mode.notes > 0:
        rows += notes_at(number, member, n_patches, n_steps, mode)
    words = mailbox.words + member * n_sources * (width // V) * V
    links = links_of(network, number)
    own_row = tl.load(mailbox.places + lanes.place)
    source = tl.load(mailbox.places + 2 * n_places + lanes.place)
    reads = source >= 0
    wipes = tl.load(mailbox.places + 4 * n_places + lanes.place) > 0
    turns = mailbox.ticket + 1 + member * n_sources
    if mode.again:
        await_turn(turns + own_row, tl.load(mailbox.places + n_places + lanes.place), own_row >= 0)
        await_turn(turns + source, tl.load(mailbox.places + 3 * n_places + lanes.place), reads)
        for k in range(links.n):
            record = links.record + (links.first + k) * 4 + lanes.lane * 0
            await_turn(turns + tl.load(record), tl.load(record + 3), lanes.lane == 0)
    post = Post(
        place_of(words, source, width, lanes.lag, mode), reads, tl.load(network.shares + 2 * n_places + lanes.place), wipes,
        place_of(words, own_row, width, lanes.lag, mode), own_row >= 0, tl.max(reads.to(tl.int32), 0),
    )  # fmt: skip
    steps = lanes.lag // PER_STEP
    groups = lanes.lag - steps * PER_STEP
    phase = Phase(steps, groups, tl.where(groups > 0, groups, PER_STEP) - 1)
    most_lag = tl.max(lanes.lag, 0)
    patch = Patch(
        lanes, post, phase, y0, inflow0, coefficients_of(filter, lanes.place, n_places), links, words,
        width, window, history, rows, known_of(series.known, lanes, member, n_known, known_pitch, mode), first_step, n_steps,
        n_steps * PER_STEP, most_lag,
    )  # fmt: skip

    row = (member * n_reaches).to(mode.index_type) + lanes.reach
    begins = tl.where(lanes.active, -steps, NEVER)
    ends = tl.where(lanes.active, tl.where(groups > 0, -1, 0) - steps, NEVER)
    runoff = row * runoff_pitch + first_step - steps
    discharge = row * discharge_pitch + first_step - steps - tl.where(groups > 0, 1, 0)
    tile = load_here(series.runoff + along(runoff, C), along(begins, C), n_steps)
    mail = peek_group(post.box, inside(reads, -lanes.lag, patch.n_groups, V, True), mode)
    course = Course(y, inflow, zeros_of(G, ACC), y, y, mail)
    before = y
    for m in range((n_steps + (most_lag + PER_STEP - 1) // PER_STEP + C - 1) // C):
        columns = times(columns_of(tile.to(ACC), 2), factor, C)
        later = (m + 1) * C
        tile = load_here(series.runoff + along(runoff + later, C), along(begins + later, C), n_steps)
        results = zeros_of(C, ACC)
        if mode.notes > 0:
            if m % (mode.notes // C) == 0:
                _keep_notes(course, rows + m // (mode.notes // C) * ((2 + G) * R), lanes.lane, mode)
        for i in range(C):
            course = route_step(course, columns[0], before, m * C + i, patch, mode)
            before = columns[0]
            columns = columns[1:] + (columns[0],)
            results = results[1:] + (course.result,)
        then = along(ends + m * C, C)
        to = series.discharge + along(discharge + m * C, C)
        tl.store(to, tile_of(results, 2), mask=(then >= 0) & (then < n_steps))
    if mode.again:
        tl.debug_barrier()  # else another thread's words might be wiped after all
        tl.atomic_add(turns + source, 1, mask=wipes, sem="release")
    if mode.state_out:
        tl.store(end.outflow + member * n_reaches + lanes.reach, course.y, mask=lanes.active)
        if mode.n_taps == 2:
            tl.store(history.final, course.inflow, mask=lanes.active & (lags > 0))
