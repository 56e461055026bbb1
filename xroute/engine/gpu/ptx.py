"""Pieces of PTX for what Triton has no words for: rows that pass through shared memory, and mail in vectors.

Pieces for a lane take vectors of one element a lane, in programs of one warp, so that each thread runs its piece once, for its
own lane; pieces for rows take tiles of vectors of 16 bytes, which Triton spreads over the lanes. Pieces with side effects are
never moved or dropped, which keeps them in order. Loops must be of Triton: a warp whose lanes part in a loop of assembly runs
what follows once for each part.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, assignment"
from __future__ import annotations

import triton
import triton.language as tl

__all__ = [
    "PAD", "clear_some", "commit_copies", "copy_four", "copy_four_or_zeros", "move_four", "open_rows", "peek_four",
    "post_four", "read_four", "read_one", "read_some", "store_four", "store_four_or_not", "wait_copies", "wait_lanes",
    "write_four", "write_some",
]  # fmt: skip

PAD = tl.constexpr(4)


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

_SIZES = 19456, 28160, 29696, 35840, 44544
_ROWS = tuple(f".shared .align 128 .b8 xroute_rows[{size}]; mov.u32 $0, xroute_rows;" for size in _SIZES)
_A, _B, _C, _D, _E = map(tl.constexpr, _ROWS)


@triton.jit
def open_rows(lane, BYTES: tl.constexpr):
    """Address of the program's shared memory; once in a kernel."""
    tl.static_assert(BYTES <= 44544, "a program has 48 KB of shared memory")
    if BYTES <= 19456:
        return tl.inline_asm_elementwise(_A, "=r,r", [lane], tl.int32, False, 1)
    elif BYTES <= 28160:
        return tl.inline_asm_elementwise(_B, "=r,r", [lane], tl.int32, False, 1)
    elif BYTES <= 29696:
        return tl.inline_asm_elementwise(_C, "=r,r", [lane], tl.int32, False, 1)
    elif BYTES <= 35840:
        return tl.inline_asm_elementwise(_D, "=r,r", [lane], tl.int32, False, 1)
    else:
        return tl.inline_asm_elementwise(_E, "=r,r", [lane], tl.int32, False, 1)


@triton.jit
def copy_four(to, source):
    """Begin to copy vectors from global memory, of which the cache brings whole pieces of 256 bytes."""
    tl.inline_asm_elementwise(
        "cp.async.cg.shared.global.L2::256B [$1], [$2], 16; mov.b32 $0, 0;",
        "=r,r,l",
        [to, source.to(tl.int64)],
        tl.int32,
        False,
        1,
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


_CLEAR = tl.constexpr("""{
    .reg .pred one, two, three; .reg .b32 zero;
    setp.gt.s32 one, $2, 0; setp.gt.s32 two, $2, 1; setp.gt.s32 three, $2, 2; mov.b32 zero, 0;
    @one st.shared.b32 [$1], zero; @two st.shared.b32 [$1+4], zero; @three st.shared.b32 [$1+8], zero;
    mov.b32 $0, 0;
}""")


@triton.jit
def clear_some(address, n):
    """Write zeros to the first ``n`` of four columns, at most three."""
    tl.inline_asm_elementwise(_CLEAR, "=r,r,r", [address, n], tl.int32, False, 1)


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
