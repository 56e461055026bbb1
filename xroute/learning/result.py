"""`Calibration`: what `xroute.calibrate` gives: the network, its scores, how it came about, and what is not determined."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

import xarray as xr

from xroute.display.others import panel_of_calibration
from xroute.exceptions import XRouteError
from xroute.learning.archive import dataset_of, read_archive, tree_of, write_archive
from xroute.learning.progress_file import KIND, WHAT
from xroute.network import Network

__all__ = ["Calibration", "open_calibration"]

PathLike = str | os.PathLike[str]
PARTS = ("history", "scores", "curvature", "discharge", "before")


@dataclass(frozen=True, eq=False)
class Calibration:
    """A calibrated network, and what is known of it.

    Attributes
    ----------
    network : Network
        The whole network with calibrated parameters, in its own units. Attribute ``calibrated`` says how, variable ``calibrated``
        (reach) on which reaches: those upstream of gauges, and with groups all reaches of the groups that these are in. Others
        keep what they had.
    history : xarray.Dataset
        By ``epoch``: ``loss``, ``test_loss``, ``learning_rate``, ``nse`` and ``test_nse`` by gauge, and what is learned by
        group (of values that each reach has its own of, quantiles). The last entry is that of the parameters that were kept.
    scores : xarray.Dataset
        Scores of `xroute.scores` by gauge, ``period`` (train, test) and ``run``: ``calibrated``, as it was ``before``, and
        ``unrouted``, runoff summed without routing.
    curvature : xarray.Dataset
        How well the observations determine each value: ``standard_error``, and whether it is ``determined``; see
        `xroute.learning.curvature.curvature_of`.
    discharge : xarray.Dataset
        At the gauges [m3 s-1] (gauge, time), in the steps of the observations: ``observed``, ``calibrated``, ``before``,
        ``unrouted``; coordinate ``period`` says which steps are of ``train`` and ``test``.
    before : xarray.Dataset
        The parameters that were calibrated, as they were, on ``reach``.
    epochs
        How many there were.
    reason
        Why it ended, in words.
    identity, progress
        What its file says of the run, so that `xroute.calibrate` can go on from it.

    Examples
    --------
    >>> import xroute
    >>> truth = xroute.datasets.scheidegger(4, 3)
    >>> runoff = xroute.datasets.storm_runoff(truth, 120, dtype=float)
    >>> gauges = runoff.route(truth).isel(reach=[9, 10, 11])
    >>> start = truth.assign(k=1.5 * truth.k)
    >>> result = xroute.calibrate(runoff, start, gauges, parameters={"k": "scale"}, groups="all", progress=False)
    >>> bool(abs(result.network["k"] / truth.k - 1).max() < 0.01)
    True
    """

    network: Network
    history: xr.Dataset
    scores: xr.Dataset
    curvature: xr.Dataset
    discharge: xr.Dataset
    before: xr.Dataset
    epochs: int
    reason: str
    identity: dict[str, str] = field(default_factory=dict, repr=False)
    progress: Any = field(default=None, repr=False)

    def __repr__(self) -> str:
        return panel_of_calibration(self).text()

    def _repr_html_(self) -> str:
        return panel_of_calibration(self, picture=True).html()

    def summary(self) -> str:
        """It in a line: loss, median NSE, and what is not determined.

        Returns
        -------
        str
            The line.

        Examples
        --------
        >>> import xroute
        >>> truth = xroute.datasets.scheidegger(4, 3)
        >>> runoff = xroute.datasets.storm_runoff(truth, 120, dtype=float)
        >>> gauges = runoff.route(truth).isel(reach=[9, 10, 11])
        >>> start = truth.assign(k=1.5 * truth.k)
        >>> result = xroute.calibrate(runoff, start, gauges, parameters={"k": "scale"}, groups="all", progress=False)
        >>> result.summary()
        'loss ... epochs ... median NSE in train ...'
        """
        first, last = (float(self.history["loss"][k]) for k in (0, -1))
        loss = "" if "stage" in self.history.coords else f"loss {first:.4g} to {last:.4g} in "  # of stages, these are others
        parts = [f"{loss}{self.epochs} epochs ({self.reason})"]
        if "nse" in self.scores and "run" in self.scores.dims:
            for period in self.scores["period"].values.tolist():
                median = self.scores["nse"].sel(period=period).median(self._gauge_dim)
                parts.append(
                    f"median NSE in {period} {float(median.sel(run='before')):.3f} to {float(median.sel(run='calibrated')):.3f}"
                )
        lost = self.undetermined()
        if "note" in self.curvature.attrs:
            parts.append(f"how well values are determined is not known: {self.curvature.attrs['note']}")
        if lost:
            parts.append(
                f"not determined: {', '.join(lost[:8])}" + (f", ... ({len(lost)} in all)" if len(lost) > 8 else "")
            )
        return "; ".join(parts)

    def undetermined(self) -> list[str]:
        """Values that the observations do not determine, in words such as ``"x of strahler 1"`` and ``"k of all"``.

        Returns
        -------
        list of str
            Empty if all are determined.

        Examples
        --------
        >>> import xroute
        >>> truth = xroute.datasets.scheidegger(4, 3)
        >>> runoff = xroute.datasets.storm_runoff(truth, 120, dtype=float)
        >>> gauges = runoff.route(truth).isel(reach=[9, 10, 11])
        >>> start = truth.assign(k=1.5 * truth.k)
        >>> result = xroute.calibrate(runoff, start, gauges, parameters={"k": "scale"}, groups="all", progress=False)
        >>> result.undetermined()
        []
        """
        if "determined" not in self.curvature:
            return []
        table = self.curvature[["determined", "n_reaches"]].to_dataframe().reset_index()
        lost = table[~table["determined"] & (table["n_reaches"] > 0)]
        kind = str(self.curvature["group"].attrs.get("long_name", ""))
        by_number = lost["group"].dtype.kind in "iuf" and kind and "," not in kind  # a number by itself says little
        before = f"{kind} " if by_number else ""
        names = [f"{p} of {before}{g}" for p, g in zip(lost["parameter"], lost["group"], strict=True)]
        return names if "stage" not in lost else [f"{name} in stage {s}" for name, s in zip(names, lost["stage"], strict=True)]

    def plot(self, *args: Any, **kwargs: Any) -> Any:
        """Draw it before and after; see `xroute.plotting.plot_calibration`.

        Parameters
        ----------
        *args, **kwargs
            As of `xroute.plotting.plot_calibration`, after the calibration.

        Returns
        -------
        matplotlib.figure.Figure
            What was drawn.

        Raises
        ------
        ParameterError
            As `xroute.plotting.plot_calibration`.

        Examples
        --------
        >>> import xroute
        >>> truth = xroute.datasets.scheidegger(4, 3)
        >>> runoff = xroute.datasets.storm_runoff(truth, 120, dtype=float)
        >>> gauges = runoff.route(truth).isel(reach=[9, 10, 11])
        >>> start = truth.assign(k=1.5 * truth.k)
        >>> result = xroute.calibrate(runoff, start, gauges, parameters={"k": "scale"}, groups="all", progress=False)
        >>> len(result.plot().axes) > 1
        True
        """
        from xroute.plotting import plot_calibration

        return plot_calibration(self, *args, **kwargs)

    def save(self, path: PathLike) -> None:
        """Write it to a file, which `load` reads, and from which `xroute.calibrate` goes on, ``checkpoint=path``.

        Parameters
        ----------
        path
            Of the file, such as ``"calibration.npz"``; what is there is replaced.

        Raises
        ------
        XRouteError
            If it cannot be written there.

        Examples
        --------
        >>> import xroute
        >>> truth = xroute.datasets.scheidegger(4, 3)
        >>> runoff = xroute.datasets.storm_runoff(truth, 120, dtype=float)
        >>> gauges = runoff.route(truth).isel(reach=[9, 10, 11])
        >>> start = truth.assign(k=1.5 * truth.k)
        >>> result = xroute.calibrate(runoff, start, gauges, parameters={"k": "scale"}, groups="all", progress=False)
        >>> import tempfile
        >>> path = tempfile.mkdtemp() + "/calibration.npz"
        >>> result.save(path)
        >>> xroute.learning.open_calibration(path).epochs == result.epochs
        True
        """
        write_archive(path, KIND, {"identity": self.identity, "progress": self.progress, "results": self._tree()})

    @classmethod
    def load(cls, path: PathLike) -> Calibration:
        """Read what `save`, or a ``checkpoint`` of `xroute.calibrate`, has written.

        Parameters
        ----------
        path
            Of the file.

        Returns
        -------
        Calibration
            As it was.

        Raises
        ------
        XRouteError
            If it is no such file, or of a run that has not ended.

        Examples
        --------
        >>> import xroute
        >>> truth = xroute.datasets.scheidegger(4, 3)
        >>> runoff = xroute.datasets.storm_runoff(truth, 120, dtype=float)
        >>> gauges = runoff.route(truth).isel(reach=[9, 10, 11])
        >>> start = truth.assign(k=1.5 * truth.k)
        >>> result = xroute.calibrate(runoff, start, gauges, parameters={"k": "scale"}, groups="all", progress=False)
        >>> import tempfile
        >>> path = tempfile.mkdtemp() + "/calibration.npz"
        >>> result.save(path)
        >>> xroute.learning.Calibration.load(path).network["k"].equals(result.network["k"])
        True
        """
        tree = read_archive(path, KIND, WHAT)
        results = tree["results"]
        if results is None:
            raise XRouteError(
                f"{path} is of a calibration that has not ended: the same call of calibrate goes on with it"
            )
        datasets = {name: dataset_of(results[name]) for name in PARTS}
        network = Network(dataset_of(results["network"]))
        return cls(
            network, **datasets, epochs=results["epochs"], reason=results["reason"], identity=dict(tree["identity"]),
            progress=tree["progress"],
        )  # fmt: skip

    @property
    def _gauge_dim(self) -> Any:
        return next(d for d in self.discharge["observed"].dims if d in self.scores["nse"].dims)

    def _tree(self) -> dict[str, Any]:
        parts = {name: tree_of(getattr(self, name)) for name in PARTS}
        return {**parts, "network": tree_of(self.network.dataset), "epochs": self.epochs, "reason": self.reason}


def open_calibration(path: PathLike) -> Calibration:
    """Read a calibration: what `Calibration.save`, or a ``checkpoint`` of `xroute.calibrate`, has written.

    Parameters
    ----------
    path
        Of the file.

    Returns
    -------
    Calibration
        As it was.

    Raises
    ------
    XRouteError
        If it is no such file, or of a run that has not ended.

    Examples
    --------
    >>> import xroute
    >>> truth = xroute.datasets.scheidegger(4, 3)
    >>> runoff = xroute.datasets.storm_runoff(truth, 120, dtype=float)
    >>> gauges = runoff.route(truth).isel(reach=[9, 10, 11])
    >>> start = truth.assign(k=1.5 * truth.k)
    >>> result = xroute.calibrate(runoff, start, gauges, parameters={"k": "scale"}, groups="all", progress=False)
    >>> import tempfile
    >>> path = tempfile.mkdtemp() + "/calibration.npz"
    >>> result.save(path)
    >>> xroute.learning.open_calibration(path).reason == result.reason
    True
    """
    return Calibration.load(path)
