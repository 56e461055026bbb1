"""Directives whose text is made of the code, so that it cannot grow old.

``command-help`` is what ``xroute COMMAND --help`` prints; ``made-table`` a table of schemes, hillslopes or presets.
"""

from __future__ import annotations

from typing import Any

import click
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

WIDTH = 100


def help_of(words: str) -> str:
    """Text that the help of a command is, by its words: ``"convert rapid"``; no words are the command itself."""
    from xroute.cli import main

    command: click.Command = main
    context = click.Context(main, info_name="xroute", terminal_width=WIDTH, max_content_width=WIDTH)
    for word in words.split():
        if not isinstance(command, click.Group) or (below := command.get_command(context, word)) is None:
            raise ValueError(f"there is no command 'xroute {words}'")
        command = below
        context = click.Context(command, info_name=word, parent=context, terminal_width=WIDTH, max_content_width=WIDTH)
    return command.get_help(context)


def commands(of: click.Command | None = None, before: str = "") -> list[str]:
    """Words of all commands, those of groups after these."""
    from xroute.cli import main

    found: list[str] = []
    if isinstance(group := main if of is None else of, click.Group):
        context = click.Context(group)
        for name in group.list_commands(context):
            words = f"{before} {name}".strip()
            below = group.get_command(context, name)
            found += [words, *(commands(below, words) if below is not None else ())]
    return found


class CommandHelp(SphinxDirective):
    """A block with the command and what it prints."""

    optional_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """Make the block."""
        words = self.arguments[0] if self.arguments else ""
        text = f"$ {' '.join(['xroute', *words.split(), '--help'])}\n{help_of(words)}"
        block = nodes.literal_block(text, text)
        block["language"] = "console"
        return [block]


def schemes() -> list[tuple[str, ...]]:
    """Rows of the schemes, below their headings."""
    from xroute.schemes import SCHEMES

    head = ("scheme", "parameters", "mean travel time", "what it is")
    return [head, *(row for name, scheme in SCHEMES.items() for row in _scheme(name, scheme))]


def hillslopes() -> list[tuple[str, ...]]:
    """Rows of the hillslopes, a row for each form, below their headings."""
    from xroute.schemes import HILLSLOPES

    head = ("hillslope", "parameters", "mean delay", "what it is")
    return [head, *(row for name, forms in HILLSLOPES.items() for form in forms for row in _scheme(name, form))]


def _scheme(name: str, scheme: Any) -> list[tuple[str, ...]]:
    parameters = ", ".join(
        f"``{p.name}``" + f" [{p.units}]" * (p.units != "1") + ("" if p.default is None else f" ({p.default:g})")
        for p in scheme.parameters
    )
    mean = f"``{scheme.travel_time}``" if scheme.travel_time else ""
    return [(f"``{name}``", parameters, mean, scheme.summary.replace("`", "``"))]


def presets() -> list[tuple[str, ...]]:
    """Rows of the hydrographies whose columns are known, below their headings."""
    from xroute.tables import PRESETS

    head = ("preset", "ids", "columns that are read, besides")
    return [head, *(
        (f"``{name}``", f"``{preset.reach}``, ``{preset.downstream}``", ", ".join(f"``{column}``" for column in preset.columns))
        for name, preset in PRESETS.items()
    )]  # fmt: skip


TABLES = {"schemes": schemes, "hillslopes": hillslopes, "presets": presets}


class MadeTable(SphinxDirective):
    """A table of what the code knows."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Make the table."""
        lines = [".. list-table::", "   :header-rows: 1", ""]
        for row in TABLES[self.arguments[0]]():
            lines += [f"   {'-' if i else '* -'} {cell}".replace("   -", "     -", 1) for i, cell in enumerate(row)]
        box = nodes.container()
        self.state.nested_parse(StringList(lines, source="made-table"), self.content_offset, box)
        return list(box.children)


def setup(app: Sphinx) -> dict[str, Any]:
    """Add the directive."""
    app.add_directive("command-help", CommandHelp)
    app.add_directive("made-table", MadeTable)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
