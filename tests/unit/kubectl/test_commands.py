"""The commands without a cluster: the manifests, the rejected arguments, and the error without kubectl."""

from __future__ import annotations

import base64
import os
import threading
from functools import partial
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from skymap_scanner.cli import group
from skymap_scanner.cli.manifest import read_manifest
from skymap_scanner.errors import ClusterError, InputError
from skymap_scanner.event import download_options
from skymap_scanner.event.demo import demo_event_path
from skymap_scanner.event.download_options import DownloadLimits
from skymap_scanner.event.sources import read_event


def call(*words: str, **environment: str) -> Result:
    return CliRunner().invoke(group, words, env={"SKYMAP_KUBECTL": "/nowhere/kubectl"} | environment)


def test_dry_run_prints_a_manifest_that_run_accepts(tmp_path: Path) -> None:
    words = ["--levels", "4:0", "32:0.9:8", "--set", "seeds=3", "--pulses", "Mine", "--dry-run"]
    printed = call("submit", "https://example.org/demo.json", *words)
    assert printed.exit_code == 0, printed.output
    (tmp_path / "scan.yaml").write_text(printed.stdout)
    read = read_manifest(tmp_path / "scan.yaml")
    assert [str(level) for level in read.settings.levels] == ["4:0", "32:0.9:8"]
    assert (read.settings.name, read.settings.seeds, read.settings.pulse_series) == ("demo", 3, "Mine")
    again = call("submit", str(tmp_path / "scan.yaml"), "--dry-run")
    assert yaml.safe_load(again.stdout) == yaml.safe_load(printed.stdout), "a manifest is sent unchanged"


def test_url_refers_to_the_secret_with_its_credentials() -> None:
    words = ["--credentials-secret", "i3live", "--select", "1/2", "--dry-run"]
    made = yaml.safe_load(call("submit", "https://example.org/Event_7.json", *words).stdout)
    assert made["metadata"] == {"name": "event-7"}
    assert made["spec"]["event"] == {
        "url": "https://example.org/Event_7.json",
        "credentialsSecret": {"name": "i3live"},
        "select": "1/2",
    }


def test_priority_option_sets_the_field() -> None:
    words = ["submit", "https://example.org/a.json", "--dry-run"]
    assert "priority" not in yaml.safe_load(call(*words).stdout)["spec"]
    assert yaml.safe_load(call(*words, "--priority", "realtime").stdout)["spec"]["priority"] == "Realtime"
    assert "'High' is not one of" in call(*words, "--priority", "High").output


def test_calibrate_option_sets_the_field() -> None:
    words = ["submit", "https://example.org/a.json", "--dry-run"]
    assert "calibrate" not in yaml.safe_load(call(*words).stdout)["spec"]
    assert yaml.safe_load(call(*words, "--calibrate", "100").stdout)["spec"]["calibrate"] == 100
    for count in ("59", "-1", "1001"):
        refused = call(*words, "--calibrate", count)
        assert refused.exit_code != 0
        assert "calibrate" in str(refused.exception)


def test_demo_submits_the_event_that_run_scans() -> None:
    config_map, scan = yaml.safe_load_all(call("submit", "demo", "--dry-run").stdout)
    assert scan["metadata"]["name"] == "demo"
    ((key, carried),) = config_map["binaryData"].items()
    assert scan["spec"]["event"]["configMap"] == {"name": config_map["metadata"]["name"], "key": key}
    assert base64.b64decode(carried) == demo_event_path().read_bytes()


@pytest.mark.parametrize("source", ["pipe", "-"])
def test_event_from_a_pipe_is_submitted_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    content = demo_event_path().read_bytes()
    threading.Thread(target=Path("pipe").write_bytes, args=(content,), daemon=True).start()
    given = content if source == "-" else None
    printed = CliRunner().invoke(group, ["submit", source, "--dry-run"], input=given)
    assert printed.exit_code == 0, printed.output
    config_map, scan = yaml.safe_load_all(printed.stdout)
    ((key, carried),) = config_map["binaryData"].items()
    assert (base64.b64decode(carried), key) == (content, "event")
    assert scan["metadata"]["name"] == read_event(str(demo_event_path())).name.replace(".", "-")


def test_file_that_is_too_large_to_submit_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download_options, "DownloadLimits", partial(DownloadLimits, size=1000))
    refused = call("submit", str(demo_event_path()), "--dry-run")
    assert refused.exit_code != 0
    assert "demo.i3.zst: larger than the 1000 bytes allowed" in str(refused.exception)


def test_scan_of_a_file_is_named_after_its_event(tmp_path: Path) -> None:
    event = tmp_path / "event.i3.zst"
    event.write_bytes(demo_event_path().read_bytes())
    config_map, scan = yaml.safe_load_all(call("submit", str(event), "--dry-run").stdout)
    assert scan["metadata"]["name"] == read_event(str(event)).name.replace(".", "-")
    assert scan["spec"]["event"]["configMap"] == {"name": config_map["metadata"]["name"], "key": "event.i3.zst"}
    (tmp_path / "there.i3.zst").write_bytes(yaml.safe_load(f"!!binary {config_map['binaryData']['event.i3.zst']}"))
    assert (tmp_path / "there.i3.zst").read_bytes() == event.read_bytes()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["no-such.json"], "no-such.json: No such file"),
        (["demo", "--levels", "64:12"], "has no level before it to refine"),
        (["demo", "-n", "Not_A_Name"], "'Not_A_Name' cannot be a name in Kubernetes"),
        (["demo", "--select", "x"], "is not RUN/EVENT"),
        (["demo", "--credentials-secret", "s"], "credentialsSecret belongs to a url"),
        (["https://example.org/"], "give one with --name"),
        (["https://a:b@example.org/e.json"], "without user and password"),
    ],
)
def test_invalid_events_are_rejected_before_submission(words: list[str], message: str) -> None:
    rejected = call("submit", *words, "--dry-run")
    assert isinstance(rejected.exception, InputError)
    assert message in str(rejected.exception)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: 1\n---\nb: 2\n", "holds 2 documents: give one SkymapScan"),
        ("kind: Pod\n", "is not a valid SkymapScan: .*kind"),
    ],
)
def test_invalid_manifests_are_rejected(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "scan.yaml").write_text(content)
    rejected = call("submit", str(tmp_path / "scan.yaml"))
    with pytest.raises(InputError, match=message):
        raise rejected.exception or AssertionError("it was accepted")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["submit", "scan.yaml", "-n", "x"], "--name cannot be used with a manifest"),
        (["submit", "demo", "--namespace=--all"], "'--all' is not a name"),
        (["status", "x", "-A"], "NAME is a scan of one namespace"),
        (["abort", "x", "--delete", "--resume"], "exclude each other"),
        (["logs", "x", "--role", "chief"], "'chief' is not one of"),
        (["run", "demo", "-o", "x", "--format", "pdf"], "'pdf' is not one of"),
        (["plot", __file__, "--format", "pdf"], "'pdf' is not one of"),
    ],
)
def test_contradicting_options_are_usage_errors(words: list[str], message: str) -> None:
    rejected = call(*words)
    assert rejected.exit_code == 2
    assert message in rejected.output


@pytest.mark.parametrize("name", ["Demo", "-x", "a/b", "a" * 254, "a..b", ""])
@pytest.mark.parametrize("command", ["status", "logs", "fetch", "abort"])
def test_invalid_names_never_reach_kubectl(command: str, name: str) -> None:
    rejected = call(command, "--", name)
    assert isinstance(rejected.exception, InputError)
    assert "cannot be a name in Kubernetes" in str(rejected.exception)


@pytest.mark.parametrize(
    "words", [["submit", "demo"], ["status"], ["status", "x"], ["logs", "x"], ["fetch", "x"], ["abort", "x"]]
)
def test_every_command_explains_a_missing_kubectl(words: list[str]) -> None:
    failed = call(*words)
    assert isinstance(failed.exception, ClusterError)
    assert "cannot run /nowhere/kubectl (No such file or directory): install kubectl, or name it" in str(
        failed.exception
    )


def test_path_outside_the_claim_is_rejected(tmp_path: Path) -> None:
    nothing = tmp_path / "kubectl"
    nothing.write_text("#!/bin/sh\n")
    nothing.chmod(0o755)
    rejected = call("fetch", "x", "--path", "../y", SKYMAP_KUBECTL=str(nothing))
    assert "must be relative to the claim" in str(rejected.exception)
