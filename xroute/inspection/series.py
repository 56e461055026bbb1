"""What a table of discharge at gauges holds: which gauges, which times, and how much of it is known."""

from __future__ import annotations

import numpy as np

from xroute.exceptions import XRouteError
from xroute.files.opening import PathLike
from xroute.inspection.report import Report
from xroute.series import bears_times, is_series_table, open_series
from xroute.stamps import show
from xroute.wording import argument, phrase

__all__ = ["inspect_series"]


def inspect_series(path: PathLike) -> Report | None:
    """Report of a table of discharge.

    Parameters
    ----------
    path
        A csv of one column a gauge, or of one row a value.

    Returns
    -------
    Report or None
        None for what is no such table. Of one that has times and cannot be read, the problem is said.
    """
    if not is_series_table(path):
        return None
    try:
        series = open_series(path).transpose("time", "reach")
    except XRouteError as error:
        # A table with dates is no network, and a list of networks' columns would help nobody.
        if not bears_times(path):
            return None
        return Report([("holds", "a table with times, as of discharge at gauges, that cannot be read yet")], [str(error)])
    if not series.size:
        return None
    report = Report(judged=False)
    fitted = phrase("calibrate", "xroute.calibrate(runoff, network, path) fits a network to it")
    report.facts.append(("holds", f"discharge at gauges: {fitted}, and a run takes it as known, {argument('known')}"))
    first = ", ".join(map(str, series["reach"].values[:3]))
    report.facts.append(("gauges", f"{series.sizes['reach']:,}, on reaches such as {first}"))
    time = np.sort(series["time"].values)
    report.facts.append(("time", f"{show(time[0])} to {show(time[-1])}, {time.size:,} steps"))
    twice = time[1:][time[1:] == time[:-1]]
    if twice.size:
        report.problems.append(f"{twice.size:,} times stand more than once, first {show(twice[0])}: keep one row of each")
    known = np.isfinite(series.values)
    report.facts.append(("known", f"{int(known.sum()):,} of {known.size:,} values ({100 * known.mean():.3g} %)"))
    units = phrase("units of a table", "a table has no units: values are taken in m3 s-1")
    report.notes.append(units)
    silent = series["reach"].values[~known.any(axis=0)]
    if silent.size:
        report.notes.append(f"nothing is known at {silent.size:,} gauges: {', '.join(map(str, silent[:10]))}")
    return report
