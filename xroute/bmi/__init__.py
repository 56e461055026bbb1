"""xroute behind the Basic Model Interface (BMI) 2.0, for couplers that run models step by step: pymt, NextGen's engine.

`BmiXroute` (`model`) only delegates: a `stepper` routes, `variables` are what is exchanged, `grid` says where reaches are and how
they are linked, `config` reads the configuration file, `dates` count, and `snapshot` makes bytes of a state. It is imported by
those who want it, for it needs bmipy.
"""

from xroute.exceptions import require

require("bmipy", feature="the Basic Model Interface", extra="bmi")

from xroute.bmi.model import BmiXroute  # noqa: E402 (what it needs is asked for first)

__all__ = ["BmiXroute"]
