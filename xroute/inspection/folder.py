"""What a folder holds: the set-up of another system, and the command that converts it."""

from __future__ import annotations

from pathlib import Path

from xroute.exceptions import XRouteError
from xroute.inspection.report import Report
from xroute.io import READERS
from xroute.io.reader import Reader
from xroute.wording import phrase

__all__ = ["inspect_folder"]


def inspect_folder(path: Path) -> Report | None:
    """Report of a folder with files of another system.

    Parameters
    ----------
    path
        The folder.

    Returns
    -------
    Report or None
        None for a folder in which no reader of whole set-ups finds a network.
    """
    for name, reader in READERS.items():
        found = _found(reader, path) if "runoff" in reader.products else {}  # the others read single files
        if found.keys() & {"connect", "network", "control", "config"}:
            report = Report(judged=False)
            how = {
                "nwm": phrase("convert nwm", "xroute.io.nwm reads it"),
                "rapid": phrase("convert rapid", "xroute.io.rapid, or rapid2, reads it"),
                "river-route": phrase("convert river-route", "xroute.io.river_route reads it"),
                "mizuroute": phrase("convert mizuroute", "xroute.io.mizuroute reads it"),
                "troute": phrase("convert troute", "xroute.io.troute reads it"),
                "nextgen": phrase("convert nextgen", "xroute.io.nextgen reads it"),
            }
            read = how.get(name) or phrase("other system", "xroute.io has readers of folders of other systems")
            report.facts += [("holds", f"a set-up of another model: {read}"), *found.items()]
            return report
    return None


def _found(reader: Reader, path: Path) -> dict[str, str]:
    """Names of the files of a set-up by their role; none where they cannot be told."""
    try:
        found = reader.find(path, {option.name: () if option.several else option.default for option in reader.options})
    except (XRouteError, ImportError, FileNotFoundError):
        return {}
    return {
        role: files[0].name if len(files) == 1 else f"{len(files):,} files, {files[0].name} and so on"
        for role, files in ((role, [some] if isinstance(some, Path) else some) for role, some in found.items())
    }
