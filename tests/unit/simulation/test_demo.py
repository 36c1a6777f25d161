"""The demo event that comes with the package."""

from __future__ import annotations

from pathlib import Path

import pytest

from skymap_scanner.cli import main
from skymap_scanner.event.sources import read_event
from skymap_scanner.simulation import DEMO, Variation, demo_event_path, read_truth, simulate
from skymap_scanner.simulation.readout import MERGED

#: What depends on how photoelectrons become pulses, which was otherwise when the demo event was made.
PULSES = {"P": "SplitInIcePulses", "Q": "InIcePulses"}


def test_demo_event_is_what_simulate_makes_but_for_its_pulses() -> None:
    shipped, made = read_event(str(demo_event_path())), simulate(**DEMO)
    assert shipped.name == made.name
    for stop in "GCDQP":
        before, after = (event.frames[stop] for event in (shipped, made))
        assert set(before) == set(after)
        changed = {key for key in before if before.blob(key) != after.blob(key)}
        assert changed == ({PULSES[stop]} if stop in PULSES else set())


def test_demo_event_has_the_light_of_what_simulate_makes() -> None:
    shipped, made = (
        event.frames["Q"]["InIcePulses"].value for event in (read_event(str(demo_event_path())), simulate(**DEMO))
    )
    assert shipped.keys() == made.keys()
    for key, series in made.items():
        old = shipped[key]
        pulses = len(old) + len(series)
        assert abs(series["charge"].sum() - old["charge"].sum()) <= pulses * 0.025 + 1e-3
        assert -0.75 <= series["time"][0] - old["time"][0] < MERGED + 0.75
        assert set(series["flags"]) == set(old["flags"])


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
        "--scattering 1.1 --absorption 0.95 --efficiency 0.9 --hole-ice 0.5"
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
    assert truth.variation == Variation(1.1, 0.95, 0.9, 0.5)
    assert "scattering 1.1, absorption 0.95, efficiency 0.9, hole_ice 0.5" in out


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
