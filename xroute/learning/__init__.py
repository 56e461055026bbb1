"""Learning: parameters of rivers from observations at gauges.

`xroute.learning.observed` matches these with runoff and a network.
"""
