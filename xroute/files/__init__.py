"""Datasets on disk, of whatever origin: Zarr and netCDF, opened with ids kept exact, and written whole or not at all.

`xroute.io` offers `open_dataset` and `write` to the public; readers of other systems' files stand on this room.
"""
