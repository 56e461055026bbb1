"""Read and write the files of DDR (Distributed Differentiable Routing): adjacency, inflow and discharge in Zarr.

DDR keeps a river as a sparse matrix in a Zarr group, in the COO form of binsparse: ``indices_0`` (row of the reach downstream),
``indices_1`` (row of the reach upstream), ``values``, and ``order``, the ids in the rows, upstream first. Its attribute
``geodataset`` says what numbers in ``order`` are: COMIDs of MERIT, or those in the ids ``wb-N`` of the Lynker hydrofabric.
Lateral inflow is ``Qr(divide_id, time)`` [m3 s-1], discharge ``predictions(catchment_ids, time)``. What DDR has learned is in the
weights of its network, and no parameter of a reach is in these files: k and x are given here.

Bindas, T., et al. (2024): Improving river routing using a differentiable Muskingum-Cunge model and physics-informed machine
learning. Water Resources Research 60, e2023WR035337.
"""

from __future__ import annotations

from xroute.io.ddr.network import read_network
from xroute.io.ddr.series import read_discharge, read_runoff
from xroute.io.ddr.writing import write_discharge, write_gauges, write_network, write_runoff

__all__ = [
    "read_discharge", "read_network", "read_runoff", "write_discharge", "write_gauges", "write_network",
    "write_runoff",
]  # fmt: skip
