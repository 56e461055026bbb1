"""Routing schemes: from the parameters of reaches to the filter that the engine applies.

Every scheme is a linear time-invariant filter of taps and at most one pole. `make_filter` turns a network's parameters into
one `Filter` for all reaches, whatever mix of schemes they follow. Only schemes with a window have one cut off; taps and a
pole are exact in time.
"""

from xroute.schemes.base import Filter, Parameter, Scheme, Window
from xroute.schemes.builtin import DEFAULT_SCHEME
from xroute.schemes.hillslopes import HILLSLOPES
from xroute.schemes.making import all_reaches as all_reaches
from xroute.schemes.making import is_all_reaches as is_all_reaches
from xroute.schemes.making import make_filter
from xroute.schemes.registry import SCHEMES, find_scheme, register_scheme
from xroute.schemes.registry import name_default_scheme as name_default_scheme
from xroute.schemes.window import MAX_TAPS, TAIL

__all__ = [
    "DEFAULT_SCHEME",
    "HILLSLOPES",
    "MAX_TAPS",
    "SCHEMES",
    "TAIL",
    "Filter",
    "Parameter",
    "Scheme",
    "Window",
    "find_scheme",
    "make_filter",
    "register_scheme",
]
