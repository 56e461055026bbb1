"""Lines for a shell, proven without the network and without side effects: what they name is there, and takes what it is given.

`Shell.prove` knows each program that pages speak of: `make` has the target, `pip` installs extras and groups that exist, scripts
of `benchmarks/` and `examples/` take the words, `pytest` collects something, `git` clones the project from its own address, and
so on. A program or option that it does not know is not proven.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import click
from packaging.requirements import InvalidRequirement, Requirement

from xroute.cli import main

ROOT = Path(__file__).resolve().parent.parent


class NotProven(Exception):
    """A line that would not do what it says, or of which nobody knows."""


def need(condition: object, message: str) -> None:
    """Raise `NotProven` unless the condition holds."""
    if not condition:
        raise NotProven(message)


@cache
def project() -> dict[str, Any]:
    """What pyproject.toml says."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def split(text: str, first: int = 1) -> Iterator[tuple[int, list[str]]]:
    """Line and words of each command, without comments, of a block that begins at line ``first``."""
    parts: list[str] = []
    begins = first
    for number, line in enumerate(text.splitlines(), first):
        begins = begins if parts else number
        parts.append(line.rstrip().removesuffix("\\"))
        if line.rstrip().endswith("\\"):
            continue
        lexer = shlex.shlex(" ".join(parts), posix=True, punctuation_chars="&;|<>")
        lexer.whitespace_split, lexer.commenters = True, "#"
        parts = []
        command: list[str] = []
        for word in [*lexer, ";"]:
            if word in ("&&", ";"):
                if command:
                    yield begins, command
                command = []
            else:
                command.append(word)


def words(line: str) -> list[str]:
    """Words of one command."""
    ((_, found),) = split(line)
    return found


def known_command(given: list[str]) -> None:
    """Prove that xroute has this command, and the options that are named; what it is to work on need not be."""
    command: click.Command = main
    given = list(given)
    while isinstance(command, click.Group) and given and not given[0].startswith("-"):
        name = given.pop(0)
        if name.isupper():  # stands for any
            return
        found = command.get_command(click.Context(command), name)
        need(found is not None, f"xroute has no command {name!r}")
        command = found
    options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)} | {"--help"}
    for word in given:
        need(not word.startswith("--") or word.partition("=")[0] in options, f"{command.name} has no option {word}")


class Shell:
    """Proves one line after another; what a line sets, such as a clone to go into, serves the next."""

    def __init__(self) -> None:
        self.folders: set[str] = set()

    def prove(self, words: list[str]) -> None:
        """Raise `NotProven` unless the line can do what it says."""
        words = list(words)
        need(not set(words) & {"|", "||", "<", ">", ">>", "&"}, "pipes and redirections are not proven")
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            words.pop(0)
        need(words, "nothing but settings")
        program = words[0].removeprefix(".venv/bin/")
        proof: Callable[[list[str]], None] | None = getattr(self, "_" + re.sub(r"\W", "_", program), None)
        if proof is None and re.fullmatch(r"python(3(\.\d+)?)?", program):
            proof = self._python
        if proof is None:
            raise NotProven(f"{program!r} is no program that tests/shell_lines.py knows how to prove")
        proof(words[1:])

    # ── the project's own commands ────────────────────────────────────────────────────────────────────────────────────

    def _make(self, words: list[str]) -> None:
        targets = [word for word in words if "=" not in word]
        known = re.findall(r"^\.PHONY:(.*)$", (ROOT / "Makefile").read_text("utf-8"), re.M)
        for target in targets:
            need(target in " ".join(known).split(), f"the Makefile has no target {target!r}")
        done = subprocess.run(["make", "-n", *words], cwd=ROOT, capture_output=True, text=True)
        need(done.returncode == 0, done.stderr)

    def _python(self, words: list[str]) -> None:
        need(words, "python without a script")
        if words[0] == "-m":
            need(len(words) > 1 and words[1] in MODULES, f"python -m {' '.join(words[1:2])} is not proven")
            self.prove([MODULES[words[1]], *words[2:]])
            return
        script = ROOT / words[0]
        need(script.suffix == ".py" and script.is_file(), f"there is no {words[0]}")
        if script.parent.name == "benchmarks":
            parse_benchmark(script, words[1:])
            return
        need(script.parent.name == "examples", f"{words[0]} is neither a benchmark nor an example")
        tests = "".join((ROOT / "tests" / name).read_text("utf-8") for name in ("test_examples.py", "test_docs.py"))
        need(f'"{script.stem}"' in tests, f"no test runs {words[0]}")

    def _pytest(self, words: list[str]) -> None:
        for word in words:
            need(not word.endswith(".py") or (ROOT / word).is_file(), f"there is no {word}")
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--collect-only", "-q", *words],
            cwd=ROOT, capture_output=True, text=True,
        )  # fmt: skip
        need(done.returncode == 0, done.stdout[-2000:] + done.stderr[-1000:])

    def _pre_commit(self, words: list[str]) -> None:
        need(words and words[0] in ("install", "run", "uninstall"), f"pre-commit {' '.join(words)} is not proven")
        config = ROOT / ".pre-commit-config.yaml"
        need(config.is_file(), "there is no .pre-commit-config.yaml")
        known = re.findall(r"\bid: *([\w-]+)", config.read_text("utf-8"))
        for word in words[1:]:
            need(word in ("--all-files", "-a", *known), f"pre-commit has no hook and no option {word!r}")

    def _ruff(self, words: list[str]) -> None:
        need(words[:1] in (["check"], ["format"]), f"ruff {' '.join(words)} is not proven")
        for word in words[1:]:
            need(word.startswith("--") or (ROOT / word).exists(), f"there is no {word}")

    def _mypy(self, words: list[str]) -> None:
        for word in words:
            need((ROOT / word).exists(), f"there is no {word}")

    def _sphinx_build(self, words: list[str]) -> None:
        before = ["", *words]
        places = [word for k, word in enumerate(words) if word[:1] != "-" and before[k] not in ("-b", "-j", "-D")]
        need(len(places) == 2 and (ROOT / places[0] / "conf.py").is_file(), "sphinx-build takes docs/ and where to write")

    # ── installing and packaging ──────────────────────────────────────────────────────────────────────────────────────

    def _pip(self, words: list[str]) -> None:
        need(words[:1] == ["install"], f"pip {' '.join(words[:1])} is not proven")
        rest = iter(words[1:])
        for word in rest:
            if word in ("-e", "--editable"):
                requirement(next(rest, ""))
            elif word == "--group":
                group = next(rest, "")
                need(group in project()["dependency-groups"], f"pyproject.toml has no dependency group {group!r}")
            elif word in ("-c", "--constraint", "-r", "--requirement"):
                file = next(rest, "")
                need((ROOT / file).is_file(), f"there is no {file}")
            elif word.startswith("-"):
                need(word in ("--upgrade", "-U", "--quiet", "-q", "--no-deps"), f"pip's option {word} is not proven")
            else:
                requirement(word)

    def _uv(self, words: list[str]) -> None:
        if words[:1] == ["pip"]:
            self._pip(words[1:])
        elif words[:1] == ["add"]:
            self._pip(["install", *words[1:]])
        else:
            need(words[:1] == ["venv"], f"uv {' '.join(words[:1])} is not proven")

    def _venv(self, words: list[str]) -> None:
        need(len(words) == 1, "one folder for the environment")

    def _source(self, words: list[str]) -> None:
        need(len(words) == 1 and re.fullmatch(r"[\w.-]+/bin/activate", words[0]), "only an environment is activated")

    def _build(self, words: list[str]) -> None:
        need(set(words) <= {"--sdist", "--wheel", "--no-isolation", "-s", "-w", "-n"}, f"build {' '.join(words)} is not proven")
        need(any(line.startswith("build") for line in project()["dependency-groups"]["package"]), "build is not installed")

    def _twine(self, words: list[str]) -> None:
        need(words[:1] in (["check"], ["upload"]), f"twine {' '.join(words)} is not proven")
        rest = [word for word in words[1:] if word != "--strict"]
        need(rest and all(word.startswith("dist/") for word in rest), "twine takes what build wrote: dist/*")

    # ── other programs ────────────────────────────────────────────────────────────────────────────────────────────────

    def _git(self, words: list[str]) -> None:
        known = "clone switch checkout add commit push pull fetch status diff log tag remote"
        need(words and words[0] in known.split(), f"git {' '.join(words[:1])} is not proven")
        if words[0] == "clone":
            places = [word for word in words[1:] if not word.startswith("-")]
            home = {url.removesuffix(".git") for url in project()["project"].get("urls", {}).values()}
            need(places and places[0].removesuffix(".git") in home, f"{places[:1]} is not among the project's addresses: {home}")
            self.folders.add(places[1] if len(places) > 1 else places[0].removesuffix(".git").rsplit("/", 1)[-1])

    def _cd(self, words: list[str]) -> None:
        need(len(words) == 1 and (words[0] in self.folders or Path(words[0]).is_dir()), f"there is no folder {words}")

    def _mkdir(self, words: list[str]) -> None:
        self.folders.update(word for word in words if not word.startswith("-"))

    def _compute_sanitizer(self, words: list[str]) -> None:
        need(words[:1] == ["--tool"] and words[1:2] in (["memcheck"], ["racecheck"]), "compute-sanitizer --tool memcheck")
        self.prove(words[2:])

    def _dask(self, words: list[str]) -> None:
        need(words[:1] in (["scheduler"], ["worker"]), f"dask {' '.join(words[:1])} is not proven")
        command = importlib.import_module(f"distributed.cli.dask_{words[0]}").main
        try:
            command.make_context(f"dask {words[0]}", list(words[1:]))
        except click.ClickException as error:
            raise NotProven(error.format_message()) from None


MODULES = {
    "pytest": "pytest", "pip": "pip", "venv": "venv", "build": "build", "twine": "twine", "pre_commit": "pre-commit",
    "sphinx": "sphinx-build", "ruff": "ruff", "mypy": "mypy",
}  # fmt: skip


def requirement(text: str) -> None:
    """Prove a requirement: the project, with extras that it has, or a package that pyproject.toml names, too."""
    text = re.sub(r"^\.(?=$|\[)", "xroute", text)
    if re.fullmatch(r"dist/\S+\.(whl|tar\.gz)", text):
        return
    try:
        found = Requirement(text)
    except InvalidRequirement as error:
        raise NotProven(f"{text!r} is no requirement: {error}") from None
    table = project()
    extras = table["project"]["optional-dependencies"]
    if found.name == "xroute":
        unknown = sorted(found.extras - set(extras))
        need(not unknown, f"pyproject.toml has no extra {', '.join(unknown)}; it has {', '.join(extras)}")
        url = (found.url or "").removeprefix("git+").removesuffix(".git")
        need(not url or url in table["project"]["urls"].values(), f"{url} is not the project's address")
        return
    lists = [table["project"]["dependencies"], *extras.values(), *table["dependency-groups"].values()]
    names = {Requirement(line).name.lower() for lines in lists for line in lines} | {"pip", "uv", "jupyterlab"}
    need(found.name.lower() in names, f"{found.name} is no package that pyproject.toml names")


def parse_benchmark(script: Path, words: list[str]) -> Any:
    """The options of a benchmark's own command line; nothing is run."""
    before, environment = list(sys.path), dict(os.environ)
    sys.path[:0] = [str(ROOT / "benchmarks"), str(ROOT / "tests")]
    try:
        name = f"benchmark_{script.stem}"
        if name not in sys.modules:
            spec = importlib.util.spec_from_file_location(name, script)
            assert spec is not None and spec.loader is not None
            sys.modules[name] = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(sys.modules[name])
        return sys.modules[name].parse(words)
    except SystemExit as error:
        raise NotProven(f"{script.name} does not take {shlex.join(words)}: exit {error.code}") from None
    finally:
        sys.path[:] = before
        os.environ.clear()
        os.environ.update(environment)
