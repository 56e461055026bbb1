"""River networks from tables: data frames with a row for each reach, whatever the hydrography calls its columns.

`read_table` reads files, `dataset_from_dataframe` takes a data frame; both make the network Dataset and leave judging the
topology to `xroute.Network`. `PRESETS` says what the common hydrographies call their columns.
"""

from __future__ import annotations

from xroute.tables.dataset import dataset_from_dataframe
from xroute.tables.files import SUFFIXES, read_table
from xroute.tables.presets import PRESETS, Preset

__all__ = ["PRESETS", "SUFFIXES", "Preset", "dataset_from_dataframe", "read_table"]
