"""The GPU engine: one Triton launch routes a network, discharge flowing from patch to patch.

A program is one warp. It takes a ticket and routes one patch (`xroute.engine.patches`) through the whole series, one
reach a lane, time in the registers of each: a recurrence costs two dependent operations a step, and a tributary is a
shuffle away because the reach below lags it by a group of steps. Runoff and discharge move as tiles, aligned to memory,
at nearly the speed of a copy.

Series that join from other patches come through a mailbox (`lanes`), read again until they are there. Waiting
cannot deadlock: tickets are handed out in the order of the patches, and a patch reads only patches that stand before it; so
whatever a program waits for was started before it, and by induction the oldest unfinished program waits for nothing.
Programs that have not started hold no ticket, so nobody can wait for them. Nothing is summed by atomics, so a run gives the
same bits each time.

In the room: `backend` is how others reach it. `host` routes what lies in the host's memory, or is cupy's, by way of `staging`.
`launch` and `gradients` launch the kernels, forward and adjoint, by way of `dispatch`, on what `layout` (the network and its
filter) and `memory` (series, mailbox, traces) have put on the device, in the groups that `arguments` names. The kernels are
`forward` and `adjoint`, and with several routing steps a step of runoff `substeps` and `adjoint_substeps`, of pieces in `lanes`;
and small ones for filters (`filter_kernels`), parameters within their bounds (`bounds`) and rows of the host (`row_copies`).
"""
