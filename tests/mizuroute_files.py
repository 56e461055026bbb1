"""Files of mizuRoute for tests, written by netCDF4 itself in the layout of its manual, and runs of them through the command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from click.testing import CliRunner
from mizuroute_model import River, reach_runoff, simulate
from netCDF4 import Dataset

import xroute
from xroute.cli import main

BIG = 3_000_000_000
"""Ids beyond 2**31."""
DOWN = {BIG + 1: BIG + 3, BIG + 2: BIG + 3, BIG + 3: 5, 5: 0, 77: BIG + 1, 6: 400}
"""A river in no order, and a segment that drains to one that is not there: an outlet."""
LENGTH = {BIG + 1: 42_000.0, BIG + 2: 8_300.0, BIG + 3: 15_500.0, 5: 120.0, 77: 2_700.0, 6: 30_000.0}
HRUS = {
    BIG + 1: [(9_000_000_007, 3.1e7), (9_000_000_001, 1.2e7)], BIG + 2: [(12, 2.5e7)],
    BIG + 3: [(14, 4.4e7), (3, 6e6), (11, 1e6)],
    77: [(9_000_000_009, 8.8e6)], 6: [(2, 5e7)],
}  # fmt: skip
"""Segment 5 has none."""
NOWHERE = [(99, -9999, 1e6), (98, 0, 2e6)]
"""HRUs that drain to no segment."""
NAMELIST = """! parameters
&HSLOPE
  fshape = 2.5 ! shape [-]
  tscale = {tscale}
/
&IRF_UH
  VELO   = 1.5, diff = 5.0d3
/
&KWT
  mann_n = 0.01
  wscale = 0.001
/
"""
CONTROL = """! ****
! a run
! ****
<ancil_dir>   ./ancillary/  ! network, weights, parameters
<input_dir>   ./input/      ! runoff
<output_dir>  ./output/     ! history
<case_name>   brook         ! name
<fname_ntopOld> ntopo.nc    ! network
<fname_qsim>  runoff.nc     ! runoff
<units_qsim>  mm/s          ! units
<dt_qsim>     3600          ! step
<param_nml>   param.nml     ! parameters
"""


def river(**options: Any) -> River:
    return River({k: v if v in DOWN else 0 for k, v in DOWN.items()}, LENGTH, HRUS, **{"tscale": 20_000.0, **options})


def put(path: Path, dims: dict[str, int | None], variables: dict[str, tuple[str, tuple[str, ...], Any, dict[str, Any]]]) -> None:
    """Write a file: type, dimensions, values and attributes of each variable; netCDF4 masks and scales nothing."""
    with Dataset(path, "w") as file:
        for name, size in dims.items():
            file.createDimension(name, size)
        for name, (kind, on, values, attrs) in variables.items():
            fill = attrs.pop("_FillValue", None)
            variable = file.createVariable(name, kind, on, fill_value=fill)
            variable.set_auto_maskandscale(False)
            variable.setncatts(attrs)
            variable[:] = values


def write_topology(path: Path, names: dict[str, str] | None = None, seed: int = 0) -> None:
    """The river, its rows in a random order; ``names`` of variables and dimensions, where they are not mizuRoute's."""
    rng = np.random.default_rng(seed)
    called = {n: n for n in ("seg", "hru", "segId", "downSegId", "length", "slope", "HRUid", "hruSegId", "area")} | (names or {})
    ids = rng.permutation(list(DOWN))
    rows = [(h, s, a) for s, own in HRUS.items() for h, a in own] + NOWHERE
    rows = [rows[i] for i in rng.permutation(len(rows))]
    seg, hru = (called["seg"],), (called["hru"],)
    put(path, {called["seg"]: len(ids), called["hru"]: len(rows)}, {
        called["segId"]: ("i8", seg, ids, {}), called["downSegId"]: ("i8", seg, [DOWN[i] for i in ids], {}),
        called["length"]: ("f8", seg, [LENGTH[i] for i in ids], {"units": "m"}),
        called["slope"]: ("f8", seg, np.linspace(1e-4, 1e-2, len(ids)), {"units": "-"}),
        "width": ("f4", seg, np.linspace(3, 40, len(ids)), {"units": "m"}),
        called["HRUid"]: ("i8", hru, [r[0] for r in rows], {}), called["hruSegId"]: ("i8", hru, [r[1] for r in rows], {}),
        called["area"]: ("f8", hru, [r[2] for r in rows], {"units": "m^2"}),
    })  # fmt: skip


def hru_ids() -> list[int]:
    return [h for own in HRUS.values() for h, _ in own]


def storms(n: int, n_units: int, seed: int = 1) -> np.ndarray:
    """Runoff [mm/s] in single precision, as files have it."""
    return np.random.default_rng(seed).gamma(0.3, 2e-4, (n, n_units)).astype("f4")


def write_hru_runoff(path: Path, values: np.ndarray, ids: list[int], hours: np.ndarray, **attrs: Any) -> None:
    put(path, {"time": None, "hru": len(ids)}, {
        "time": ("f8", ("time",), hours, {"units": "hours since 1990-01-01 00:00:00", "calendar": "noleap"}),
        "hru": ("i8", ("hru",), ids, {}), "runoff": ("f4", ("time", "hru"), values, {"units": "mm/s", **attrs}),
    })  # fmt: skip


def make_folder(folder: Path, control: str = "", tscale: float = 20_000.0, names: dict[str, str] | None = None) -> Path:
    """Folders, network, namelist and control file; without runoff."""
    for name in ("ancillary", "input", "output"):
        (folder / name).mkdir()
    write_topology(folder / "ancillary" / "ntopo.nc", names)
    (folder / "ancillary" / "param.nml").write_text(NAMELIST.format(tscale=tscale))
    path = folder / "brook.control"
    path.write_text(CONTROL + control)
    return path


def convert(control: Path, *options: str, products: tuple[str, ...] = ("network", "runoff")) -> dict[str, Path]:
    """`xroute convert mizuroute`, by the command alone."""
    paths = {product: control.parent / f"our_{product}.nc" for product in products}
    outputs = [text for product, path in paths.items() for text in (f"--{product}", str(path))]
    result = CliRunner().invoke(main, ["convert", "mizuroute", str(control), *outputs, "--overwrite", *options])
    assert result.exit_code == 0, result.output
    return paths


def route(paths: dict[str, Path], *options: str) -> np.ndarray:
    """`xroute route` of what was converted, without options: discharge [time, reach in the order of `DOWN`]."""
    out = paths["network"].parent / "our_discharge.nc"
    result = CliRunner().invoke(
        main, ["route", str(paths["runoff"]), str(paths["network"]), str(out), "--no-progress", "--overwrite", *options]
    )
    assert result.exit_code == 0, result.output
    with xroute.io.open_dataset(out) as dataset:
        return dataset["discharge"].sel(reach=list(DOWN)).transpose("time", "reach").values


def truth(values: np.ndarray, ids: list[int], dt: float = 3600.0, **options: Any) -> np.ndarray:
    """mizuRoute's answer to runoff [mm/s] of HRUs."""
    own = river(**options)
    flows = [reach_runoff(own, dict(zip(ids, row.astype(float), strict=True)), 1e-3) for row in values]
    return simulate(own, flows, dt)[0]


def assert_same(found: np.ndarray, expected: np.ndarray) -> None:
    """To 1e-7 of the peak, as the design asks; what is found is far better."""
    assert expected.max() > 0
    assert np.abs(found - expected).max() <= 1e-12 * expected.max()


def network_of(path: Path) -> xr.Dataset:
    with xroute.io.open_dataset(path) as dataset:
        return dataset.load()
