"""Direction grids: networks with a reach for each cell, and values brought from reaches onto the grid and back.

`d8` reads directions to one of eight neighbours, `nextxy` CaMa-Flood's next cells, `edges` pairs of cells; `raster` knows where
cells are and how large, `cells` makes the network Dataset of them, and `onto` puts discharge on the grid again.
"""
