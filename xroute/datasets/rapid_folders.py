"""A folder as users of RAPID and RAPID2 have it, made in code, with the discharge that RAPID's equations give for it.

Files are written here by hand, in the layout that those systems document, and the discharge is computed from their matrix
equation and not by `xroute.route`: so a reader and a run can be held against something that shares nothing with them.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from xroute.datasets.folders import invented_basin
from xroute.datasets.rivers import whole_number
from xroute.exceptions import ParameterError, require
from xroute.files.folders import filled_folder

__all__ = ["rapid_folder"]

Float = NDArray[np.float64]
Int = NDArray[np.int64]

FIRST_ID = 20_400_001
STEP, ROUTING_STEP = 10_800, 900  # s: ZS_TauR and ZS_dtR
HOURS = STEP // 3600
LAST_DAY = 10
NAME, DATES = "tutorial", "20240501"
FILL = 1e20
EPOCH = "seconds since 1970-01-01 00:00:00+00:00"


class _Region(NamedTuple):
    """What the files of a folder say, in the order of the connectivity file."""

    ids: Int
    downstream: Int
    upwards: Int
    k: Float
    x: Float
    lon: Float
    lat: Float
    seconds: Int  # (time) start of each step since 1970
    inflow: Float  # (time, reach) [m3 s-1]


def rapid_folder(
    folder: str | os.PathLike[str], *, version: int = 1, days: int = 10, seed: int = 3, overwrite: bool = False
) -> Path:
    """Write a folder as users of RAPID have it: an invented basin, its runoff, and the discharge that RAPID gives.

    Parameters
    ----------
    folder
        Where to write; made if it is not there.
    version
        1 for the files of RAPID (Fortran), 2 for those of RAPID2 (Python).
    days
        Days of runoff in steps of three hours, from 1 May 2024; 1 to 10.
    seed
        Seed of the river's course; the weather is the same.
    overwrite
        Replace files of these names in the folder.

    Returns
    -------
    pathlib.Path
        The folder. Of RAPID it has

        - ``rapid_connect.csv``: id, id downstream (0 at the mouth), how many upstream, and their ids; rows in no order;
        - ``k.csv`` [s] and ``x.csv``, in the rows of ``rapid_connect.csv``;
        - ``riv_bas_id.csv``: the ids to route, from the headwaters down;
        - ``coords.csv``: id, longitude, latitude;
        - ``m3_riv_tutorial_20240501.nc``: ``m3_riv(time, rivid)`` [m3] of each three hours, float32;
        - ``rapid_namelist``: routing in steps of 900 s;
        - ``Qout_tutorial_20240501.nc``: ``Qout(time, rivid)`` [m3 s-1], the mean of each three hours, float32.

        Of RAPID2 it has the tables ``con``, ``kpr``, ``xpr``, ``bas`` and ``crd_tutorial.parquet``, ``Qext_tutorial.nc4``
        [m3 s-1], the initial and final flow ``Q00_tutorial.nc4`` (dry) and ``Qfi_tutorial.nc4``, ``Qout_tutorial.nc4``,
        and ``nml_tutorial.yml``.

    Raises
    ------
    ParameterError
        If there is no such version, no days or too many, or the seed is none.
    FileExistsError
        If one of the files is there already and ``overwrite`` is False; nothing is written then.
    ImportError
        If netCDF4 is not installed, or for RAPID2 pyarrow.

    See Also
    --------
    xroute.io.rapid.read_network, xroute.io.rapid2.read_network, tutorial

    Notes
    -----
    River and storms are those of `tutorial`, under other ids, with x small enough for routing steps of 900 s. Discharge is
    computed by the matrix form of Muskingum's equation (David et al., 2011), from dry channels, in float64:
    (I - C1 N) Q(t + dt) = (C1 + C2) Qe + C2 N Q(t) + C3 Q(t), with runoff Qe constant in its step, and averaged over the
    beginnings of the routing steps, as RAPID does.

    References
    ----------
    David, C. H., et al. (2011): River network routing on the NHDPlus dataset. Journal of Hydrometeorology 12, 913-934.

    Examples
    --------
    >>> import tempfile
    >>> from xroute.datasets import rapid_folder
    >>> folder = rapid_folder(f"{tempfile.mkdtemp()}/rapid", days=1)
    >>> sorted(path.name for path in folder.glob("*.csv"))
    ['coords.csv', 'k.csv', 'rapid_connect.csv', 'riv_bas_id.csv', 'x.csv']
    """
    whole_number("version", version)
    whole_number("days", days)
    if version not in (1, 2):
        raise ParameterError(f"version={version} is neither 1 (RAPID) nor 2 (RAPID2)")
    if not 1 <= days <= LAST_DAY:
        raise ParameterError(f"days={days} must be from 1 to {LAST_DAY}")
    require("netCDF4", feature="a RAPID folder", extra="io")
    region = _region(days, seed)
    mean, last = _muskingum(region)
    with filled_folder(folder, overwrite) as draft:
        if version == 1:
            _write_rapid(draft, region, mean)
        else:
            require("pyarrow.parquet", feature="a RAPID2 folder", extra="io")
            _write_rapid2(draft, region, mean, last)
    return Path(folder)


def _region(days: int, seed: int) -> _Region:
    rivers, upwards, inflow = invented_basin(seed, FIRST_ID)
    steps = inflow.isel(time=slice(0, 24 * days)).coarsen(time=HOURS).mean()
    k = rivers["k"].to_numpy()
    return _Region(
        ids=rivers["reach"].to_numpy(),
        downstream=rivers["downstream"].to_numpy(),
        upwards=upwards,
        k=k,
        x=np.minimum(0.3, 0.45 * ROUTING_STEP / k),  # 2 k x <= dt: no outflow dips below zero
        lon=rivers["lon"].to_numpy(),
        lat=rivers["lat"].to_numpy(),
        seconds=inflow["time"].to_numpy()[: 24 * days : HOURS].astype("datetime64[s]").astype(np.int64),
        inflow=steps.to_numpy().astype(np.float32).astype(np.float64),
    )


def _muskingum(region: _Region) -> tuple[Float, Float]:
    """Mean discharge of each step (time, reach), and discharge at the end (reach) [m3 s-1]."""
    from scipy.sparse import csr_array, diags_array, identity
    from scipy.sparse.linalg import splu

    n, half = region.ids.size, 0.5 * ROUTING_STEP
    position = {int(one): row for row, one in enumerate(region.ids)}
    links = [(position[int(to)], row) for row, to in enumerate(region.downstream) if to]
    rows, columns = np.array(links).T
    network = csr_array((np.ones(rows.size), (rows, columns)), shape=(n, n))
    stored, passed = region.k * (1 - region.x), region.k * region.x
    c1, c2, c3 = (value / (stored + half) for value in (half - passed, half + passed, stored - half))
    solve = splu((identity(n) - diags_array(c1) @ network).tocsc()).solve
    known = diags_array(c2) @ network + diags_array(c3)
    flow, means = np.zeros(n), np.empty_like(region.inflow)
    for step, inflow in enumerate((c1 + c2) * region.inflow):
        total = np.zeros(n)
        for _ in range(STEP // ROUTING_STEP):
            total += flow
            flow = solve(inflow + known @ flow)
        means[step] = total / (STEP // ROUTING_STEP)
    return means, flow


# ── RAPID ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _write_rapid(folder: Path, region: _Region, discharge: Float) -> None:
    upstream: dict[int, list[int]] = {int(one): [] for one in region.ids}
    for one, to in zip(region.ids.tolist(), region.downstream.tolist(), strict=True):
        if to:
            upstream[to].append(one)
    width = max(len(above) for above in upstream.values())
    lines = [
        [one, to, len(upstream[one]), *upstream[one], *[0] * (width - len(upstream[one]))]
        for one, to in zip(region.ids.tolist(), region.downstream.tolist(), strict=True)
    ]
    downwards = region.upwards[::-1]
    basin = region.ids[downwards]
    runoff, result = f"m3_riv_{NAME}_{DATES}.nc", f"Qout_{NAME}_{DATES}.nc"
    tables = {
        "rapid_connect.csv": (",".join(map(str, line)) for line in lines),
        "k.csv": map(repr, region.k.tolist()),
        "x.csv": map(repr, region.x.tolist()),
        "riv_bas_id.csv": map(str, basin.tolist()),
        "coords.csv": (f"{one},{lon:.5f},{lat:.5f}" for one, lon, lat in
                       zip(region.ids.tolist(), region.lon.tolist(), region.lat.tolist(), strict=True)),
        "rapid_namelist": _namelist(region, runoff, result, width),
    }  # fmt: skip
    for name, rows in tables.items():
        (folder / name).write_text("\n".join(rows) + "\n", encoding="ascii")
    _write_series(
        folder / runoff, region, np.arange(region.ids.size), "m3_riv", region.inflow * STEP,
        {"long_name": "accumulated external water volume inflow upstream of each river reach", "units": "m3"},
    )  # fmt: skip
    _write_series(
        folder / result, region, downwards, "Qout", discharge[:, downwards],
        {"long_name": "average river water discharge downstream of each river reach", "units": "m3 s-1"},
    )  # fmt: skip


def _namelist(region: _Region, runoff: str, result: str, width: int) -> list[str]:
    """A namelist of a regular run, with the entries that such a run reads."""
    values: dict[str, Any] = {
        "BS_opt_Qinit": False, "BS_opt_Qfinal": False, "BS_opt_dam": False, "BS_opt_for": False,
        "IS_opt_routing": 1, "IS_opt_run": 1, "IS_opt_phi": 1,
        "ZS_TauM": STEP * len(region.seconds), "ZS_dtM": STEP, "ZS_TauR": STEP, "ZS_dtR": ROUTING_STEP,
        "IS_riv_tot": region.ids.size, "rapid_connect_file": "rapid_connect.csv", "IS_max_up": width,
        "Vlat_file": runoff, "IS_riv_bas": region.ids.size, "riv_bas_id_file": "riv_bas_id.csv",
        "k_file": "k.csv", "x_file": "x.csv", "Qinit_file": "", "Qfinal_file": "", "Qout_file": result,
    }  # fmt: skip
    return ["&NL_namelist", *(f"{name:<18} = {_fortran(value)}" for name, value in values.items()), "/"]


def _fortran(value: Any) -> str:
    return f".{str(value).lower()}." if isinstance(value, bool) else f"'{value}'" if isinstance(value, str) else str(value)


# ── RAPID2 ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _write_rapid2(folder: Path, region: _Region, discharge: Float, last: Float) -> None:
    import pyarrow
    from pyarrow import parquet

    riv, downwards = region.ids.astype(np.int32), region.upwards[::-1]
    tables = {
        "con": {"riv": riv, "dwn": region.downstream.astype(np.int32)},
        "kpr": {"riv": riv, "kpr": region.k},
        "xpr": {"riv": riv, "xpr": region.x},
        "bas": {"riv": riv[downwards]},
        "crd": {"riv": riv, "lon": region.lon, "lat": region.lat},
    }
    for name, columns in tables.items():
        parquet.write_table(pyarrow.table(columns), folder / f"{name}_{NAME}.parquet")
    rows = np.arange(riv.size)
    end = region.seconds[-1:] + STEP
    for role, of, name, values, times, meaning in (
        ("Qext", rows, "Qext", region.inflow, None, "mean external water inflow upstream of each river reach"),
        ("Qout", downwards, "Qout", discharge[:, downwards], None, "mean river water outflow downstream of each river reach"),
        ("Q00", rows, "Qout", np.zeros((1, riv.size)), region.seconds[:1], "instantaneous river water outflow"),
        ("Qfi", rows, "Qout", last[None], end, "instantaneous river water outflow"),
    ):  # fmt: skip
        attrs = {"long_name": meaning, "units": "m3 s-1"}
        _write_series(folder / f"{role}_{NAME}.nc4", region, of, name, values, attrs, times)
    named = {
        "Qex_ncf": f"Qext_{NAME}.nc4", "Q00_ncf": f"Q00_{NAME}.nc4",
        **{f"{name}_pqt": f"{name}_{NAME}.parquet" for name in ("con", "kpr", "xpr", "bas")},
        "IS_dtR": ROUTING_STEP, "Qou_ncf": f"Qout_{NAME}.nc4", "Qfi_ncf": f"Qfi_{NAME}.nc4",
    }  # fmt: skip
    text = "".join(f"{name}: {value!r}\n" for name, value in named.items())
    (folder / f"nml_{NAME}.yml").write_text(f"---\n{text}", encoding="ascii")


def _write_series(
    path: Path, region: _Region, rows: Int, name: str, values: Float, attrs: dict[str, str], instants: Int | None = None
) -> None:
    """A series of RAPID's, by step with bounds, or of RAPID2's states, which are of an instant and in float64."""
    import netCDF4

    of_steps = instants is None
    times = region.seconds if instants is None else instants
    with netCDF4.Dataset(path, "w") as file:
        file.setncatts({"Conventions": "CF-1.6", "title": f"{NAME}, invented", "institution": "", "featureType": "timeSeries"})
        file.createDimension("time", None)
        file.createDimension("rivid", rows.size)
        time = file.createVariable("time", "i4", ("time",))
        time.setncatts({"standard_name": "time", "units": EPOCH, "calendar": "gregorian", "axis": "T"})
        time[:] = times
        if of_steps:
            time.bounds = "time_bnds"
            file.createDimension("nv", 2)
            file.createVariable("time_bnds", "i4", ("time", "nv"))[:] = np.stack([times, times + STEP], axis=1)
        ids = file.createVariable("rivid", "i4", ("rivid",))
        ids.setncatts({"long_name": "unique identifier for each river reach", "units": "1", "cf_role": "timeseries_id"})
        ids[:] = region.ids[rows]
        for axis, places, units in (("lon", region.lon, "degrees_east"), ("lat", region.lat, "degrees_north")):
            place = file.createVariable(axis, "f8", ("rivid",))
            place.setncatts({"standard_name": {"lon": "longitude", "lat": "latitude"}[axis], "units": units})
            place[:] = places[rows]
        ellipsoid = {"semi_major_axis": 6378137.0, "inverse_flattening": 298.257223563}
        file.createVariable("crs", "i4").setncatts({"grid_mapping_name": "latitude_longitude"} | ellipsoid)
        series = file.createVariable(name, "f4" if of_steps else "f8", ("time", "rivid"), fill_value=FILL)
        series.setncatts({**attrs, "coordinates": "lon lat", "grid_mapping": "crs"})
        if of_steps:
            series.cell_methods = "time: sum" if attrs["units"] == "m3" else "time: mean"
        series[:] = values
