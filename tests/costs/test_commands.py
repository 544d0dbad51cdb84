"""``marquee cost`` as a person calls it."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from marquee.cli.main import main
from marquee.costs.assumptions import changed, names
from marquee.costs.load import System, Work
from marquee.errors import SettingsError


def test_it_shows_each_part_beside_the_machine(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cost", "--lines-per-second", "1580", "--requests-per-second", "12"]) == 0
    shown = capsys.readouterr().out
    assert all(
        part in shown for part in ("ingest", "recommend", "bridge", "Pub/Sub", "machine", "with no load")
    )
    assert "one machine is cheaper" in shown


def test_json_adds_up(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cost", "--json", "--lines-per-second", "0", "--requests-per-second", "0"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["functions"] == found["functions_at_zero"]
    assert sum(found["functions"]["parts"].values()) == pytest.approx(found["functions"]["usd_per_month"])


def test_the_plot_is_an_image(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Well-formed, with both curves and the crossing, all within the frame."""
    assert main(["cost", "--plot", str(tmp_path / "cost.svg")]) == 0
    root = ElementTree.parse(tmp_path / "cost.svg").getroot()
    space = {"s": "http://www.w3.org/2000/svg"}
    assert len(root.findall("s:path[@fill='none']", space)) == 2
    (dot,) = root.findall("s:circle", space)
    assert 0 < float(dot.attrib["cx"]) < 760


def test_without_lines_there_is_a_plot_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cost", "--lines-per-second", "0", "--plot", str(tmp_path / "cost.svg")]) == 0
    ElementTree.parse(tmp_path / "cost.svg")


def test_a_load_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for bad in ("-1", "many", "nan", "inf"):
        with pytest.raises(SystemExit):
            main(["cost", "--lines-per-second", bad])
        assert "a number from 0" in capsys.readouterr().err


def test_too_much_load_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cost", "--requests-per-second", "30000"]) == 0
    assert "infra/functions.yaml allows 20" in capsys.readouterr().err


def test_assumptions_can_be_changed() -> None:
    work, system = changed(["recommend_ms=2", "partitions=8", "ingest.memory_gib=1"])
    assert (work.recommend_ms, system.partitions, system.ingest.memory_gib) == (2, 8, 1)
    assert isinstance(system.partitions, int)
    assert changed([]) == (Work(), System())


def test_every_assumption_has_an_effect_on_something() -> None:
    """Each name that --help lists changes what it names, and nothing else."""
    for name, value in names().items():
        assert changed([f"{name}={value + 1:g}"]) != (Work(), System()), name


def test_wrong_assumptions_are_named_all_at_once() -> None:
    with pytest.raises(SettingsError) as error:
        changed(["partitons=2", "bridges=1.5", "write_s=soon"])
    said = str(error.value)
    assert "did you mean partitions?" in said
    assert "bridges=1" in said
    assert "write_s=0.05" in said
