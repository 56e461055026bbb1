"""The Triton kernel of the adjoint with several routing steps a step of runoff, which routes once more what it needs.

Inflow of all routing steps is many times as much as runoff. So the forward run keeps its mailbox and, every few steps of runoff
(a **block**), notes of what each program hands on. The adjoint takes a patch's blocks from the last to the first: it routes the
block again from its notes, without waiting for anybody since all mail is there, puts inflow where only this program looks
(small enough for the cache), and goes back through it. Both ways a lane's own time is that of the program less its lag, so that a
block is the same steps of each lane forward and backward.

A room for inflow is used by one program after another, by turns as `xroute.engine.gpu.substeps` has them.
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
    adjoint_group,
    at_end,
    ends_of,
    finish,
    lanes_up,
    result_of,
)
from xroute.engine.gpu.forward import History, filter_group, lanes_down
from xroute.engine.gpu.lanes import (
    INTERVAL,
    LAST,
    MEAN,
    NEVER,
    OUTLET,
    START_MEAN,
    R,
    along,
    coefficients_of,
    columns_of,
    join_links,
    kernel,
    known_of,
    links_of,
    load_here,
    take_ticket,
    tile_of,
    window_of,
    zeros_of,
)
from xroute.engine.gpu.substeps import (
    Course,
    Patch,
    Phase,
    Post,
    add_mail,
    columns_of_vectors,
    inside,
    is_missing,
    notes_at,
    peek_group,
    place_of,
    post_group,
    route_step,
    vectors_at,
)


class Back(NamedTuple):
    """What a program hands on from group to group, going back.

    ``later`` is the adjoint of y one step on, ``mu_below`` that of inflow in the last group; ``summed`` and ``result`` are the
    gradient of a step's runoff, so far and whole. ``kept`` is the inflow of the next group, ``mail`` what has come for it by now.
    """

    later: Any
    mu_below: Any
    sums: Any
    summed: Any
    result: Any
    kept: Any
    mail: Any
    first_lam: Any
    first_inflow: Any
    to_start: Any


class Up(NamedTuple):
    """What of a patch stays as it is, going back: its lanes, mail and links up the network, and what is known of the ends."""

    lanes: Any
    post: Any
    links: Any
    words: Any
    width: Any
    ends: Any


class Wanted(NamedTuple):
    """Gradients of discharge, of a step, of the one before and of the one after; and runoff of the step and of the one before."""

    step: Any
    before: Any
    after: Any
    runoff: Any
    runoff_before: Any


@triton.jit
def _read_inflow(room, lane, mode: tl.constexpr):
    """Inflow of a group, as vectors, and y and inflow before it."""
    G: tl.constexpr = mode.group
    V: tl.constexpr = mode.vector
    vectors = ()
    for c in tl.static_range(G // V):
        vectors = vectors + (tl.load(vectors_at(room + c * (V * R), lane, mode)),)
    return vectors, tl.load(room + G * R + lane), tl.load(room + (G + 1) * R + lane)


@triton.jit
def _given_by(wanted, after, ends_step, nothing, mode: tl.constexpr):
    """What a group's discharge and y are given: of ``wanted``, the gradient of its step's discharge, and of the step after."""
    G: tl.constexpr = mode.group
    to_q = ()
    to_y = ()
    for c in tl.static_range(G):
        if mode.sampling == MEAN:
            to_q = to_q + (wanted * (1.0 / mode.substeps),)
            to_y = to_y + (nothing,)
        elif mode.sampling == LAST:
            to_q = to_q + (tl.where(ends_step, wanted, 0.0) if c == G - 1 else nothing,)
            to_y = to_y + (nothing,)
        else:
            to_q = to_q + (nothing,)
            to_y = to_y + ((tl.where(ends_step, after, wanted) if c == G - 1 else wanted) * (1.0 / mode.substeps),)
    return to_q, to_y


@triton.jit
def _within(columns, runs, G: tl.constexpr):
    kept = ()
    for c in tl.static_range(G):
        kept = kept + (tl.where(runs, columns[c], 0.0),)
    return kept


@triton.jit
def _back_through_group(back, wanted, k, step, patch, up, EDGE: tl.constexpr, mode: tl.constexpr):
    """Go back through group ``k`` of a step of runoff."""
    G: tl.constexpr = mode.group
    ACC: tl.constexpr = mode.real_type
    V: tl.constexpr = mode.vector
    PER_STEP: tl.constexpr = mode.substeps // G
    later, mu_below, sums, summed, result, kept, mail, first_lam, first_inflow, to_start = back
    lanes, post, phase, n_groups = up.lanes, up.post, patch.phase, patch.n_groups
    j = step * PER_STEP + k
    own = j - lanes.lag
    runs = lanes.active & (own >= 0) & (own < n_groups)
    nothing = tl.full((R,), -0.0, ACC)  # which is nothing to add, even to the compiler
    nothings = ()
    for _ in tl.static_range(G):
        nothings = nothings + (nothing,)
    is_before = k < phase.groups
    now = tl.where(is_before, wanted.before, wanted.step)
    after = now
    if mode.sampling == START_MEAN:
        after = tl.where(is_before, wanted.step, wanted.after)
    held = tl.where(is_before, wanted.runoff_before, wanted.runoff)
    r = ()
    for _ in tl.static_range(G):
        r = r + (held,)
    to_q, to_y = _given_by(now, after, k == phase.last, nothing, mode)
    at = (step % mode.notes) * PER_STEP + k
    here = inside(post.reads, own, n_groups, V, EDGE)
    if EDGE:  # groups that nobody is in are left out, and nothing is read ahead over them
        kept = _read_inflow(patch.rows + at * ((G + 2) * R), lanes.lane, mode)
        mail = peek_group(post.box + j * G, here, mode)
    inflows = columns_of_vectors(kept[0], mode)
    _, ys, _, _ = filter_group(r, inflows, inflows, kept[1], kept[2], patch.coefficients, mode)
    kept = _read_inflow(patch.rows + tl.maximum(at - 1, 0) * ((G + 2) * R), lanes.lane, mode)
    if post.n_readers > 0:
        while is_missing(mail, mode):
            mail = peek_group(post.box + j * G, here, mode)
        to_q = add_mail(to_q, mail, post.weight, mode)
        mail = peek_group(post.box + (j - 1) * G, inside(post.reads, own - 1, n_groups, V, EDGE), mode)
    if up.links.n > 0:
        to_q = join_links(
            to_q, up.words, up.width, up.links, 0, j * G, n_groups * G, lanes.lane, G, True, mode
        )
    to_inflow = nothings
    time = tl.zeros((R,), tl.int32)
    if EDGE:
        inflows = _within(inflows, runs, G)
        ys = _within(ys, runs, G)
        time = own * G
        to_y = at_end(to_y, up.ends.grad_y, time, n_groups * G, G)
        to_inflow = at_end(to_inflow, up.ends.grad_inflow, time, n_groups * G, G)
        if mode.sampling == START_MEAN:
            to_start = tl.where(own == 0, now * (1.0 / mode.substeps), to_start)
    lams, mus, qs, later, sums, _ = adjoint_group(
        Given(to_q, to_y, to_inflow), Past(inflows, ys, r), mu_below, later, sums, lanes, patch.coefficients, time, (), mode
    )
    if EDGE:
        first_lam = tl.where(own == 0, later, first_lam)
        first_inflow = tl.where(own == 0, inflows[0], first_inflow)
    post_group(post.letter + j * G, mus, inside(post.writes, own, n_groups, V, EDGE), mode)
    summed = tl.where(k == phase.last, 0.0, summed)
    group_result = result_of(mus, qs, lams, patch.coefficients.gain, mode.lateral, G)
    for c in tl.static_range(G):
        summed += group_result[c]
    whole = summed
    if mode.sampling == START_MEAN and mode.lateral == OUTLET:
        whole += now
    result = tl.where(k == phase.groups, whole, result)
    return Back(later, mus, sums, summed, result, kept, mail, first_lam, first_inflow, to_start)


@triton.jit
def _back_through_step(back, wanted, step, patch, up, mode: tl.constexpr):
    """Go back through the groups of a step of runoff."""
    PER_STEP: tl.constexpr = mode.substeps // mode.group
    edge = (step * PER_STEP <= patch.most_lag) | (step >= patch.n_steps - 1)
    if edge:
        for k in range(tl.where(step * PER_STEP < patch.n_groups + patch.most_lag, PER_STEP, 0)):
            back = _back_through_group(back, wanted, PER_STEP - 1 - k, step, patch, up, True, mode)
    else:
        for k in range(PER_STEP):
            back = _back_through_group(back, wanted, PER_STEP - 1 - k, step, patch, up, False, mode)
    return back


@triton.jit
def _read_notes(at, lane, mode: tl.constexpr):
    """What a program handed on, as `xroute.engine.gpu.substeps` has kept it."""
    G: tl.constexpr = mode.group
    q = ()
    for c in tl.static_range(G):
        q = q + (tl.load(at + (2 + c) * R + lane),)
    return tl.load(at + lane), tl.load(at + R + lane), q


@triton.jit
def _one_before(rows, time, end, ACC: tl.constexpr):
    """What stands one step before a tile."""
    return tl.load(rows - 1, mask=(time - 1 >= 0) & (time - 1 < end), other=0.0).to(ACC)


@triton.jit
def _rows_of(network, number, member, n_reaches, n_patches, PER_STEP: tl.constexpr, INDEX: tl.constexpr):
    """Row of each lane's series, by how many steps it lags, and the time in it of the program's first step."""
    at = network.places + (number * R + tl.arange(0, R))
    n_places = n_patches * R
    steps = tl.load(at + n_places) // PER_STEP
    row = (member * n_reaches).to(INDEX) + tl.load(at).to(INDEX)
    return row, steps, tl.where(tl.load(at + 5 * n_places) == 0, -steps, NEVER)


@kernel
def adjoint_replayed(
    series, mailbox, network, mail_down, network_down, filter, start, grads, trace,
    n_reaches, n_steps, runoff_pitch, grad_pitch, result_pitch, n_patches, n_batch, n_sources, n_rows, width, n_lags, n_rooms,
    mode: tl.constexpr,
):  # fmt: skip
    """Adjoint of `xroute.engine.gpu.substeps.route_substeps`, of up to two taps and with no discharge known."""
    G: tl.constexpr = mode.group
    ACC: tl.constexpr = mode.real_type
    V: tl.constexpr = mode.vector
    PER_STEP: tl.constexpr = mode.substeps // G
    B: tl.constexpr = 8  # steps of a block, mode.notes
    turn, member = take_ticket(mailbox.ticket, n_batch)
    ticket = turn * n_batch + member.to(tl.int32)
    number = n_patches - 1 - turn
    n_places = n_patches * R
    coefficients = coefficients_of(filter, number * R + tl.arange(0, R), n_places)
    n_groups = n_steps * PER_STEP
    lane = tl.arange(0, R)
    # a place for inflow, when who had it before is done
    room_turns = mailbox.ticket + 1 + ticket % n_rooms
    done = tl.atomic_add(room_turns, 0, sem="acquire")
    while done < ticket // n_rooms:
        done = tl.atomic_add(room_turns, 0, sem="acquire")
    rooms = trace.start + (ticket % n_rooms).to(tl.int64) * (B * PER_STEP * (G + 2) * R)

    # down the network
    down = lanes_down(network_down, number, n_patches, mode.index_type)
    steps = down.lag // PER_STEP
    groups = down.lag - steps * PER_STEP
    phase = Phase(steps, groups, tl.where(groups > 0, groups, PER_STEP) - 1)
    most_lag = tl.max(down.lag, 0)
    words_down = mail_down.words + member * n_rows * (width // V) * V
    source = tl.load(mail_down.places + 2 * n_places + down.place)
    reads = source >= 0
    none = down.lane * 0
    post_down = Post(
        place_of(words_down, source, width, down.lag, mode), reads, tl.load(network_down.shares + 2 * n_places + down.place),
        reads, place_of(words_down, none, width, down.lag, mode), reads, tl.max(reads.to(tl.int32), 0),
    )  # fmt: skip
    lanes = lanes_up(network, number, n_patches, mode.index_type)
    ends = ends_of(start, grads, filter, lanes, member, n_reaches, n_lags, n_places, mode)
    history = History(ends.history, ends.history, ends.n_lags)
    window = window_of(filter, number, member, n_patches, 0, mode)
    known = known_of(series.known, down, member, 0, 0, mode)
    patch = Patch(
        down, post_down, phase, ends.y, ends.inflow, coefficients, links_of(network_down, number), words_down, width, window,
        history, rooms, known, 0, n_steps, n_groups, most_lag,
    )  # fmt: skip

    # and up
    words = mailbox.words + member * n_sources * (width // V) * V
    given = lanes.source >= 0
    post = Post(
        place_of(words, lanes.source, width, lanes.lag, mode), given, lanes.source_share, given,
        place_of(words, lanes.row, width, lanes.lag, mode), lanes.row >= 0, tl.max(given.to(tl.int32), 0),
    )  # fmt: skip
    up = Up(lanes, post, links_of(network, number), words, width, ends)

    zero = tl.zeros((R,), ACC)
    n_blocks = (n_steps + (most_lag + PER_STEP - 1) // PER_STEP + B - 1) // B
    notes = trace.rows + notes_at(number, member, n_patches, n_steps, mode)
    last = n_blocks * B * PER_STEP - 1
    mail = peek_group(post.box + last * G, inside(given, last - lanes.lag, n_groups, V, True), mode)
    back = Back(
        zero, zeros_of(G, ACC), Sums(zero, zero, zero, zero, zero), zero, zero,
        _read_inflow(rooms, lane, mode), mail, zero, zero, zero,
    )  # fmt: skip
    after = zero
    for b in range(n_blocks):
        first = (n_blocks - 1 - b) * B
        # where rows stand is read anew: the compiler would keep it in registers, of which there are too few
        row, late, begin = _rows_of(network_down, number, member, n_reaches, n_patches, PER_STEP, mode.index_type)
        begin += first
        late = first - late
        now = along(begin, B)
        g = columns_of(load_here(series.grad_discharge + along(row * grad_pitch + late, B), now, n_steps).to(ACC), 3)
        g_before = _one_before(series.grad_discharge + row * grad_pitch + late, begin, n_steps, ACC)
        rs = columns_of(load_here(series.runoff + along(row * runoff_pitch + late, B), now, n_steps).to(ACC), 3)
        before = _one_before(series.runoff + row * runoff_pitch + late, begin, n_steps, ACC)
        kept_rs = (before,) + rs
        y, inflow, q = _read_notes(notes + (n_blocks - 1 - b) * ((2 + G) * R), lane, mode)
        early = peek_group(
            post_down.box + first * PER_STEP * G, inside(reads, first * PER_STEP - down.lag, n_groups, V, True), mode
        )
        course = Course(y, inflow, q, zero, zero, early)
        for i in range(B):
            course = route_step(course, rs[0], before, first + i, patch, mode)
            before = rs[0]
            rs = rs[1:] + (rs[0],)
        results = zeros_of(B, ACC)
        g = (g_before,) + g
        room = rooms + (B * PER_STEP - 1) * ((G + 2) * R)
        back = Back(
            back.later, back.mu_below, back.sums, back.summed, back.result, _read_inflow(room, lane, mode), back.mail,
            back.first_lam, back.first_inflow, back.to_start,
        )  # fmt: skip
        for i in range(B):
            if mode.lateral == INTERVAL:
                wanted = Wanted(g[B], g[B - 1], after, kept_rs[B], kept_rs[B - 1])
                kept_rs = (kept_rs[B],) + kept_rs[:B]
            else:
                wanted = Wanted(g[B], g[B - 1], after, zero, zero)
            back = _back_through_step(back, wanted, first + B - 1 - i, patch, up, mode)
            after = g[B]
            g = (g[B],) + g[:B]
            results = (back.result,) + results[: B - 1]
        if mode.runoff_gradient:
            row, late, begin = _rows_of(network_down, number, member, n_reaches, n_patches, PER_STEP, mode.index_type)
            late = first - late
            then = along(begin + first, B)
            to = series.grad_runoff + along(row * result_pitch + late, B)
            tl.store(to, tile_of(results, 3), mask=(then >= 0) & (then < n_steps))
    finish(
        grads.filter + member * 4 * n_places + lanes.place, grads.first_state.outflow + member * n_reaches + lanes.reach,
        back.sums, back.first_lam, back.first_inflow, back.to_start, ends, coefficients, lanes, n_places, mode,
    )  # fmt: skip
    tl.debug_barrier()
    tl.atomic_add(room_turns, 1, sem="release")
