"""The demo event that comes with the package."""

from __future__ import annotations

from pathlib import Path

import pytest

from skymap_scanner.cli import main
from skymap_scanner.event.demo import demo_event_path
from skymap_scanner.event.sources import read_event
from skymap_scanner.simulation import DEMO, Variation, read_truth, simulate


def test_demo_event_is_what_simulate_makes() -> None:
    shipped, made = read_event(str(demo_event_path())), simulate(**DEMO)
    assert shipped.name == made.name
    for stop in "GCDQP":
        before, after = (event.frames[stop] for event in (shipped, made))
        assert set(before) == set(after)
        assert {key for key in before if before.blob(key) != after.blob(key)} == set()


def test_simulate_demo_writes_what_simulate_makes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "demo.i3.zst"
    with pytest.raises(SystemExit) as end:
        main(["simulate", str(path), "--demo"])
    assert end.value.code == 0
    assert "ra 77.4300, dec +5.6900" in capsys.readouterr().out
    assert read_truth(read_event(str(path)).frames["P"]) is not None
    assert read_event(str(path)).frames["Q"].to_bytes() == simulate(**DEMO).frames["Q"].to_bytes()


def test_command_options_match_the_arguments_of_simulate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "cascade.i3.gz"
    words = (
        "--mjd 58000.5 --topology cascade --ra 10 --dec -20 --energy 2e4 --seed 4 --vertex 10,-20,-300 --ice spice_lea "
        "--scattering 1.1 --absorption 0.95 --efficiency 0.9 --hole-ice 0.5 --anisotropy 1.2"
    )
    with pytest.raises(SystemExit) as end:
        main(["simulate", str(path), *words.split()])
    assert end.value.code == 0
    out = capsys.readouterr().out
    assert "run00000001.evt000000000004.simulation" in out
    truth = read_truth(read_event(str(path)).frames["P"])
    assert truth is not None
    assert (truth.ra, truth.dec, truth.energy, truth.ice) == (10, -20, 2e4, "spice_lea")
    assert truth.vertex == (10, -20, -300)
    assert truth.variation == Variation(1.1, 0.95, 0.9, 0.5, 1.2)
    assert "scattering 1.1, absorption 0.95, efficiency 0.9, hole_ice 0.5, anisotropy 1.2" in out


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--demo", "--seed", "3"], 2, "--demo and --seed exclude each other"),
        (["--vertex", "1,2"], 1, "'1,2' is not X,Y,Z"),
        (["--efficiency", "0.3"], 1, "efficiency 0.3 is not between 0.5 and 2"),
        (["--energy", "1"], 1, "would not have triggered"),
    ],
)
def test_command_explains_invalid_options(
    words: list[str], code: int, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["simulate", str(tmp_path / "event.i3"), *words])
    assert end.value.code == code
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
