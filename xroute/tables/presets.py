"""What the common hydrographies call the columns of their tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from xroute.exceptions import NetworkError, some
from xroute.wording import argument

__all__ = ["PRESETS", "Preset", "find_preset", "plain_name"]


@dataclass(frozen=True)
class Preset:
    """Column names of a hydrography.

    Parameters
    ----------
    reach, downstream
        Columns of the ids.
    columns
        Column to our name and units, for columns that mean the same as a variable of the data model.
    several
        The downstream column may name several ids, with blanks between them.
    key
        Column of the numbers that the downstream column names, where these are not the reaches' ids.
    first
        Columns that go before others that mean the same; the others keep their own names.

    Examples
    --------
    >>> from xroute.tables import PRESETS
    >>> PRESETS["hydrorivers"].downstream
    'NEXT_DOWN'
    """

    reach: str
    downstream: str
    columns: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    several: bool = False
    key: str | None = None
    first: tuple[str, ...] = ()

    def columns_of_ids(self) -> tuple[str, ...]:
        """Columns that a table must have.

        Returns
        -------
        tuple of str
            Those of ids.

        Examples
        --------
        >>> from xroute.tables import PRESETS
        >>> PRESETS["hydrorivers"].columns_of_ids()
        ('HYRIV_ID', 'NEXT_DOWN')
        """
        return (self.reach, self.downstream) if self.key is None else (self.reach, self.downstream, self.key)

    def goes_first(self, column: Any) -> bool:
        """Whether a column goes before others that mean the same.

        Parameters
        ----------
        column
            Name of the column.

        Returns
        -------
        bool
            Whether it stands in ``first``.

        Examples
        --------
        >>> from xroute.tables import PRESETS
        >>> PRESETS["tdx-hydro"].goes_first("LengthGeodesicMeters")
        True
        """
        return plain_name(column) in map(plain_name, self.first)

    def means(self, column: Any) -> tuple[str, str] | None:
        """Our name and units of a column, whatever its capitals.

        Parameters
        ----------
        column
            Name of the column.

        Returns
        -------
        tuple of str or None
            Name and units; None if the hydrography says nothing of it.

        Examples
        --------
        >>> from xroute.tables import PRESETS
        >>> PRESETS["hydrorivers"].means("length_km")
        ('length', 'km')
        """
        exact = self.columns.get(str(column))
        small = {name.lower(): meaning for name, meaning in self.columns.items()}
        return exact or small.get(plain_name(column))


_NHDPLUS: Mapping[str, tuple[str, str]] = {
    "LENGTHKM": ("length", "km"), "AreaSqKM": ("area", "km2"), "TotDASqKM": ("upstream_area", "km2"), "SLOPE": ("slope", "1"),
    "StreamOrde": ("stream_order", "1"), "QE_MA": ("mean_discharge", "ft3 s-1"),
}  # fmt: skip
#: By name: what a hydrography calls things. 0, -1 and the like mark outlets in all of them.
PRESETS: dict[str, Preset] = {
    "merit-basins": Preset("COMID", "NextDownID", {
        "lengthkm": ("length", "km"), "slope": ("slope", "1"), "unitarea": ("area", "km2"),
        "uparea": ("upstream_area", "km2"), "order": ("stream_order", "1"),
    }),
    "tdx-hydro": Preset("LINKNO", "DSLINKNO", {
        "Length": ("length", "m"), "Slope": ("slope", "1"), "strmOrder": ("stream_order", "1"),
        "DSContArea": ("upstream_area", "m2"), "musk_k": ("k", "s"), "musk_x": ("x", "1"),
        "LengthGeodesicMeters": ("length", "m"),
    }, first=("LengthGeodesicMeters",)),
    "hydrorivers": Preset("HYRIV_ID", "NEXT_DOWN", {
        "LENGTH_KM": ("length", "km"), "CATCH_SKM": ("area", "km2"), "UPLAND_SKM": ("upstream_area", "km2"),
        "ORD_STRA": ("stream_order", "1"), "DIS_AV_CMS": ("mean_discharge", "m3 s-1"), "sgr_dk_rav": ("slope", "dm km-1"),
    }),
    "nwm-hydrofabric": Preset("id", "toid", {
        "lengthkm": ("length", "km"), "Length_m": ("length", "m"), "areasqkm": ("area", "km2"),
        "tot_drainage_areasqkm": ("upstream_area", "km2"), "So": ("slope", "1"), "slope": ("slope", "1"),
        "order": ("stream_order", "1"), "MusK": ("k", "s"), "MusX": ("x", "1"),
        "TopWdth": ("width", "m"),
    }),
    "nhdplus": Preset("COMID", "tocomid", _NHDPLUS),
    "nhdplus-hydroseq": Preset("COMID", "DnHydroseq", _NHDPLUS, key="Hydroseq"),
    "nhdplus-hr": Preset("NHDPlusID", "DnHydroSeq", _NHDPLUS, key="HydroSeq"),
    "mizuroute": Preset("segId", "downSegId", {
        "length": ("length", "m"), "slope": ("slope", "1"), "area": ("area", "m2"),
    }),
    "mizuroute-tosegment": Preset("seg_id", "tosegment", {
        "length": ("length", "m"), "slope": ("slope", "1"), "area": ("area", "m2"),
    }),
    "sword": Preset("reach_id", "rch_id_dn", {
        "reach_len": ("length", "m"), "reach_length": ("length", "m"), "slope": ("slope", "m km-1"),
        "facc": ("upstream_area", "km2"), "width": ("width", "m"), "x": ("lon", "degrees_east"),
        "y": ("lat", "degrees_north"),
    }, several=True),
    "river-route-3": Preset("riverId", "nextRiverId", {
        "muskingumK": ("k", "s"), "muskingumX": ("x", "1"), "lengthMeters": ("length", "m"), "areaM2": ("area", "m2"),
        "catchment_area": ("area", "m2"), "strahlerOrder": ("stream_order", "1"),
    }),
    "river-route": Preset("river_id", "downstream_river_id", {"k": ("k", "s"), "x": ("x", "1")}),
    "rapid2": Preset("riv", "dwn", {"kpr": ("k", "s"), "xpr": ("x", "1")}),
}  # fmt: skip


def find_preset(table: pd.DataFrame, reach: str | None, downstream: str | None, preset: str | None) -> Preset:
    """Preset that is named or that the columns fit, with the names of the id columns as they stand in the table."""
    if preset is not None:
        if preset not in PRESETS:
            raise NetworkError(f"no preset {preset!r}; there are {', '.join(sorted(PRESETS))}")
        chosen = PRESETS[preset]
        chosen = _in_table(table, chosen)
        return replace(chosen, reach=reach or chosen.reach, downstream=downstream or chosen.downstream)
    if reach is not None and downstream is not None:
        return Preset(reach, downstream)
    if reach is not None or downstream is not None:
        raise NetworkError(f"give both {argument('reach')} and {argument('downstream')}, or neither, or a {argument('preset')}")
    spelled = {name: _in_table(table, p) for name, p in PRESETS.items()}
    fitting = [name for name, p in spelled.items() if set(p.columns_of_ids()) <= set(table.columns)]
    fitting = [name for name in fitting if spelled[name].key is None] or fitting  # ids themselves tell more than numbers do
    exact = [n for n in fitting if set(PRESETS[n].columns_of_ids()) <= set(table.columns)]
    if len(exact or fitting) == 1:
        return spelled[(exact or fitting)[0]]
    columns = "; ".join(f"{name}: {p.reach}/{p.downstream}" for name, p in PRESETS.items())
    what = f"several presets fit the columns ({', '.join(fitting)})" if fitting else "no preset fits the columns"
    raise NetworkError(
        f"no network can be made of this table, for {what} {some(table.columns)}: "
        f"give {argument('reach')} and {argument('downstream')}, or {argument('preset')} "
        f"one of: {columns}"
    )


def plain_name(column: Any) -> str:
    """A column's name without capitals and the blanks around it."""
    return str(column).strip().lower()


def _in_table(table: pd.DataFrame, preset: Preset) -> Preset:
    """The preset with its columns of ids as they are spelled in the table."""
    key = None if preset.key is None else _spelled(table, preset.key)
    return replace(preset, reach=_spelled(table, preset.reach), downstream=_spelled(table, preset.downstream), key=key)


def _spelled(table: pd.DataFrame, column: str) -> str:
    """How a column's name is spelled in the table, where only capitals and blanks differ."""
    if column in table.columns:
        return column
    fitting = [c for c in table.columns if plain_name(c) == column.lower()]
    return fitting[0] if len(fitting) == 1 else column
