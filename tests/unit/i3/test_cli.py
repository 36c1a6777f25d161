"""``show`` and ``convert``: what they print, what they write, and what they say when they cannot."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from skymap_scanner import i3
from skymap_scanner.cli import convert, show
from skymap_scanner.errors import I3Error, InputError, SkymapError
from skymap_scanner.i3 import catalogue
from skymap_scanner.i3.text import object_to_plain, to_plain, to_text


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Two frames with one object of many kinds."""
    geometry, physics = i3.Frame("G"), i3.Frame("P")
    geometry.put_blob("Unknown", "I3Thing", bytes.fromhex("000102000700000049335468696e67") + b"\1\0\0\0\0\0")
    physics["I3EventHeader"] = i3.I3EventHeader(7, 0, 9, sub_event_stream="InIceSplit")
    physics["Fit"] = i3.I3Particle(shape=i3.ParticleShape.Cascade, energy=float("inf"), pos=i3.I3Position(1, 2, 3))
    physics["Text"] = i3.I3String("two\nlines \x1b[31mred")
    pulses = np.array([(1.5, 0.1, 8, 7)], i3.PULSE_DTYPE)
    physics["Pulses"] = i3.I3RecoPulseSeriesMap({i3.OMKey(1, 2): pulses})
    physics["Mask"] = i3.I3RecoPulseSeriesMapMask("Pulses", i3.BitMask(b"\1", 7), (i3.BitMask(b"\1", 7),))
    physics.put_blob("Bad", "I3Int", catalogue.encode(i3.I3Int(1))[:-1])
    path = tmp_path / "event.i3.gz"
    with i3.FrameWriter(path) as writer:
        writer.write(geometry)
        writer.write(physics)
    return path


def run(command: object, *arguments: object) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])  # type: ignore[arg-type] # a command


def output(command: object, *arguments: object) -> str:
    result = run(command, *arguments)
    assert result.exit_code == 0, result.exception
    return result.output


def error(command: object, *arguments: object) -> SkymapError:
    result = run(command, *arguments)
    assert isinstance(result.exception, SkymapError)
    return result.exception


def test_show_lists_frames_and_objects(file: Path) -> None:
    lines = output(show.command, file).splitlines()
    assert lines[0] == "Frame 0  G Geometry  1 object"
    assert lines[1].split() == ["Unknown", "I3Thing", "21", "opaque", "I3Thing"]
    assert lines[3] == "Frame 1  P Physics  6 objects  run 7 event 9 InIceSplit sub-event 0"
    rows = {line.split()[0]: line for line in lines[4:] if line}
    assert rows["Bad"].endswith(": 4 bytes expected, only 3 are left")
    assert "shape Cascade" in rows["Fit"]
    assert rows["Text"].endswith(r"two lines \x1b[31mred")
    assert all(len(line) <= 120 for line in lines)


def test_show_prints_one_frame_in_full(file: Path) -> None:
    text = output(show.command, file, "--frame", 1)
    assert "Frame 0" not in text
    assert "  shape: Cascade\n" in text
    assert "  pos: x 1, y 2, z 3\n" in text
    assert "  (1, 2, 0):\n    time 1.5, charge 0.1, width 8, flags 7\n" in text
    assert "  two\n  lines \\x1b[31mred\n" in text
    assert "\x1b" not in text


def test_show_prints_one_key(file: Path) -> None:
    text = output(show.command, file, "--key", "Mask")
    assert text.splitlines()[1:] == [
        "Mask  I3RecoPulseSeriesMapMask, 70 bytes",
        "  source: Pulses",
        "  omkey_mask: 1",
        "  pulse_masks:",
        "    1",
        "",
    ]


def test_show_gives_json(file: Path) -> None:
    first, second = (json.loads(line) for line in output(show.command, file, "--json").splitlines())
    assert first == {
        "frame": 0,
        "stop": "G",
        "objects": {"Unknown": {"type": "I3Thing", "bytes": 21, "value": {"opaque": "I3Thing"}}},
    }
    objects = second["objects"]
    assert objects["Fit"]["value"]["energy"] == "Infinity"
    assert objects["Fit"]["value"]["time"] == "NaN"
    assert objects["Pulses"]["value"] == [
        {"key": [1, 2, 0], "value": [{"time": 1.5, "charge": 0.1, "width": 8.0, "flags": 7}]}
    ]
    assert "error" in objects["Bad"]


def test_show_reads_standard_input(file: Path) -> None:
    result = CliRunner().invoke(show.command, ["-", "--frame", "0"], input=file.read_bytes())
    assert result.output.startswith("Frame 0  G Geometry")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--frame", "2"], "there is no frame 2; the last is frame 1"),
        (["--key", "None"], "no frame has the key 'None'"),
        (["--frame", "0", "--key", "Fit"], "frame 0 does not have the key 'Fit'"),
    ],
)
def test_show_reports_missing_frames_and_keys(file: Path, arguments: list[str], message: str) -> None:
    assert str(error(show.command, file, *arguments)) == f"{file}: {message}"


def test_show_recovers_frames_before_the_damage(file: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.i3"
    cut.write_bytes(b"".join(frame.to_bytes() for frame in i3.read_frames(file))[:-1])
    assert isinstance(error(show.command, cut), I3Error)
    assert output(show.command, cut, "--recover").startswith("Frame 0")


def test_error_without_an_offset_is_shown_alone() -> None:
    frame = i3.Frame("P")
    frame["Pulses"] = i3.I3SuperDST(b"", b"\1\0", (b"",) * 4, b"")
    frame["Damaged"] = i3.I3Int(1)
    frame.put_blob("Damaged", "int", frame.blob("Damaged")[:-1])
    errors = [object_to_plain(frame, key)["error"] for key in frame]
    assert errors[0] == "offset 25: 4 bytes expected, only 3 are left"
    assert errors[1] == "the I3SuperDST is damaged: its charge stamps end before its readouts do"


def test_every_object_has_text_and_json(shared: Path) -> None:
    for name in ("objects.i3", "losses.i3", "event_HESE_2017-11-28.i3"):
        for frame in i3.read_frames(shared / "data" / "i3" / name):
            for key in frame:
                plain = to_plain(frame[key])
                assert json.loads(json.dumps(plain, allow_nan=False)) == plain
                assert all(line.isprintable() for line in to_text(plain))


@pytest.mark.parametrize("suffix", [".i3", ".i3.gz", ".i3.bz2", ".i3.zst", ".i3.xz"])
def test_convert_changes_the_compression_and_nothing_else(shared: Path, tmp_path: Path, suffix: str) -> None:
    source = shared / "data" / "i3" / "event_HESE_2017-11-28.i3"
    target = tmp_path / f"out{suffix}"
    text = output(convert.command, source, target)
    assert text == f"{target}: 5 frames, 28 objects; 5 of unknown classes, 0 converted to current versions\n"
    assert b"".join(frame.to_bytes() for frame in i3.read_frames(target)) == source.read_bytes()


def test_convert_keeps_an_object_that_cannot_be_decoded(file: Path, tmp_path: Path) -> None:
    """A layout may be wrong, and the file right: no object and no frame may be lost for that."""
    source, target = tmp_path / "source.i3", tmp_path / "out.i3"
    frames = [*i3.read_frames(file)]
    with i3.FrameWriter(source) as writer:
        for frame in (*frames, frames[1]):
            writer.write(frame)
    result = run(convert.command, source, target)
    assert result.exit_code == 0
    assert result.output.count("An object is copied unchanged: ") == 1
    assert "frame 1, key 'Bad', offset" in result.output
    assert result.output.endswith(
        f"{target}: 3 frames, 13 objects; 1 of unknown classes, 0 converted to current versions, "
        "2 that cannot be decoded copied unchanged\n"
    )
    assert target.read_bytes() == source.read_bytes()


def test_convert_stops_at_a_damaged_frame(file: Path, tmp_path: Path) -> None:
    source, target = tmp_path / "source.i3", tmp_path / "out.i3"
    source.write_bytes(b"".join(frame.to_bytes() for frame in i3.read_frames(file))[:-5])
    assert "frame 1" in str(error(convert.command, source, target))
    assert not target.exists()
    result = run(convert.command, source, target, "--recover")
    assert result.exit_code == 0
    assert "Only the frames before the damage are kept: " in result.output
    assert f"{target}: 1 frame, 1 object; 1 of unknown classes" in result.output
    assert [frame.stop for frame in i3.read_frames(target)] == ["G"]


def test_convert_makes_old_versions_current(tmp_path: Path) -> None:
    keys = catalogue.encode(i3.I3VectorOMKey((i3.OMKey(1, 2),)))
    # OMKey version 0 had a base class, whose id comes first, and no pmt.
    old = keys.replace(b"\1\2\2\0\0\0", b"\1\0\2\0\0\0\3\0\0\0")[:-1]
    frame = i3.Frame("P")
    frame.put_blob("keys", "I3Vector<OMKey>", old)
    source = tmp_path / "old.i3"
    source.write_bytes(frame.to_bytes())
    assert "1 converted to current versions" in output(convert.command, source, tmp_path / "new.i3")
    (new,) = i3.read_frames(tmp_path / "new.i3")
    assert new.blob("keys") == keys


def test_convert_rejects_other_suffixes(file: Path, tmp_path: Path) -> None:
    assert isinstance(error(convert.command, file, tmp_path / "out.root"), InputError)


@pytest.mark.parametrize("name", ["show", "convert"])
def test_help_has_an_example_and_imports_nothing_heavy(name: str) -> None:
    code = (
        f"import sys; from skymap_scanner.cli import {name} as module; "
        "module.command.main(['--help'], standalone_mode=False); "
        "assert not {'numpy', 'zstandard', 'skymap_scanner.i3'} & set(sys.modules)"
    )
    text = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert f"\n      skymap-scanner {name} " in text
