"""What river-route's versions call things: columns of tables, variables of files, keys of configurations."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from xroute.exceptions import ParameterError

__all__ = ["LAYOUTS", "OUTLET", "STATE", "Layout", "layout_of_version"]

OUTLET = -1
"""What stands for the river downstream of an outlet."""
STATE = "Q"
"""Column of a state, and variable of discharge."""


@dataclass(frozen=True)
class Layout:
    """Names and conventions of a version.

    Attributes
    ----------
    version
        2 or 3.
    reach, downstream, k, x
        Columns of the network's table; ``reach`` is the dimension and the ids of all other files, too.
    runoff, area
        Variables of a file of runoff; the area of catchments, of a file of depths.
    dims
        Dimensions of runoff and of discharge, in the order in which they are written.
    sampling
        What its discharge of a step is (see `xroute.route`): the mean of the values at the ends of the routing steps, or the
        last of them.
    files
        Keys of a configuration, by the part that their files play.
    suffixes
        Suffixes of the files of discharge.
    """

    version: int
    reach: str
    downstream: str
    k: str
    x: str
    runoff: str
    area: str | None
    dims: tuple[str, str]
    sampling: str
    files: Mapping[str, str]
    suffixes: tuple[str, ...]

    def fits_network(self, columns: Collection[str]) -> bool:
        """Whether a table with these columns is a network of this version."""
        return {self.reach, self.downstream} <= set(columns)


LAYOUTS: Mapping[int, Layout] = {
    2: Layout(
        2, "river_id", "downstream_river_id", "k", "x", "qlateral", None, ("time", "river_id"), "mean",
        {
            "network": "params_file", "runoff": "qlateral_files", "grid": "grid_runoff_files", "weights": "grid_weights_file",
            "hillslope": "uh_kernel_file", "state": "channel_state_init_file", "final": "channel_state_final_file",
            "discharge": "discharge_files", "folder": "discharge_dir",
        },
        (".nc",),
    ),
    3: Layout(
        3, "riverId", "nextRiverId", "muskingumK", "muskingumX", "catchment_runoff", "catchment_area", ("riverId", "time"),
        "last",
        {
            "network": "network_file", "runoff": "forcing_files", "grid": "forcing_files", "weights": "grid_weights_file",
            "state": "channel_state_init_file", "final": "channel_state_final_file", "discharge": "discharge_files",
            "folder": "discharge_dir",
        },
        (".zarr", ".nc"),
    ),
}  # fmt: skip
"""By version."""


def layout_of_version(version: int) -> Layout:
    """Layout of a version.

    Raises
    ------
    ParameterError
        If it is neither 2 nor 3.
    """
    if version not in LAYOUTS:
        raise ParameterError(f"version is one of river-route's: {', '.join(map(str, LAYOUTS))}, not {version!r}")
    return LAYOUTS[version]
