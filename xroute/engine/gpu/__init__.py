"""The GPU engine: one Triton launch routes a network, discharge flowing from patch to patch.

A program is one warp. It takes a ticket and routes one patch (`xroute.engine.patches`) through the whole series, one
reach a lane, time in the registers of each: a recurrence costs two dependent operations a step, and a tributary is a
shuffle away because the reach below lags it by a group of steps. Runoff and discharge move as tiles, aligned to memory,
at nearly the speed of a copy.

Series that join from other patches come through a mailbox (`lanes`), read again until they are there. Waiting
cannot deadlock: tickets are handed out in the order of the patches, and a patch reads only patches that stand before it; so
whatever a program waits for was started before it, and by induction the oldest unfinished program waits for nothing.
Programs that have not started hold no ticket, so nobody can wait for them. Rows of the mailbox that one series uses after
another, and rooms that one program uses after another, are waited for in the same order. Nothing is summed by atomics, so a run
gives the same bits each time.

In the room: `backend` is how others reach it. `host` routes what lies in the host's memory, or is cupy's, by way of `staging`.
`launch` and `gradients` launch the kernels, forward and adjoint, by way of `dispatch`, on what `layout` (the network and its
filter) and `memory` (series, mailbox, traces) have put on the device, in the groups that `arguments` names. The kernels are
`forward` and `adjoint`; in float32, on recent devices, `forward_rows` and `adjoint_rows`, whose rows pass through shared memory
(`rows`, of the assembly in `ptx`); with several routing steps a step of runoff `substeps` and `adjoint_replay`, and
`adjoint_substeps` for longer windows and where discharge is known. Their pieces are in `lanes`. Small ones are for filters
(`filter_kernels`) and parameters within their bounds (`bounds`).
"""
