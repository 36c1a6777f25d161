"""What ``cluster-page`` says where it cannot run."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from skymap_scanner.cli import group
from skymap_scanner.errors import ClusterError, InputError

POD = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": "1"}


def run(*words: str, **environment: str) -> Result:
    return CliRunner().invoke(group, ["cluster-page", "--port", "0", *words], env=POD | environment)


def test_outside_of_a_pod_is_one_clear_error() -> None:
    done = run(KUBERNETES_SERVICE_HOST="", KUBERNETES_SERVICE_PORT="")
    assert isinstance(done.exception, ClusterError)
    assert "no pod of a cluster" in str(done.exception)


def test_short_secret_of_a_proxy_is_refused_and_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("a-short-one\n")
    done = run(SKYMAP_PAGE_PROXY_SECRET_FILE=str(path))
    assert isinstance(done.exception, InputError)
    assert "at least 20 characters" in str(done.exception)
    assert "a-short-one" not in str(done.exception)


@pytest.mark.parametrize("option", ["--serving-certificate", "--serving-key"])
def test_certificate_and_key_belong_together(option: str, tmp_path: Path) -> None:
    done = run(option, str(tmp_path / "file"))
    assert (done.exit_code, "belong together" in done.output) == (2, True)


def test_missing_certificate_is_reported(tmp_path: Path) -> None:
    done = run("--serving-certificate", str(tmp_path / "none"), "--serving-key", str(tmp_path / "none"))
    assert isinstance(done.exception, InputError)
    assert "cannot be used" in str(done.exception)
