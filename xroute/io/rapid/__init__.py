"""Read and write the files of RAPID (David et al., 2011): connectivity, Muskingum parameters, runoff, discharge and initial flow.

RAPID stores much by position: ``k.csv``, ``x.csv``, old runoff files and ``Qinit.csv`` follow the rows of
``rapid_connect.csv``. The readers turn position into ids once, here, and remember it in the variable ``connect_row`` of
the network, so that everything after works by id. The network bears RAPID's recipe too: lateral="interval",
sampling="start-mean" and the steps of the namelist (`xroute.recipe`), with which `xroute.route` gives RAPID's own discharge.

David, C. H., et al. (2011): River network routing on the NHDPlus dataset. Journal of Hydrometeorology 12, 913-934.
"""

from __future__ import annotations

from xroute.io.rapid.folder import find_files, read_namelist
from xroute.io.rapid.network import read_network
from xroute.io.rapid.series import read_discharge, read_runoff, read_state
from xroute.io.rapid.writing import write_discharge, write_network, write_runoff, write_state

__all__ = [
    "find_files", "read_discharge", "read_namelist", "read_network", "read_runoff", "read_state", "write_discharge",
    "write_network", "write_runoff", "write_state",
]  # fmt: skip
