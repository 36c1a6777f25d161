from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from skymap_api.command_line import ScanOptions
from skymap_api.names import TopicBases
from skymap_scanner.cli import COMMANDS, command_first, group, main, options
from skymap_scanner.cli.settings import scan_options, scan_settings
from skymap_scanner.errors import InputError
from skymap_scanner.roles.local.local import scan_arguments
from skymap_scanner.roles.producer.planning import ScanSettings
from skymap_scanner.scan.levels import DEFAULT_LEVELS, parse_area, parse_levels


@pytest.mark.parametrize(
    ("typed", "understood"),
    [
        (["producer", "e.json", "-n", "x"], ["producer", "e.json", "-n", "x"]),
        (
            ["-n", "worker", "-b", "sqlite:///x", "producer", "e.json"],
            ["producer", "-n", "worker", "-b", "sqlite:///x", "e.json"],
        ),
        (["--broker=sqlite:///x", "saver"], ["saver", "--broker=sqlite:///x"]),
        (["--debug", "--nside", "1", "producer", "e"], ["--debug", "producer", "--nside", "1", "e"]),
        (["--log-level", "debug", "worker"], ["--log-level", "debug", "worker"]),
        (["--fake-scan", "worker", "-n", "x"], ["worker", "--fake-scan", "-n", "x"]),
        (["-b", "sqlite:///x", "topics", "list"], ["topics", "-b", "sqlite:///x", "list"]),
        (
            ["--finished", "-b", "sqlite:///x", "topics", "delete"],
            ["topics", "--finished", "-b", "sqlite:///x", "delete"],
        ),
        (["--log-level", "error", "-A", "status"], ["--log-level", "error", "status", "-A"]),
        (["-n", "worker", "-n", "saver"], ["-n", "worker", "-n", "saver"]),
        (["--help"], ["--help"]),
        ([], []),
    ],
)
def test_options_may_precede_the_command(typed: list[str], understood: list[str]) -> None:
    assert command_first(typed, group) == understood


def test_plot_offers_only_the_formats_that_it_writes(tmp_path: Path) -> None:
    result = tmp_path / "scan.json"
    result.write_text("{}")
    said = CliRunner().invoke(group, ["plot", str(result), "--format", "report"])
    assert said.exit_code == 2
    assert (
        "'report' is not one of 'json', 'npz', 'summary', 'fits', 'flat-fits', 'geojson', 'moc', 'png'" in said.output
    )


def test_every_command_has_help_with_an_example() -> None:
    for name in COMMANDS:
        result = CliRunner().invoke(group, [name, "--help"])
        assert result.exit_code == 0, (name, result.output)
        assert "Example" in result.output, name
        assert f"skymap-scanner {name}" in result.output, name


def commands_with_topics(found: click.Command, name: str = "") -> Iterator[tuple[str, list[str]]]:
    """Yield the commands that have options for topics, and the kinds of these topics."""
    kinds = [one.name for one in found.params if one.name in {one.name for one in fields(TopicBases)}]
    if kinds:
        yield name, [kind for kind in kinds if kind is not None]
    if isinstance(found, click.Group):
        context = click.Context(found)
        for inner in found.list_commands(context):
            if (one := found.get_command(context, inner)) is not None:
                yield from commands_with_topics(one, f"{name} {inner}".strip())


@pytest.mark.parametrize(("name", "kinds"), [*commands_with_topics(group)])
def test_all_commands_take_the_same_topics_for_one_option(name: str, kinds: list[str]) -> None:
    @click.command()
    @options.topics(*kinds)
    def one(topic_bases: dict[str, str]) -> TopicBases:
        return TopicBases(**topic_bases)

    assert one([], standalone_mode=False) == TopicBases(), name
    beside = one(["-t", "persistent://t/n/tasks"], standalone_mode=False)
    expected = TopicBases("persistent://t/n/tasks", "persistent://t/n/scanned", "persistent://t/n/collected")
    assert beside == expected, name


def test_help_of_run_shows_the_default_levels() -> None:
    result = CliRunner().invoke(group, ["run", "--help"])
    assert f"[default: {DEFAULT_LEVELS}]" in " ".join(result.output.split())


def test_help_of_every_command_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from skymap_scanner.cli.reference import reference\n"
        "reference()\n"
        "heavy = ('numpy', 'astropy', 'healpy', 'numba', 'pydantic', 'httpx', 'matplotlib', 'rich')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output == "[]\n"


@pytest.mark.parametrize(
    "settings",
    [
        ScanSettings(name="a", levels=parse_levels("8:0 64:12 512:24"), first_seeds=7),
        ScanSettings(
            name="b",
            levels=parse_levels("1:0"),
            seeds=3,
            first_seeds=1,
            pixels="2-4,7",
            pulse_series="InIceDSTPulses",
            keep_all_seeds=True,
            calibrate=60,
            predictive=0.5,
        ),
        ScanSettings(
            name="c",
            levels=parse_levels("8:0 64:0.999:9"),
            first_seeds=7,
            area=parse_area("1,6,20"),
            reconstruction="dummy",
            parameters={"ra": 1.5, "text": "1.5", "flag": True},
        ),
    ],
)
def test_settings_round_trip_through_options(settings: ScanSettings) -> None:
    producer = group.get_command(None, "producer")  # type: ignore[arg-type]
    assert producer is not None
    words = ["event", "-n", settings.name, *scan_arguments(settings)]
    parsed = producer.make_context("producer", words).params
    options = scan_options(**{one.name: parsed[one.name] for one in fields(ScanOptions)})
    assert replace(scan_settings(settings.name, options)) == settings


def test_levels_may_be_written_with_blanks() -> None:
    run = group.get_command(None, "run")  # type: ignore[arg-type]
    assert run is not None
    context = run.make_context("run", ["--levels", "8:0", "64:0.99:12", "event.json", "-o", "out"])
    assert context.params["levels"] == "8:0 64:0.99:12"
    assert context.params["event"] == "event.json"


def others(options: ScanOptions) -> dict[str, Any]:
    return {key: value for key, value in asdict(options).items() if key not in {"levels", "seeds", "first_seeds"}}


@pytest.mark.parametrize(("command", "first"), [("run", 1), ("producer", None)])
def test_seeds_are_by_need_unless_the_original_had_the_command(command: str, first: int | None) -> None:
    found = group.get_command(None, command)  # type: ignore[arg-type]
    assert found is not None
    words = {"run": ["event", "-o", "out"], "producer": ["event", "-n", "x", "--broker", "sqlite:///x"]}[command]
    assert found.make_context(command, words).params["first_seeds"] == first


def test_invalid_settings_are_rejected_before_anything_starts() -> None:
    valid = ScanOptions(
        "1:0", 7, 1, 1.0, "dummy", (), area=None, pixel_list=None, pulses=None, keep_all_seeds=False, calibrate=0
    )
    with pytest.raises(InputError, match="exclude each other"):
        scan_options(levels="1:0", seeds=7, first_seeds=None, nside=1)
    with pytest.raises(InputError, match="pixel 12 does not exist"):
        scan_settings("x", replace(valid, pixel_list="12"))
    for first in (0, 8):
        with pytest.raises(InputError, match=f"first seeds {first}: choose 1 to 7, the number of seeds"):
            scan_settings("x", scan_options("1:0", 7, first, **others(valid)))
    for count in (-60, 59, 1001):
        with pytest.raises(InputError, match=f"calibrate {count}: choose 60 to 1000 re-simulations, or 0"):
            scan_settings("x", replace(valid, calibrate=count))
    with pytest.raises(InputError, match="scan name 'a/b'"):
        scan_settings("a/b", valid)


def test_error_is_one_line_with_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["producer", "no-such-file.json", "-n", "x", "--nside", "1"])
    assert stop.value.code == 1
    message = capsys.readouterr().err
    assert message.startswith("Error: ")
    assert "no-such-file.json" in message
    assert len(message.splitlines()) == 1


def test_debug_adds_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["producer", "no-such-file.json", "-n", "x", "--nside", "1", "--debug"])
    assert stop.value.code == 1
    assert "Traceback" in capsys.readouterr().err
