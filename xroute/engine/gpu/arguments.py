"""What the GPU kernels are given, in groups that have names.

Triton takes a NamedTuple apart, so that its members are arguments like any others, and a kernel says ``network.links``.
What a kernel is compiled for is one constant of it, a `Mode`. Numbers that it must not be compiled for, sizes above all,
stand beside the groups: in a group Triton would compile anew for each that is 1 or a multiple of 16. A state is a
`xroute.engine.arrays.State`. No member may be called ``values`` or ``type``, which Triton's own tuples have.
"""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = [
    "AdjointSeries",
    "KernelFilter",
    "KernelGradients",
    "KernelKnown",
    "KernelNetwork",
    "Mailbox",
    "Mode",
    "ReplaySeries",
    "Series",
    "Trace",
]


class KernelKnown(NamedTuple):
    """Discharge that is known on some reaches.

    Attributes
    ----------
    row : int32 [place]
        Row of each place's reach among those that are known; -1 where none is.
    series : [batch, known, time]
        NaN where it is not known.
    gradient
        With respect to it, of its shape, which the adjoint fills where it is known.
    """

    row: Any
    series: Any
    gradient: Any


class Series(NamedTuple):
    """Series of all reaches [batch, reach, time], a factor on the runoff of each [reach], and what is known of some."""

    runoff: Any
    discharge: Any
    scale: Any
    known: Any


class AdjointSeries(NamedTuple):
    """Gradients of series of all reaches [batch, reach, time], discharge and runoff of the forward run, what is known of some."""

    grad_discharge: Any
    grad_runoff: Any
    discharge: Any
    runoff: Any
    known: Any


class ReplaySeries(NamedTuple):
    """Gradients of series of all reaches [batch, reach, time], runoff of the forward run, and what is known of no reach."""

    grad_discharge: Any
    grad_runoff: Any
    runoff: Any
    known: Any


class Mailbox(NamedTuple):
    """What passes between programs.

    Attributes
    ----------
    words : [batch, row, time]
    ticket : int32 [1]
        Number of the next patch to be taken; with rows that are used again [1 + batch * row], followed by how many are done with
        each row.
    places : int32 [5, place]
        With rows that are used again: each place's row and its turn, the first row that it is given, its turn, and whether it is
        the only one that is.
    """

    words: Any
    ticket: Any
    places: Any = None


class KernelNetwork(NamedTuple):
    """How patches are made up and linked, down the network or up.

    Attributes
    ----------
    places : int32 [field, place]
        Reach of each place and how it joins the others; the fields are those of `lanes.Lanes` or `lanes.LanesUp`.
    shares : [2, place]
        Weights of the two links within the patch, or the first from outside.
    link_start : int32 [patch + 1]
        First link of each patch from other patches.
    links : int32 [link, 4]
        Row of the mailbox, lane that it joins, that lane's lag, and what the kernels do not read.
    link_weight : [link]
    """

    places: Any
    shares: Any
    link_start: Any
    links: Any
    link_weight: Any


class KernelFilter(NamedTuple):
    """Filters of all places, and room for what longer windows remember.

    Attributes
    ----------
    coefficients : [4, place]
        c0, c0 + c1, 1 - pole, gain.
    first_lag : int64 [2, place]
        Where the newest lag of a place stands in the flat history, and how many it has.
    block_start : int32 [2 (patch + 1)]
        First block of taps of each patch, then how many it has; a block has as many taps as a group has steps.
    taps : [block, tap, lane]
        Taps beyond the first two.
    ring : [batch, block, step, lane]
        Scratch: the last groups of inflow, or of the adjoint of y.
    """

    coefficients: Any
    first_lag: Any
    block_start: Any
    taps: Any
    ring: Any


class KernelGradients(NamedTuple):
    """Gradients but those of series: two of states, given and found, and the sums for the filter.

    ``filter`` is [batch, 4, place], for the first two taps, pole and gain; ``taps`` [batch, block, tap, lane].
    """

    final_state: Any
    first_state: Any
    filter: Any
    taps: Any


class Trace(NamedTuple):
    """What the forward run keeps for its adjoint [batch, group, channel, lane], and where each patch's rows begin."""

    rows: Any
    start: Any


class Mode(NamedTuple):
    """What a kernel is compiled for.

    Attributes
    ----------
    real_type, index_type
        Triton types of the arithmetic, and of positions in memory.
    n_taps
        1, 2, or 3 for longer windows.
    group
        Routing steps that a reach lags its tributaries by.
    lateral, sampling
        Numbers, as the kernels have them.
    state_in, state_out
        Whether a state is given at the start, and at the end (of the adjoint: a gradient of the final state is given).
    aligned, aligned_result
        Whether rows, and groups in them, begin at multiples of 8 elements of memory; those of the adjoint's result at ones of 4.
    log_columns
        With a routing step a step, the logarithm of the columns of a tile.
    columns
        Of a tile in shared memory.
    near
        Whether windows lie in shared memory.
    last
        In which step of its group the last step of the series stands.
    substeps
        With several routing steps a step, how many.
    vector
        With several routing steps a step, how many words of the mailbox are read and written together.
    notes
        With several routing steps a step, after how many steps of runoff notes are kept for the adjoint; 0: never.
    replay
        Whether routing is only gone through once more, from notes.
    again
        Whether rows of the mailbox are used again.
    has_pole, scaled, keep_trace, runoff_gradient, known
        Whether a pole is not 0, runoff has a factor, a trace is kept, the gradient of runoff is wanted, discharge is known
        on some reaches.
    """

    real_type: Any
    index_type: Any
    n_taps: int
    group: int
    lateral: int
    state_in: bool
    state_out: bool
    sampling: int = 0
    substeps: int = 1
    log_columns: int = 0
    columns: int = 0
    aligned: bool = False
    aligned_result: bool = False
    last: int = 0
    has_pole: bool = True
    scaled: bool = False
    keep_trace: bool = False
    runoff_gradient: bool = True
    known: bool = False
    again: bool = False
    vector: int = 1
    notes: int = 0
    replay: bool = False
    near: bool = False
