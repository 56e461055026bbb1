"""Pages of Markdown, run as a newcomer would type them: what README.md, CONTRIBUTING.md and docs/ show is proven by it.

A page is read from top to bottom, in the current folder:

- ```python is run, all blocks of a page in one namespace; one with ``>>>`` is compared with what it prints.
- ```{code-cell} of a notebook (a page with a kernelspec) is run in the same way, and by `make docs`, which shows what comes out;
  a line ``!xroute ...`` in it is a command.
- ```console holds commands, ``$ xroute ...`` (a line that ends in a backslash goes on), and under each what it prints, if it is
  shown: ``...`` stands for any text. A command may fail only where the page shows its error.
- ```bash holds commands of any program. Those of xroute are run; of others `shell_lines` proves what can be proven without the
  network: that the target, extra, script, option, test or hook that they name is there. What it does not know is a fault.
- ```text, ```csv and the like, and blocks without a name, are not code; nor are directives, such as ```{figure}.
"""

from __future__ import annotations

import doctest
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import shell_lines
from click.testing import CliRunner

from xroute.cli import main

ROOT = Path(__file__).resolve().parent.parent
RUN, NOT_CODE = ("python", "{code-cell}", "console", "bash"), ("text", "csv", "")
SHOWN = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    language: str
    text: str
    line: int  # in the page, of its first line of text


def blocks(page: str) -> list[Block]:
    """Fenced blocks, outermost ones: a directive with a longer fence may hold others."""
    found: list[Block] = []
    begins: tuple[int, str, str] | None = None
    lines = page.splitlines()
    for number, line in enumerate(lines, 1):
        fence = re.fullmatch(r"\s*(`{3,}|:{3,})\s*([^\s`]*)(?: [^`]*)?", line)
        if fence and begins is None and not (fence[1][0] == ":" and not fence[2]):
            begins = number, fence[1], fence[2]
        elif fence and begins is not None and fence[1][0] == begins[1][0] and len(fence[1]) >= len(begins[1]):
            assert not fence[2], f"line {number}: a block begins within the block of line {begins[0]}"
            text = "\n".join(lines[begins[0] : number - 1]) + "\n"
            found.append(Block(begins[2], text, begins[0] + 1))
            if begins[2].startswith("{") and begins[2] not in RUN:  # what stands in a box is read, too
                found.extend(Block(b.language, b.text, b.line + begins[0]) for b in blocks(text))
            begins = None
    assert begins is None, f"the block of line {begins and begins[0]} does not end"
    return found


def commands(block: Block) -> Iterator[tuple[int, list[str], str]]:
    """Line, words after `xroute` and shown output of each command of a console block."""
    command: list[str] = []
    shown: list[str] = []
    at, goes_on = block.line, False
    for number, line in enumerate(block.text.splitlines(), block.line):
        if goes_on:
            command.append(line)
        elif line.startswith("$ "):
            if command:
                yield at, words(command, at), "\n".join(shown)
            at, command, shown = number, [line[2:]], []
        else:
            assert command, f"line {number}: output without a command ('$ xroute ...') before it"
            shown.append(line)
            continue
        goes_on = command[-1].rstrip().endswith("\\")
    assert command, f"line {block.line}: a console block without '$ xroute ...'"
    yield at, words(command, at), "\n".join(shown)


def words(lines: list[str], at: int) -> list[str]:
    """Words of a command of xroute, without the first."""
    found = shlex.split(" ".join(line.rstrip().removesuffix("\\") for line in lines), comments=True)
    assert found and found[0] == "xroute", f"line {at}: only commands of xroute are run; fence others as ```bash"
    return found[1:]


def matches(shown: str, printed: str) -> bool:
    """Whether a command prints what the page shows."""
    return doctest.OutputChecker().check_output(shown.strip() + "\n", printed.strip() + "\n", SHOWN)


def run_python(block: Block, names: dict[str, Any], name: str) -> None:
    """Run a block of Python in a page's namespace."""
    if re.search(r"^>>> ", block.text, re.M):
        test = doctest.DocTestParser().get_doctest(block.text, names, name, name, block.line - 1)
        said: list[str] = []
        runner = doctest.DocTestRunner(optionflags=SHOWN)
        failed = runner.run(test, out=said.append, clear_globs=False).failed
        names.update(test.globs)
        assert not failed, "".join(said)
        return
    # A cell's options (:tags:) are for the build; its commands are run as those of a console.
    text = block.text
    if block.language == "{code-cell}":
        text = re.sub(r"\A---\n.*?^---$", lambda found: "\n" * found[0].count("\n"), text, flags=re.M | re.S)
        text = re.sub(r"^:[\w-]+:.*$", "", text, flags=re.M)
    raises = block.language == "{code-cell}" and re.search(r"^:tags:.*\braises-exception\b", block.text, re.M)
    text = re.sub(r"^!(.*)$", lambda found: f"__command__({found[1]!r})", text, flags=re.M)
    names["__command__"] = lambda command: run_commands(Block("console", f"$ {command}\n", block.line), name, bool(raises))
    try:
        exec(compile("\n" * (block.line - 1) + text, name, "exec"), names)
    except Exception:
        if not raises:
            raise
    else:
        said_so = f"{name}, line {block.line}: nothing is raised by a cell that is said to raise an exception"
        assert not raises or "!" in block.text, said_so


def run_commands(block: Block, name: str, may_fail: bool = False) -> None:
    """Run the commands of a console block, and compare what they print with what is shown."""
    for line, given, shown in commands(block):
        result = CliRunner().invoke(main, given, prog_name="xroute")
        where = f"{name}, line {line}: xroute {shlex.join(given)}"
        assert result.exception is None or isinstance(result.exception, SystemExit), f"{where}\n{result.exception!r}"
        if shown:
            assert matches(shown, result.output), f"{where} prints\n{result.output}\nand not\n{shown}"
        elif not may_fail:
            assert result.exit_code == 0, f"{where} exits with {result.exit_code}:\n{result.output}"


def run_shell(block: Block, name: str) -> None:
    """Prove the lines of a bash block, and run those of xroute."""
    shell = shell_lines.Shell()
    for line, command in shell_lines.split(block.text, block.line):
        where = f"{name}, line {line}: {shlex.join(command)}"
        try:
            if command[0] == "xroute":
                run_commands(Block("console", f"$ {shlex.join(command)}\n", line), name)
            else:
                shell.prove(command)
        except shell_lines.NotProven as error:
            raise AssertionError(f"{where}\n{error}") from None


def run_page(text: str, name: str, skip: tuple[str, ...] = ()) -> int:
    """Run a page in the current folder; how many blocks were run. Languages to ``skip`` are run elsewhere."""
    names: dict[str, Any] = {"__name__": "__main__"}
    n = 0
    for block in blocks(text):
        directive = block.language.startswith("{") and block.language not in RUN
        known = directive or block.language in RUN + NOT_CODE
        assert known, f"{name}, line {block.line}: is a block of {block.language!r} to be run?"
        if block.language in skip:
            continue
        if block.language in ("python", "{code-cell}"):
            run_python(block, names, name)
        elif block.language == "console":
            run_commands(block, name)
        elif block.language == "bash":
            run_shell(block, name)
        n += block.language in RUN
    return n
