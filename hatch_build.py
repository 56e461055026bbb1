"""README.md as the package index shows it: there its links and its picture lead to nothing unless they name the repository."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

PAGES = "https://github.com/xroute/xroute/blob/main/"
PICTURES = "https://raw.githubusercontent.com/xroute/xroute/main/"


def absolute(readme: str) -> str:
    """The text with links to files of the repository made absolute; those with a scheme, and to headings, stay as they are."""
    pieces = re.split(r"(^```.*?^```$)", readme, flags=re.M | re.S)  # no link is in code
    link = re.compile(r"(!?)(\[(?:[^\[\]]|!?\[[^\]]*\]\([^)]*\))*\])\((?![a-z]+:|#)([^)\s]+)\)")
    for k in range(0, len(pieces), 2):
        pieces[k] = link.sub(lambda m: f"{m[1]}{m[2]}({PICTURES if m[1] else PAGES}{m[3]})", pieces[k])
    return "".join(pieces)


class ReadmeHook(MetadataHookInterface):
    """Gives ``readme``, which pyproject.toml calls dynamic."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Put the text of README.md in place."""
        text = (Path(self.root) / "README.md").read_text("utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": absolute(text)}
