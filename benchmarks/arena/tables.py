"""The rows of a run as tables: all of them for docs/performance.md, the ratios of the plain cases for the README."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

BEGIN, END = "<!-- peers: written by benchmarks/peers.py -->", "<!-- peers: end -->"


@dataclass
class Row:
    """What was measured of a case: seconds, and seconds of processor time, of each run of both."""

    peer: str
    version: str
    case: str
    problem: str
    size: str
    substeps: int
    ours: list[tuple[float, float]] = field(default_factory=list)
    theirs: list[tuple[float, float]] = field(default_factory=list)
    difference: float = 0.0
    gave_up: float | None = None
    """Seconds after which the peer was stopped."""

    @property
    def ratio(self) -> str:
        """How many times longer the peer takes, by medians."""
        if self.gave_up is not None:
            return f"> {self.gave_up / self._middle(self.ours):.0f}"
        return _short(self._middle(self.theirs) / self._middle(self.ours))

    def _middle(self, runs: Sequence[tuple[float, float]], which: int = 0) -> float:
        return statistics.median(run[which] for run in runs)

    def cells(self) -> list[str]:
        """The row of the long table."""
        least = processor = ""
        if self.gave_up is not None:
            theirs = f"stopped after {self.gave_up:.0f} s"
        else:
            theirs = self._times(self.theirs)
            least = _short(min(t for t, _ in self.theirs) / min(t for t, _ in self.ours))
            processor = _short(self._middle(self.theirs, 1) / max(self._middle(self.ours, 1), 1e-9))
        return [
            f"{self.peer} {self.version}", f"{self.case}, {self.problem}", self._times(self.ours), theirs, self.ratio, least,
            processor, "" if self.gave_up is not None else f"{self.difference:.0e}",
        ]  # fmt: skip

    def _times(self, runs: Sequence[tuple[float, float]]) -> str:
        return f"{1e3 * min(t for t, _ in runs):.1f} ({1e3 * self._middle(runs):.1f})"


def _short(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio < 9.995 else f"{ratio:.0f}"


HEAD = [
    "peer", "case", "xroute, ms", "peer, ms", "peer / xroute", "of least times", "of processor time", "difference",
]  # fmt: skip


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def long_table(rows: Sequence[Row]) -> str:
    """All that was measured."""
    return table(HEAD, [row.cells() for row in rows])


def short_table(rows: Sequence[Row]) -> str:
    """How many times longer each peer takes, by size: one routing step in a step of runoff, kernels and files."""
    plain = [row for row in rows if row.substeps == 1 and row.case != "call"]
    sizes = list(dict.fromkeys(row.size for row in plain))
    of = {size: next(row.problem for row in plain if row.size == size) for size in sizes}
    names = list(dict.fromkeys((f"{row.peer} {row.version}", row.case) for row in plain))
    found = {(f"{row.peer} {row.version}", row.case, row.size): row.ratio for row in plain}
    body = [[name, case, *(found.get((name, case, size), "–") for size in sizes)] for name, case in names]
    return table(["times as long as xroute", "", *(of[size] for size in sizes)], body)


def machine(threads: int) -> str:
    """Where it was measured, in words."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model)
    except OSError:
        pass
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    ours = f"xroute with {threads} threads and Python {platform.python_version()}, peers with as many threads as they take"
    return f"{model}, {cores} cores; {ours}"


def write_between(path: Path, text: str) -> None:
    """Put text between the marks of a page.

    Raises
    ------
    SystemExit
        The page does not have the marks, each once.
    """
    page = path.read_text("utf-8")
    if page.count(BEGIN) != 1 or page.count(END) != 1:
        raise SystemExit(f"{path} does not have the marks {BEGIN} and {END}, each once: nothing was written")
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    path.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", "utf-8")
