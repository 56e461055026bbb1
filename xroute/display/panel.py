"""`Panel`: what is shown of an object, a headline, facts and tables, and how that becomes text and HTML.

It knows nothing of rivers. Colours are those of whatever page the HTML stands on, so that it is as legible in a dark theme as
in a light one; where a page takes styles away, as some sites do with notebooks, the text is shown instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

__all__ = ["Panel", "Table", "cut", "guarded"]

WIDTH = 110
"""Letters of a line of text."""
CELL = 240
"""Letters of a value in HTML, which folds lines."""


@dataclass(frozen=True)
class Table:
    """Rows under a title, which folds in HTML.

    Attributes
    ----------
    title
        Of the table.
    rows
        Cells of each row; the first says what the row is of.
    heads
        Over the cells, if that needs saying.
    unfolded
        Whether HTML shows it at once.
    """

    title: str
    rows: tuple[tuple[str, ...], ...]
    heads: tuple[str, ...] = ()
    unfolded: bool = False


@dataclass(frozen=True)
class Panel:
    """What is shown of an object.

    Attributes
    ----------
    kind
        What it is, such as ``"xroute.Network"``.
    headline
        The first line: it in a few words.
    facts
        Names and values.
    tables
        What there is more.
    picture
        An SVG image, for HTML alone.
    """

    kind: str
    headline: str
    facts: tuple[tuple[str, str], ...] = ()
    tables: tuple[Table, ...] = ()
    picture: str = field(default="", repr=False)

    def text(self) -> str:
        """It as text.

        Examples
        --------
        >>> from xroute.display.panel import Panel, Table
        >>> print(Panel("River", "2 reaches", (("Outlet", "7"),), (Table("Lengths", (("1", "3 km"), ("7", "12 km"))),)).text())
        <River: 2 reaches>
        Outlet:  7
        Lengths:
            1  3 km
            7  12 km
        """
        wide = max((len(name) for name, _ in self.facts), default=0) + 1
        lines = [f"<{self.kind}: {_line(self.headline)}>"]
        lines += [f"{_line(f'{name}:'):<{wide}}  {_line(value)}" for name, value in self.facts]
        for table in self.tables:
            lines += [f"{_line(table.title)}:", *_aligned(table)]
        return "\n".join([lines[0], *(cut(line.rstrip(), WIDTH) for line in lines[1:])])

    def html(self) -> str:
        """It as HTML, for the page of a notebook.

        Examples
        --------
        >>> from xroute.display.panel import Panel
        >>> "a &lt;b&gt; c" in Panel("River", "a <b> c").html()
        True
        """
        parts = [
            f"<style>{STYLE}</style>",
            f'<pre class="xroute-text">{escape(self.text())}</pre>',
            '<div class="xroute-panel" style="display:none">',
            f'<div class="xroute-head"><span class="xroute-kind">{escape(self.kind)}</span> {escape(self.headline)}</div>',
            '<div class="xroute-body">',
            self.picture,
            *_facts(self.facts),
            "</div>",
        ]
        for table in self.tables:
            parts += _folding(table)
        return "<div>" + "".join([*parts, "</div></div>"])


def guarded(facts: Iterator[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Facts as far as they can be told: what fails is left out, since an object that cannot be shown cannot be mended."""
    try:
        yield from facts
    except Exception:  # whatever odd data may raise: there is no one to tell it to here
        return


def cut(text: str, most: int) -> str:
    """A text, or its beginning and three dots.

    Examples
    --------
    >>> from xroute.display.panel import cut
    >>> cut("Ohio River", 7)
    'Ohio...'
    """
    return text if len(text) <= most else text[: max(most - 3, 0)] + "..."


def _line(text: str) -> str:
    """A text without what would break a line."""
    return "".join(c if c.isprintable() else " " for c in text)


def _aligned(table: Table) -> list[str]:
    rows = [tuple(map(_line, row)) for row in ((table.heads, *table.rows) if table.heads else table.rows)]
    widths = [max((len(row[k]) for row in rows if k < len(row)), default=0) for k in range(max(map(len, rows), default=0))]
    return ["    " + "  ".join(cell.ljust(n) for cell, n in zip(row, widths, strict=False)) for row in rows]


def _facts(facts: tuple[tuple[str, str], ...]) -> list[str]:
    if not facts:
        return []
    rows = (f'<tr><th scope="row">{escape(name)}</th><td>{escape(cut(value, CELL))}</td></tr>' for name, value in facts)
    return ['<table class="xroute-facts"><tbody>', *rows, "</tbody></table>"]


def _folding(table: Table) -> list[str]:
    rows = [
        f'<tr><th scope="row">{escape(cut(first, CELL))}</th>{"".join(f"<td>{escape(cut(c, CELL))}</td>" for c in cells)}</tr>'
        for first, *cells in table.rows
    ]
    heads = "".join(f'<th scope="col">{escape(head)}</th>' for head in table.heads)
    count = f' <span class="xroute-count">({len(table.rows)})</span>'
    return [
        f'<details{" open" if table.unfolded else ""}><summary>{escape(table.title)}{count}</summary><table>',
        f"<thead><tr>{heads}</tr></thead>" if heads else "",
        f"<tbody>{''.join(rows)}</tbody></table></details>",
    ]


STYLE = " ".join((Path(__file__).parent / "panel.css").read_text(encoding="utf-8").split())
"""Its own names, so that nothing else on a page changes; what a page's own style says of tables is set right."""
