"""A rainfall-runoff model with a BMI, written from the interface alone: linear buckets, one a catchment, in hours and mm.

It knows nothing of xroute. A bucket lets out the share ``1 - exp(-step / k)`` of what it holds after rain, so that each
millimetre is either in it or has left it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import yaml
from bmipy import Bmi

RAIN, RUNOFF, WATER = (
    "atmosphere_water__rainfall_volume_flux", "land_surface_water__runoff_volume_flux", "land_subsurface_water__storage_depth",
)  # fmt: skip


class Bucket(Bmi):
    """Buckets; ``k`` [h] and their number come from the configuration file."""

    def initialize(self, config_file: str) -> None:
        with open(config_file, encoding="utf-8") as stream:
            config = yaml.safe_load(stream)
        self.k, self.step, self.time = float(config["k"]), float(config["step"]), 0.0
        n = int(config["catchments"])
        self.arrays = {name: np.zeros(n) for name in (RAIN, RUNOFF, WATER)}

    def update(self) -> None:
        water = self.arrays[WATER] + self.arrays[RAIN] * self.step
        leaves = water * -np.expm1(-self.step / self.k)
        self.arrays[WATER][:] = water - leaves
        self.arrays[RUNOFF][:] = leaves / self.step
        self.time += self.step

    def update_until(self, time: float) -> None:
        while self.time < time - 1e-9:
            self.update()

    def finalize(self) -> None:
        self.arrays = {}

    def get_component_name(self) -> str:
        return "buckets"

    def get_input_item_count(self) -> int:
        return 1

    def get_output_item_count(self) -> int:
        return 2

    def get_input_var_names(self) -> tuple[str]:
        return (RAIN,)

    def get_output_var_names(self) -> Any:
        return (RUNOFF, WATER)

    def get_var_grid(self, name: str) -> int:
        return 0

    def get_var_type(self, name: str) -> str:
        return self.arrays[name].dtype.name

    def get_var_units(self, name: str) -> str:
        return {RAIN: "mm h-1", RUNOFF: "mm h-1", WATER: "mm"}[name]

    def get_var_itemsize(self, name: str) -> int:
        return self.arrays[name].itemsize

    def get_var_nbytes(self, name: str) -> int:
        return self.arrays[name].nbytes

    def get_var_location(self, name: str) -> str:
        return "node"

    def get_current_time(self) -> float:
        return self.time

    def get_start_time(self) -> float:
        return 0.0

    def get_end_time(self) -> float:
        return np.finfo(float).max

    def get_time_units(self) -> str:
        return "h"

    def get_time_step(self) -> float:
        return self.step

    def get_value(self, name: str, dest: np.ndarray) -> np.ndarray:
        dest[:] = self.arrays[name]
        return dest

    def get_value_ptr(self, name: str) -> np.ndarray:
        return self.arrays[name]

    def get_value_at_indices(self, name: str, dest: np.ndarray, inds: np.ndarray) -> np.ndarray:
        dest[:] = self.arrays[name][inds]
        return dest

    def set_value(self, name: str, src: np.ndarray) -> None:
        self.arrays[name][:] = src

    def set_value_at_indices(self, name: str, inds: np.ndarray, src: np.ndarray) -> None:
        self.arrays[name][inds] = src

    def get_grid_rank(self, grid: int) -> int:
        return 0

    def get_grid_size(self, grid: int) -> int:
        return self.arrays[WATER].size

    def get_grid_type(self, grid: int) -> str:
        return "none"

    def get_grid_node_count(self, grid: int) -> int:
        return self.arrays[WATER].size

    def get_grid_edge_count(self, grid: int) -> int:
        return 0

    def get_grid_face_count(self, grid: int) -> int:
        return 0

    def _none(self, *_: Any) -> Any:
        raise NotImplementedError

    get_grid_shape = get_grid_spacing = get_grid_origin = get_grid_x = get_grid_y = get_grid_z = _none
    get_grid_edge_nodes = get_grid_face_edges = get_grid_face_nodes = get_grid_nodes_per_face = _none
