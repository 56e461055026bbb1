"""Grids and catchments: which part of which cell lies in which catchment, and runoff brought from the one to the other.

`form` says what a Dataset of weights is, and which grid it is of.
"""
