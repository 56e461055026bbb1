"""What hydrographies lack: parameters of the routing schemes from lengths, slopes and flows, and local areas from those upstream.

`estimate` makes parameters for any scheme, with the hydraulics of `channel`; `areas` takes upstream areas apart.
"""

from __future__ import annotations

from xroute.hydrography.areas import local_area
from xroute.hydrography.estimate import estimate_parameters

__all__ = ["estimate_parameters", "local_area"]
