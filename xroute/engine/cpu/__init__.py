"""The CPU engine.

`backend` is how others reach it. `forward` and `adjoint` walk a schedule on threads, with what `walk` gives both; `kernels` and
`adjoint_kernels` are what they call, compiled by numba; `transpose` lays runoff out with time contiguous; `intrinsics` and
`vectors` are machine instructions that numba lacks, of one number and of eight.
"""
