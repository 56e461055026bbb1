"""How a run is stepped and sampled: `RoutingSettings`, checked once and handed on whole; and the values its options may have.

This is the one place where those values stand. Whatever wants them as numbers, as kernels do, makes numbers of them where it
begins, by their order here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from xroute.exceptions import ParameterError, one_of

__all__ = [
    "ANY_STEP", "CELL_METHOD", "CLIMATOLOGY", "CONVENTION", "EDGES", "ESTIMATE", "EXTRA", "FORM", "GRID_NAN",
    "GROUPING", "HILLSLOPE", "KGE_METHOD", "LABEL", "LATERAL", "LOSS", "MISSING", "MISSING_DOWNSTREAM", "NAN",
    "NEGATIVE_AREA", "OPTIMIZER", "PER", "REMAP_TO", "RESET", "SAMPLING", "STAGES", "UNCOVERED", "WEIGHT_METHOD",
    "Climatology", "Convention", "Edges", "Estimate", "Extra", "Form", "GridNaN", "Grouping", "Hillslope",
    "KGEMethod", "Label", "Lateral", "Loss", "Missing", "MissingDownstream", "NaN", "NegativeArea", "Optimizer",
    "Per", "RemapTo", "Reset", "RoutingSettings", "Sampling", "Stages", "Uncovered", "WeightMethod", "WeightsKind",
]  # fmt: skip

Sampling = Literal["mean", "last", "start-mean"]
Lateral = Literal["head", "interval", "outlet"]
NaN = Literal["raise", "zero"]
GridNaN = Literal["raise", "zero", "others"]
RemapTo = Literal["volume", "mean"]
WeightsKind = Literal["xroute", "rapid", "river-route", "mizuroute", "hru", "scrip"]
Missing = Literal["raise", "zero"]
Extra = Literal["raise", "drop"]
MissingDownstream = Literal["raise", "outlet"]
Hillslope = Literal[
    "none", "gamma", "scs", "triangular", "gamma-mizuroute", "scs-river-route", "triangular-river-route"
]
Label = Literal["start", "middle", "end"]
Reset = Literal["day", "forecast", "never"]
Estimate = Literal["celerity", "manning"]
NegativeArea = Literal["raise", "zero"]
Convention = Literal["esri", "taudem", "grass", "ldd", "whitebox"]
WeightMethod = Literal["area", "nearest"]
Edges = Literal["straight", "geodesic"]
Uncovered = Literal["raise", "warn", "accept"]
Per = Literal["run", "step"]
KGEMethod = Literal["2009", "2012"]
Climatology = Literal["dayofyear", "month"]
Loss = Literal["nse", "kge", "rmse", "log"]
Optimizer = Literal["adam", "lbfgs"]
Stages = Literal["gauge"]
Grouping = Literal["all", "strahler", "basin", "gauge"]
Form = Literal["value", "scale"]
Profile = Literal["image", "lines"]
Picture = Literal["overview", "map", "hydrograph", "profile", "animation"]

SAMPLING: tuple[Sampling, ...] = get_args(Sampling)
"""How the substeps of a step of runoff make its discharge."""
CELL_METHOD: Mapping[Sampling, str] = {"mean": "mean", "last": "point", "start-mean": "mean"}
"""What CF calls each of them, along time."""
LATERAL: tuple[Lateral, ...] = get_args(Lateral)
"""Where runoff joins its reach."""
NAN: tuple[NaN, ...] = get_args(NaN)
"""What becomes of runoff that is not finite."""
GRID_NAN: tuple[GridNaN, ...] = get_args(GridNaN)
"""What becomes of a grid's cells that are NaN: an error, no water, or what the other cells of the catchment have."""
REMAP_TO: tuple[RemapTo, ...] = get_args(RemapTo)
"""What a grid's runoff becomes for catchments: their volume, or the mean over their area."""
MISSING: tuple[Missing, ...] = get_args(Missing)
"""What becomes of reaches without runoff."""
EXTRA: tuple[Extra, ...] = get_args(Extra)
"""What becomes of runoff ids that the network does not have."""
MISSING_DOWNSTREAM: tuple[MissingDownstream, ...] = get_args(MissingDownstream)
"""What becomes of downstream ids that the network does not have."""
HILLSLOPE: tuple[Hillslope, ...] = get_args(Hillslope)
"""What runoff goes through before its channel."""
LABEL: tuple[Label, ...] = get_args(Label)
"""Which point of its step a time stamp is."""
RESET: tuple[Reset, ...] = get_args(Reset)
"""When values that accumulate begin again."""
ESTIMATE: tuple[Estimate, ...] = get_args(Estimate)
"""Methods that estimate parameters."""
CONVENTION: tuple[Convention, ...] = get_args(Convention)
"""What the numbers of a direction grid mean: of ArcGIS (HydroSHEDS, MERIT Hydro), TauDEM, GRASS, PCRaster and Whitebox."""
NEGATIVE_AREA: tuple[NegativeArea, ...] = get_args(NegativeArea)
"""What becomes of local areas below zero."""
WEIGHT_METHOD: tuple[WeightMethod, ...] = get_args(WeightMethod)
"""What catchments take from a grid: the cells that they overlap, by area, or the nearest one."""
EDGES: tuple[Edges, ...] = get_args(Edges)
"""What edges of catchments are between vertices: straight in their coordinate system, or geodesics."""
UNCOVERED: tuple[Uncovered, ...] = get_args(Uncovered)
"""What becomes of catchments that lie beyond a grid, or partly so."""
PER: tuple[Per, ...] = get_args(Per)
"""What a water budget is of."""
KGE_METHOD: tuple[KGEMethod, ...] = get_args(KGEMethod)
"""Which Kling-Gupta efficiency: of Gupta et al. (2009), or of Kling et al. (2012)."""
CLIMATOLOGY: tuple[Climatology, ...] = get_args(Climatology)
"""Which steps of other years are alike."""
LOSS: tuple[Loss, ...] = get_args(Loss)
"""Losses of a calibration, by name (`xroute.losses`)."""
OPTIMIZER: tuple[Optimizer, ...] = get_args(Optimizer)
"""What finds the parameters of a calibration."""
STAGES: tuple[Stages, ...] = get_args(Stages)
"""What a calibration goes down a river by: from gauge to gauge."""
GROUPING: tuple[Grouping, ...] = get_args(Grouping)
"""What reaches may be grouped by, beside variables: not at all, stream order, outlet, or next gauge downstream."""
FORM: tuple[Form, ...] = get_args(Form)
"""What is learned of a parameter: its value, or a factor on the network's values."""

PICTURE: tuple[Picture, ...] = get_args(Picture)
"""What a picture of discharge shows."""
PROFILE: tuple[Profile, ...] = get_args(Profile)
"""How discharge along a river is drawn: all times as an image of distance and time, or some as lines."""

ANY_STEP = 1e9
"""Step [s] of filters where there is none to route: a long one, of which windows are short."""


@dataclass(frozen=True)
class RoutingSettings:
    """How a run is stepped and sampled; the same for all its blocks, whatever routes them.

    Attributes
    ----------
    step
        Step of runoff [s]; None where it is not known. Filters cannot be made without it, but routing does not ask for it.
    substeps
        Routing steps in a step of runoff.
    sampling
        Discharge of a step: ``"mean"`` of the values at the ends of its substeps, ``"last"`` of them, or ``"start-mean"``,
        the mean of the values at their starts.
    lateral
        Where runoff joins its reach: at its ``"head"``, over the ``"interval"`` of each routing step, or at the ``"outlet"``.
    nan
        Runoff that is not finite: ``"raise"`` an error, or take it as ``"zero"``.

    Raises
    ------
    ParameterError
        For values that none of them may have.

    Examples
    --------
    >>> from xroute.settings import RoutingSettings
    >>> RoutingSettings(10800.0, substeps=12, lateral="interval").routing_step
    900.0
    """

    step: float | None = None
    substeps: int = 1
    sampling: Sampling = "mean"
    lateral: Lateral = "head"
    nan: NaN = "raise"

    def __post_init__(self) -> None:
        if isinstance(self.substeps, bool) or not isinstance(self.substeps, int) or self.substeps < 1:
            raise ParameterError(f"substeps must be a positive whole number, not {self.substeps!r}")
        one_of("sampling", self.sampling, SAMPLING)
        one_of("lateral", self.lateral, LATERAL)
        one_of("nan", self.nan, NAN)

    @property
    def routing_step(self) -> float | None:
        """Routing step [s]: what filters are made for, and how far apart the inflows of a state are."""
        return None if self.step is None else self.step / self.substeps

    @property
    def nan_is_zero(self) -> bool:
        """Whether runoff that is not finite is taken as zero."""
        return self.nan == "zero"
