"""The network Dataset of RAPID's or RAPID2's tables of one or more regions: joined and checked, what is left out reported."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from xroute.exceptions import NetworkError, some, warn
from xroute.ids import distinct, within
from xroute.io.rapid.namelist import namelist_seconds
from xroute.schemes import name_default_scheme
from xroute.times import seconds
from xroute.wording import argument

__all__ = ["Region", "assemble", "recipe_attrs", "refuse_duplicates", "rows_to_route"]

logger = logging.getLogger(__name__)
OUTLET = -1


@dataclass
class Region:
    """What the files of one region say, row by row of its connectivity file.

    Attributes
    ----------
    file
        The connectivity file.
    ids, downstream : int64 [row]
    rows : int64 [reach]
        Rows to route, in the wanted order.
    owner, upstream : int64 [declared link]
        Row of the reach downstream, and id of the one upstream, of links that upstream columns declare.
    declares : bool
        Whether there are such columns.
    values : dict of float64 [row]
        ``k`` and ``x``, where they were read.
    """

    file: Path
    ids: NDArray[np.int64]
    downstream: NDArray[np.int64]
    rows: NDArray[np.int64]
    owner: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    upstream: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    declares: bool = False
    values: dict[str, NDArray[np.float64]] = field(default_factory=dict)


def rows_to_route(wanted: NDArray[np.int64], file: Path, ids: NDArray[np.int64], connect: Path) -> NDArray[np.int64]:
    """Rows of the ids that a file lists, in its order."""
    duplicate = wanted[pd.Index(wanted).duplicated()]
    if duplicate.size:
        raise NetworkError(f"duplicate ids in {file}: {some(duplicate)}")
    refuse_duplicates([ids], [connect])
    rows = pd.Index(ids).get_indexer(pd.Index(wanted))
    if (rows < 0).any():
        raise NetworkError(f"{int((rows < 0).sum())} ids of {file} are not in {connect}: {some(wanted[rows < 0])}")
    return rows.astype(np.int64)


def assemble(regions: Sequence[Region], system: str) -> xr.Dataset:
    """Network Dataset of one or more regions; links from one to another are kept."""
    refuse_duplicates([region.ids for region in regions], [region.file for region in regions])
    all_ids = np.concatenate([region.ids for region in regions])
    all_downstream = np.concatenate([region.downstream for region in regions])
    if OUTLET in all_ids:
        raise NetworkError(f"{OUTLET} is an id in {regions[0].file}, but it marks outlets")
    declared = np.concatenate([np.stack([r.ids[r.owner], r.upstream]) for r in regions], axis=1)
    declares = np.concatenate([np.full(region.ids.size, region.declares) for region in regions])
    _check_upstream(all_ids, all_downstream, declared, declares)

    ids = np.concatenate([region.ids[region.rows] for region in regions])
    file_downstream = np.concatenate([region.downstream[region.rows] for region in regions])
    downstream = np.where(within(file_downstream, ids), file_downstream, OUTLET)
    left_out = ~within(all_ids, ids)
    listed = "riv_bas_id" if system == "RAPID" else "bas"
    _report_left_out(all_ids[left_out], all_downstream[left_out], declared, all_ids, ids, listed)

    unknown = distinct(file_downstream[(downstream == OUTLET) & (file_downstream > 0)])
    if unknown.size:
        logger.info("%d downstream ids are not routed, their reaches are outlets: %s", unknown.size, some(unknown))
    rows = np.concatenate([region.rows for region in regions])
    dataset = xr.Dataset(
        {
            "downstream": ("reach", downstream, {"long_name": "id of the reach downstream", "outlet": OUTLET}),
            "downstream_id": ("reach", file_downstream, {"long_name": "downstream id as it stands in the file"}),
            "connect_row": ("reach", rows, {"long_name": "row in the connectivity file, from 0"}),
        },
        coords={"reach": ("reach", ids, {"cf_role": "timeseries_id", "long_name": "reach id"})},
        attrs={
            "source": f"{system}: " + ", ".join(_short(region.file) for region in regions),
            "n_outlets": int((downstream == OUTLET).sum()),
            "n_downstream_ids_not_routed": int(unknown.size),
            "connect_rows": [int(region.ids.size) for region in regions],
        },
    )
    for name, attrs in (
        ("k", {"long_name": "Muskingum storage constant", "units": "s"}),
        ("x", {"long_name": "Muskingum weight", "units": "1"}),
    ):
        if all(name in region.values for region in regions):
            values = np.concatenate([region.values[name][region.rows] for region in regions])
            dataset[name] = ("reach", values, attrs)
    name_default_scheme(dataset)
    if len(regions) > 1:
        region_of = np.repeat(np.arange(len(regions)), [region.rows.size for region in regions])
        dataset["region"] = ("reach", region_of, {"long_name": "region, in the order given"})
    return dataset


def recipe_attrs(
    stated: Sequence[Mapping[str, Any]], given: Any, names: tuple[str, str], files: Sequence[Path | None]
) -> dict[str, Any]:
    """Attributes with which `xroute.recipe` routes as RAPID does.

    Parameters
    ----------
    stated
        Namelist of each region; empty where it has none.
    given
        Routing step as the user gave it, which wins.
    names
        What the namelist calls the routing step and the step of runoff [s].
    files
        The namelists, for messages.
    """
    attrs: dict[str, Any] = {}
    for name, attribute in zip(names, ("routing_step", "runoff_step"), strict=True):
        found: dict[float, Path | None] = {}
        for values, file in zip(stated, files, strict=True):
            step = namelist_seconds(values, name, file)
            if step is not None:
                found[step] = file
        if attribute == "routing_step" and given is not None:
            found = {seconds(given): None}
        if len(found) > 1:
            told = ", ".join(f"{stated_step:g} s in {file}" for stated_step, file in found.items())
            raise NetworkError(
                f"the regions have different steps, and are routed together: {name} is {told}"
                + (f"; {argument('routing_step')} gives one for all" if attribute == "routing_step" else "")
            )
        if found:
            attrs[attribute] = next(iter(found))
    if "routing_step" not in attrs:
        logger.warning(
            "no namelist says %s, so the routing step is not known, and a step of runoff is routed in one go; RAPID itself "
            "takes several: give %s", names[0], argument("routing_step"),
        )  # fmt: skip
    return {**attrs, "sampling": "start-mean", "lateral": "interval"}


def refuse_duplicates(ids: Sequence[NDArray[np.int64]], files: Sequence[Path]) -> None:
    """Refuse ids that stand twice, in a region or in two."""
    joined = pd.Index(np.concatenate(list(ids)))
    duplicate = joined[joined.duplicated()].unique()
    if len(duplicate):
        names = " and ".join(str(file) for file in files)
        raise NetworkError(f"{len(duplicate)} duplicate reach ids in {names}: {some(duplicate)}")


def _short(path: Path) -> str:
    """A file and its folder: enough to know it again, without where it lay on the machine."""
    return f"{path.resolve().parent.name}/{path.name}"


def _check_upstream(
    ids: NDArray[np.int64], downstream: NDArray[np.int64], declared: NDArray[np.int64], checked: NDArray[np.bool_]
) -> None:
    """Compare the links of the downstream column with those of the upstream columns, where a reach has the latter."""
    index = pd.Index(ids)
    n = np.int64(ids.size)
    target = index.get_indexer(pd.Index(downstream))
    linked = np.flatnonzero((target >= 0) & checked[target])
    by_downstream = target[linked] * n + linked
    owner, source = index.get_indexer(pd.Index(declared[0])), index.get_indexer(pd.Index(declared[1]))
    inside = source >= 0
    by_upstream = owner[inside] * n + source[inside]
    conflict = np.sort(np.concatenate([
        by_downstream[~within(by_downstream, by_upstream)], by_upstream[~within(by_upstream, by_downstream)],
    ]))  # fmt: skip
    if conflict.size:
        links = [f"{ids[key % n]} -> {ids[key // n]}" for key in conflict[:10]]
        raise NetworkError(
            f"the downstream column and the upstream columns contradict each other on {conflict.size} links: "
            f"{', '.join(links)}{', ...' if conflict.size > 10 else ''}; correct one of the two in rapid_connect.csv"
        )


def _report_left_out(
    ids: NDArray[np.int64],
    downstream: NDArray[np.int64],
    declared: NDArray[np.int64],
    all_ids: NDArray[np.int64],
    routed: NDArray[np.int64],
    listed: str,
) -> None:
    """Say how many reaches are left out, and warn when routed reaches lack their water."""
    if ids.size:
        logger.info("%d reaches are not in %s and are left out: %s", ids.size, listed, some(ids))
    feeding = ids[within(downstream, routed)]
    outside = declared[1][~within(declared[1], all_ids) & within(declared[0], routed)]
    if feeding.size or outside.size:
        lost = np.concatenate([feeding, outside])
        warn(
            f"{lost.size} reaches that are not routed drain into reaches that are; their water is missing: "
            f"{some(lost)}"
        )
