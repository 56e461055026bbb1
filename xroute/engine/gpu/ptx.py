"""Pieces of PTX for what Triton has no words for: rows that bulk copies move through shared memory, and mail in vectors.

All take vectors of one element a lane, in programs of one warp, so that each thread runs its piece once, for its own lane. A lane's
row lies in shared memory with ``PAD`` columns more than a tile has, so that vectors of 16 bytes of neighbouring lanes lie in
different banks; those columns also hold the end of a window that begins up to three elements before its tile.

The copies pass outside of ordinary loads and stores (PTX ISA, "async proxy"): a barrier in shared memory counts the bytes that have
arrived, and a fence stands between what a lane wrote and the copy that takes it. A lane's row is written, read and copied by that lane
alone. Pieces with side effects are never moved or dropped, which keeps them in order.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, assignment"
from __future__ import annotations

import triton
import triton.language as tl

__all__ = [
    "PAD", "await_sixteen", "bulk_load", "bulk_store", "commit_copies", "copy_four", "copy_four_or_zeros", "finish_bulk",
    "move_four", "open_ring", "open_rows", "peek_four", "post_four", "read_four", "read_one", "read_some", "ring_bytes",
    "store_four", "store_four_or_not", "wait_copies", "wait_for_tile", "wait_lanes", "write_four", "write_some",
]  # fmt: skip

PAD = tl.constexpr(4)
BARRIERS = tl.constexpr(64)
"""Bytes at the beginning of the shared memory for its barriers, of 8 bytes each."""


def ring_bytes(n_series: int, n_stages: int, columns: int, lanes: int = 32) -> int:
    """Bytes of shared memory for so many series, tiles of each at a time, and columns."""
    return int(BARRIERS.value) + n_series * n_stages * lanes * (columns + int(PAD.value)) * 4


def _declare(size: int) -> tl.constexpr:
    return tl.constexpr(f"""
    .shared .align 128 .b8 xroute_ring[{size}];
    {{
        .reg .pred first; .reg .b32 id, bar;
        mov.u32 $0, xroute_ring;
        mov.u32 id, %laneid;
        setp.lt.u32 first, id, {int(BARRIERS.value) // 8};
        mad.lo.u32 bar, id, 8, $0;
        @first mbarrier.init.shared.b64 [bar], 1;
        fence.proxy.async.shared::cta;
        bar.warp.sync 0xffffffff;
    }}""")


_SMALL, _MIDDLE, _LARGE = (_declare(size) for size in (17472, 33856, 48896))


@triton.jit
def open_ring(lane, BYTES: tl.constexpr):
    """Address of the program's shared memory, its barriers ready; once in a kernel."""
    tl.static_assert(BYTES <= 48896, "a program has 48 KB of shared memory")
    if BYTES <= 17472:
        return tl.inline_asm_elementwise(_SMALL, "=&r,r", [lane], tl.int32, False, 1)
    elif BYTES <= 33856:
        return tl.inline_asm_elementwise(_MIDDLE, "=&r,r", [lane], tl.int32, False, 1)
    else:
        return tl.inline_asm_elementwise(_LARGE, "=&r,r", [lane], tl.int32, False, 1)


_LOAD = tl.constexpr("""{
    .reg .pred first, some; .reg .b32 total, id;
    redux.sync.add.s32 total, $3, 0xffffffff;
    mov.u32 id, %laneid;
    setp.eq.u32 first, id, 0;
    setp.gt.s32 some, $3, 0;
    cp.async.bulk.wait_group.read 0;
    @first mbarrier.arrive.expect_tx.shared.b64 _, [$4], total;
    @some cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [$1], [$2], $3, [$4];
    mov.b32 $0, total;
}""")
_MORE = tl.constexpr("""{
    .reg .pred first, some; .reg .b32 total, id;
    redux.sync.add.s32 total, $3, 0xffffffff;
    mov.u32 id, %laneid;
    setp.eq.u32 first, id, 0;
    setp.gt.s32 some, $3, 0;
    @first mbarrier.expect_tx.relaxed.cta.shared.b64 [$4], total;
    @some cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [$1], [$2], $3, [$4];
    mov.b32 $0, total;
}""")


@triton.jit
def bulk_load(to, rows, n_bytes, barrier, LAST: tl.constexpr):
    """Begin to load each lane's piece of a row, a multiple of 16 bytes or none; the ``LAST`` of a tile lets its barrier go.

    What the lane has begun to store from this memory is waited for.
    """
    if LAST:
        tl.inline_asm_elementwise(_LOAD, "=&r,r,l,r,r", [to, rows.to(tl.int64), n_bytes, barrier], tl.int32, False, 1)
    else:
        tl.inline_asm_elementwise(_MORE, "=&r,r,l,r,r", [to, rows.to(tl.int64), n_bytes, barrier], tl.int32, False, 1)


_WAIT = tl.constexpr("""{
    .reg .pred here;
    AGAIN:
    mbarrier.try_wait.parity.shared.b64 here, [$1], $2;
    vote.sync.all.pred here, here, 0xffffffff;
    @here bra.uni DONE;
    bra.uni AGAIN;
    DONE:
    mov.b32 $0, 0;
}""")


@triton.jit
def wait_for_tile(barrier, parity):
    """Wait until the ``parity``-th (0 or 1 in turn) tile that a barrier counts has arrived."""
    tl.inline_asm_elementwise(_WAIT, "=&r,r,r", [barrier, parity], tl.int32, False, 1)


_STORE = tl.constexpr("""{
    .reg .pred some;
    setp.gt.s32 some, $3, 0;
    fence.proxy.async.shared::cta;
    @some cp.async.bulk.global.shared::cta.bulk_group [$1], [$2], $3;
    cp.async.bulk.commit_group;
    mov.b32 $0, 0;
}""")


@triton.jit
def bulk_store(rows, source, n_bytes):
    """Begin to store each lane's piece of a row, a multiple of 16 bytes or none."""
    tl.inline_asm_elementwise(_STORE, "=&r,l,r,r", [rows.to(tl.int64), source, n_bytes], tl.int32, False, 1)


@triton.jit
def finish_bulk(lane):
    """Wait until all has been stored: the shared memory goes with the program."""
    tl.inline_asm_elementwise("cp.async.bulk.wait_group 0; mov.b32 $0, $1;", "=r,r", [lane], tl.int32, False, 1)


_READ = tl.constexpr("""
    ld.shared.b32 $0, [$4]; ld.shared.b32 $1, [$4+4]; ld.shared.b32 $2, [$4+8]; ld.shared.b32 $3, [$4+12];""")


@triton.jit
def read_some(address):
    """Four columns from any column on."""
    return tl.inline_asm_elementwise(_READ, "=&f,=&f,=&f,=&f,r", [address], (tl.float32,) * 4, False, 1)


@triton.jit
def read_four(address):
    """Four columns from a multiple of 16 bytes on."""
    return tl.inline_asm_elementwise(
        "ld.shared.v4.b32 {$0, $1, $2, $3}, [$4];", "=f,=f,=f,=f,r", [address], (tl.float32,) * 4, False, 1
    )


@triton.jit
def read_one(address):
    """A column."""
    return tl.inline_asm_elementwise("ld.shared.b32 $0, [$1];", "=f,r", [address], tl.float32, False, 1)


_WRITE = tl.constexpr("""
    st.shared.b32 [$1], $2; st.shared.b32 [$1+4], $3; st.shared.b32 [$1+8], $4; st.shared.b32 [$1+12], $5; mov.b32 $0, 0;""")


@triton.jit
def write_some(address, a, b, c, d):
    """Write four columns, from any column on."""
    tl.inline_asm_elementwise(_WRITE, "=r,r,f,f,f,f", [address, a, b, c, d], tl.int32, False, 1)


@triton.jit
def write_four(address, a, b, c, d):
    """Write four columns, from a multiple of 16 bytes on."""
    tl.inline_asm_elementwise(
        "st.shared.v4.b32 [$1], {$2, $3, $4, $5}; mov.b32 $0, 0;",
        "=r,r,f,f,f,f",
        [address, a, b, c, d],
        tl.int32,
        False,
        1,
    )


# ── rows that all lanes move together, in vectors ───────────────────────────────────────────────────────────────────────

_ROWS = {size: tl.constexpr(f".shared .align 16 .b8 xroute_rows[{size}]; mov.u32 $0, xroute_rows;") for size in (29696, 44544)}
_TWO, _THREE = _ROWS.values()


@triton.jit
def open_rows(lane, BYTES: tl.constexpr):
    """Address of the program's shared memory; once in a kernel."""
    tl.static_assert(BYTES <= 44544, "a program has 48 KB of shared memory")
    if BYTES <= 29696:
        return tl.inline_asm_elementwise(_TWO, "=r,r", [lane], tl.int32, False, 1)
    else:
        return tl.inline_asm_elementwise(_THREE, "=r,r", [lane], tl.int32, False, 1)


@triton.jit
def copy_four(to, source):
    """Begin to copy vectors from global memory."""
    tl.inline_asm_elementwise(
        "cp.async.cg.shared.global [$1], [$2], 16; mov.b32 $0, 0;", "=r,r,l", [to, source.to(tl.int64)], tl.int32, False, 1
    )


@triton.jit
def copy_four_or_zeros(to, source, n_bytes):
    """Begin to copy vectors from global memory, or zeros where ``n_bytes`` is not 16 but 0."""
    tl.inline_asm_elementwise(
        "cp.async.cg.shared.global [$1], [$2], 16, $3; mov.b32 $0, 0;",
        "=r,r,l,r",
        [to, source.to(tl.int64), n_bytes],
        tl.int32,
        False,
        1,
    )


@triton.jit
def commit_copies(lane):
    """End a group of copies."""
    tl.inline_asm_elementwise("cp.async.commit_group; mov.b32 $0, $1;", "=r,r", [lane], tl.int32, False, 1)


@triton.jit
def wait_copies(lane, MORE: tl.constexpr):
    """Wait until all groups of copies of all lanes but the last ``MORE`` are there."""
    if MORE == 0:
        tl.inline_asm_elementwise(
            "cp.async.wait_group 0; bar.warp.sync 0xffffffff; mov.b32 $0, $1;", "=r,r", [lane], tl.int32, False, 1
        )
    else:
        tl.static_assert(MORE == 1)
        tl.inline_asm_elementwise(
            "cp.async.wait_group 1; bar.warp.sync 0xffffffff; mov.b32 $0, $1;", "=r,r", [lane], tl.int32, False, 1
        )


@triton.jit
def wait_lanes(lane):
    """Wait until all lanes have come here, and see what they wrote."""
    tl.inline_asm_elementwise("bar.warp.sync 0xffffffff; mov.b32 $0, $1;", "=r,r", [lane], tl.int32, False, 1)


@triton.jit
def move_four(to, source):
    """Copy four columns within shared memory."""
    tl.inline_asm_elementwise(
        "{ .reg .b32 a, b, c, d; ld.shared.v4.b32 {a, b, c, d}, [$2]; st.shared.v4.b32 [$1], {a, b, c, d}; mov.b32 $0, 0; }",
        "=r,r,r",
        [to, source],
        tl.int32,
        False,
        1,
    )


_STORE_FOUR = tl.constexpr("""{
    .reg .pred there; .reg .b32 a, b, c, d;
    setp.ne.b32 there, $3, 0;
    ld.shared.v4.b32 {a, b, c, d}, [$2];
    @there st.global.v4.b32 [$1], {a, b, c, d};
    mov.b32 $0, 0;
}""")


@triton.jit
def store_four(to, source):
    """Copy vectors to global memory."""
    tl.inline_asm_elementwise(
        "{ .reg .b32 a, b, c, d; ld.shared.v4.b32 {a, b, c, d}, [$2]; st.global.v4.b32 [$1], {a, b, c, d}; mov.b32 $0, 0; }",
        "=r,l,r",
        [to.to(tl.int64), source],
        tl.int32,
        False,
        1,
    )


@triton.jit
def store_four_or_not(to, source, there):
    """Copy vectors to global memory, where ``there`` is not 0."""
    tl.inline_asm_elementwise(_STORE_FOUR, "=r,l,r,r", [to.to(tl.int64), source, there], tl.int32, False, 1)


# ── mail ────────────────────────────────────────────────────────────────────────────────────────────────────────────────

_PEEK = tl.constexpr("""{
    .reg .pred there;
    setp.ne.b32 there, $5, 0;
    mov.b32 $0, 0; mov.b32 $1, 0; mov.b32 $2, 0; mov.b32 $3, 0;
    @there ld.volatile.global.v4.b32 {$0, $1, $2, $3}, [$4];
}""")


@triton.jit
def peek_four(box, there):
    """What may have been posted by now of four words, from a multiple of 16 bytes on; 0 where ``there`` is 0."""
    return tl.inline_asm_elementwise(_PEEK, "=&r,=&r,=&r,=&r,l,r", [box.to(tl.int64), there], (tl.int32,) * 4, False, 1)


def _await(n: int) -> tuple[tl.constexpr, tl.constexpr]:
    """Wait for ``n`` vectors; all lanes go on together, since a warp that has parted would run what follows once for each part."""
    words = [[f"${4 * v + k}" for k in range(4)] for v in range(n)]
    given = [[f"${4 * n + 4 * v + k}" for k in range(4)] for v in range(n)]
    copies = "".join(f"mov.b32 {a}, {b}; " for w, g in zip(words, given, strict=True) for a, b in zip(w, g, strict=True))
    look = again = ""
    for v, w in enumerate(words):
        look += f"setp.eq.b32 e{v}, {w[0]}, -1; " + "".join(f"setp.eq.or.b32 e{v}, {word}, -1, e{v}; " for word in w[1:])
        look += f"or.pred any, any, e{v}; " if v else f"mov.pred any, e{v}; "
        again += f"@e{v} ld.volatile.global.v4.b32 {{{', '.join(w)}}}, [${8 * n} + {16 * v}]; "
    names = ", ".join(f"e{v}" for v in range(n))
    asm = f"""{{
        .reg .pred any, {names};
        {copies}
        AGAIN:
        {look}
        vote.sync.any.pred any, any, 0xffffffff;
        @!any bra.uni DONE;
        {again}
        bra.uni AGAIN;
        DONE:
    }}"""
    return tl.constexpr(asm), tl.constexpr(",".join(["=&f"] * (4 * n) + ["r"] * (4 * n) + ["l"]))


_AWAIT, _AWAIT_HOW = _await(4)


@triton.jit
def await_sixteen(mail, box):
    """Four vectors of four words that were peeked at, read again until all of them are there."""
    a, b, c, d = mail
    words = [a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3], c[0], c[1], c[2], c[3], d[0], d[1], d[2], d[3]]
    return tl.inline_asm_elementwise(_AWAIT, _AWAIT_HOW, words + [box.to(tl.int64)], (tl.float32,) * 16, False, 1)


_POST = tl.constexpr("""{
    .reg .pred there;
    setp.ne.b32 there, $6, 0;
    @there st.global.v4.b32 [$1], {$2, $3, $4, $5};
    mov.b32 $0, 0;
}""")


@triton.jit
def post_four(box, a, b, c, d, there):
    """Write four words for other programs, from a multiple of 16 bytes on, where ``there`` is not 0."""
    tl.inline_asm_elementwise(_POST, "=r,l,f,f,f,f,r", [box.to(tl.int64), a, b, c, d, there], tl.int32, False, 1)
