"""`xroute convert` is made of what readers say of themselves; a reader needs no command of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import xarray as xr
from click.testing import CliRunner, Result

from xroute.cli.convert import convert, convert_command
from xroute.io import READERS, open_dataset
from xroute.io.reader import NothingToRead, Product, Reader, ReaderOption, Setup

pytest.importorskip("netCDF4")

NETWORK = xr.Dataset({"downstream": ("reach", [2, 0])}, {"reach": [1, 2]})


def reader(seen: dict[str, Any], patterns: Sequence[str] = ("rivers.txt",), **fields: Any) -> Reader:
    """A reader that notes how it is called; its runoff is in files that an option names."""

    def read(sources: Sequence[Path], wanted: Sequence[Product], /, **options: Any) -> Setup:
        seen.update(sources=sources, wanted=wanted, options=options)
        if "runoff" in wanted and not options["inflow"]:
            raise NothingToRead("no inflow")
        runoff = xr.Dataset({"runoff": (("time", "reach"), [[1.0, 2.0]])}, {"reach": [1, 2]})
        return Setup(NETWORK, runoff if "runoff" in wanted else None)

    def find(folder: Path, options: Mapping[str, Any]) -> dict[str, Any]:
        return {"network": folder / "rivers.txt", "inflow": [folder / "a.nc", folder / "b.nc"]}

    options = (
        ReaderOption("inflow", "Inflow.", "file", several=True), ReaderOption("dt_routing", "Step.", "step"),
        ReaderOption("kind", "Kind."),
    )  # fmt: skip
    return Reader("Read.", read=read, find=find, patterns=patterns, options=options, **fields)


def run(made: Reader, *arguments: object) -> Result:
    return CliRunner().invoke(convert_command("made", made), [str(argument) for argument in arguments])


@pytest.mark.parametrize("name", READERS)
def test_each_reader_has_a_command_with_its_options(name: str) -> None:
    flags = {flag for parameter in convert.commands[name].params for flag in parameter.opts}
    assert {f"--{product}" for product in READERS[name].products} <= flags
    assert {f"--{option.name.replace('_', '-')}" for option in READERS[name].options} <= flags
    assert set(convert.commands) == set(READERS)


def test_a_reader_is_called_with_what_is_wanted_and_every_option(tmp_path: Path) -> None:
    seen: dict[str, Any] = {}
    outputs = "--network", tmp_path / "n.nc", "--runoff", tmp_path / "r.nc"
    given = "--inflow", tmp_path / "a", "--inflow", tmp_path / "b", "--dt-routing", "15min"
    result = run(reader(seen), tmp_path, *outputs, *given)
    assert result.exception is None, result.output
    assert seen["sources"] == (tmp_path,) and seen["wanted"] == ["network", "runoff"]
    assert seen["options"] == {"inflow": (tmp_path / "a", tmp_path / "b"), "dt_routing": 900.0, "kind": None}
    assert f"{tmp_path}: network rivers.txt, 2 inflow files\n" in result.output
    with open_dataset(tmp_path / "n.nc") as network, open_dataset(tmp_path / "r.nc") as runoff:
        assert network["downstream"].values.tolist() == [2, 0] and runoff["runoff"].values.tolist() == [[1.0, 2.0]]


def test_what_lacks_or_would_be_written_over_is_a_matter_of_usage(tmp_path: Path) -> None:
    table = tmp_path / "rivers.txt"
    table.write_text("1 2\n2 0\n")
    assert run(reader({}), table, "--runoff", tmp_path / "r.nc").exit_code == 2
    assert run(reader({}), table, "--dt-routing", "soon", "--network", tmp_path / "n.nc").exit_code == 2
    assert run(reader({}), table).exit_code == 2
    named = tmp_path / "inflow.nc"
    named.touch()
    over = run(reader({}), table, "--inflow", named, "--network", named, "--overwrite")
    assert over.exit_code == 2 and "inflow.nc would replace the input" in over.output


@pytest.mark.parametrize("beside", [False, True])
def test_files_beside_a_source_are_protected_where_they_are_read(tmp_path: Path, beside: bool) -> None:
    other, target = tmp_path / "other.txt", tmp_path / "more.nc"
    other.touch()
    target.touch()
    made = reader({}, ["*.nc"], reads_beside=lambda options: beside)
    result = run(made, other, "--network", target, "--overwrite")
    assert (result.exit_code == 2) == beside


def test_an_empty_network_is_not_converted(tmp_path: Path) -> None:
    def read(sources: Sequence[Path], wanted: Sequence[Product], /) -> Setup:
        return Setup(NETWORK.isel(reach=[]))

    nothing = Reader("Read.", read=read, find=lambda folder, options: {}, patterns=())
    result = run(nothing, tmp_path, "--network", tmp_path / "n.nc")
    assert "empty" in str(result.exception) and not (tmp_path / "n.nc").exists()
