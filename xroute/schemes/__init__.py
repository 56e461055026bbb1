"""Routing schemes: from the parameters of reaches to the filter that the engine applies.

Every scheme is a linear time-invariant filter of taps and at most one pole. `make_filter` turns a network's parameters into
one `Filter` for all reaches, whatever mix of schemes they follow. Only schemes with a window have one cut off; taps and a
pole are exact in time.
"""

from xroute.schemes.base import Filter, Parameter, Scheme, Window
from xroute.schemes.builtin import DEFAULT_SCHEME
from xroute.schemes.hillslopes import HILLSLOPES
from xroute.schemes.making import all_reaches, is_all_reaches, make_filter
from xroute.schemes.registry import SCHEMES, find_scheme, name_default_scheme, register_scheme
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
    "all_reaches",
    "find_scheme",
    "is_all_reaches",
    "make_filter",
    "name_default_scheme",
    "register_scheme",
]
