"""Read and write mizuRoute: control files, networks of segments and HRUs, runoff and its weights, restarts and histories.

`read_network` brings mizuRoute's own recipe with it: the impulse response function with its ordinates (scheme
``mizuroute_irf``), gamma hillslopes, and runoff that joins at the lower end of a segment.
"""

from xroute.io.mizuroute.control import read_parameters
from xroute.io.mizuroute.home import write_control, write_parameters, write_setup
from xroute.io.mizuroute.network import read_network
from xroute.io.mizuroute.restart import read_state
from xroute.io.mizuroute.results import write_discharge, write_state
from xroute.io.mizuroute.series import read_discharge, read_runoff
from xroute.io.mizuroute.setup import READER, find_files, read_setup
from xroute.io.mizuroute.writing import write_network, write_runoff, write_weights

__all__ = [
    "READER", "find_files", "read_discharge", "read_network", "read_parameters", "read_runoff",
    "read_setup", "read_state", "write_control", "write_discharge", "write_network", "write_parameters", "write_runoff",
    "write_setup", "write_state", "write_weights",
]  # fmt: skip
