"""Grids and catchments: which part of which cell lies in which catchment, and runoff brought from the one to the other.

`form` says what a Dataset of weights is, and which grid it is of; `check` refuses another. `table` makes arrays of one,
`apply` and `kernels` multiply blocks by them, and `device` on GPUs and for gradients. `remapping` does it with labels: in
memory, on Dask (`chunks`), or lazily (`lazy`), of the pieces of a grid that are needed (`pieces`); `reaches` does it for what
is to be routed. `weights` makes weights, of cells and polygons; `foreign` reads the tables of other systems (`raw`, `tables`,
`mizuroute`, `scrip`).
"""

from xroute.grids.foreign import read_weights
from xroute.grids.form import select_weights
from xroute.grids.remapping import remap

__all__ = ["read_weights", "remap", "select_weights"]
