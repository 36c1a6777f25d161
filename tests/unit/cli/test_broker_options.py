from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from skymap_scanner.broker import Access
from skymap_scanner.cli import broker_options as options
from skymap_scanner.roles.local.local import broker_arguments

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZG1pbiJ9.c2VjcmV0LXNpZ25hdHVyZQ"
PULSAR = ["-b", "pulsar://host:6650"]


def given(*words: str, env: dict[str, str] | None = None, decorate: object = options.with_broker()) -> Result:
    """Invoke a command with the words; its return value is the broker options."""

    @click.command()
    @decorate  # type: ignore[operator]
    @click.option("--other", default=1)
    def command(broker_options: options.BrokerOptions, other: int) -> options.BrokerOptions:
        assert other == 1
        return broker_options

    none = dict.fromkeys(
        f"SKYMAP_{end}"
        for end in ("BROKER", "ADMIN_URL", "AUTH_TOKEN_FILE", "TLS_TRUST_CERTS", "TLS_CERTIFICATE", "TLS_KEY")
    )
    return CliRunner().invoke(command, [*words], env=none | (env or {}), standalone_mode=False)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_text(JWT)
    return path


def test_default_broker_is_a_file_in_the_current_folder() -> None:
    assert given().return_value == options.BrokerOptions("sqlite:///scan.sqlite", Access())
    assert given(decorate=options.with_broker(required=False)).return_value == options.BrokerOptions("", Access())


def test_every_option_is_read(file: Path) -> None:
    words = [*PULSAR, "--admin-url", "http://admin", "-a", str(file), "--tls-trust-certs", str(file)]
    words += ["--tls-certificate", str(file), "--tls-key", str(file)]
    assert given(*words).return_value == options.BrokerOptions(
        "pulsar://host:6650", Access("http://admin", file, file, file, file)
    )


def test_roles_of_a_run_get_its_broker_options(file: Path) -> None:
    access = Access("http://admin", file, file, file, file)
    words = broker_arguments("pulsar://host:6650", access)
    assert given(*words).return_value == options.BrokerOptions("pulsar://host:6650", access)
    assert broker_arguments("pulsar://host", Access()) == ["--broker", "pulsar://host"]


def test_every_option_is_read_from_the_environment(file: Path) -> None:
    env = {"SKYMAP_BROKER": "pulsar+ssl://host", "SKYMAP_ADMIN_URL": "http://admin"}
    env |= dict.fromkeys(("SKYMAP_AUTH_TOKEN_FILE", "SKYMAP_TLS_TRUST_CERTS"), str(file))
    env |= dict.fromkeys(("SKYMAP_TLS_CERTIFICATE", "SKYMAP_TLS_KEY"), str(file))
    expected = options.BrokerOptions("pulsar+ssl://host", Access("http://admin", file, file, file, file))
    assert given(env=env).return_value == expected


@pytest.mark.parametrize("token", [JWT, f"token:{JWT}", "token:abc", JWT.rpartition(".")[0] + "."])
def test_token_on_the_command_line_is_rejected_unprinted(token: str) -> None:
    result = given(*PULSAR, "-a", token)
    assert isinstance(result.exception, click.BadParameter)
    message = result.exception.format_message()
    assert "every user of the machine can read" in message
    assert "SKYMAP_AUTH_TOKEN" in message
    assert token.removeprefix("token:")[:3] not in message.replace("token", "")


def test_missing_token_file_is_rejected_unprinted() -> None:
    result = given(*PULSAR, "-a", "s3cret")
    assert isinstance(result.exception, click.BadParameter)
    assert "no such file" in result.exception.format_message()
    assert "s3cret" not in result.exception.format_message()


@pytest.mark.parametrize("name", ["token", "eyes.txt", "ey.token.txt.gz", "secrets/broker.jwt", "key.v1.2"])
def test_file_names_are_not_mistaken_for_tokens(name: str) -> None:
    assert not options.looks_like_token(name)


@pytest.mark.parametrize("option", ["--broker", "--admin-url"])
def test_credentials_in_urls_are_rejected_unprinted(option: str) -> None:
    result = given(option, "pulsar://user:s3cret@host:6650")
    assert isinstance(result.exception, click.UsageError)
    assert result.exception.format_message().startswith(f"{option}: ")
    assert "s3cret" not in result.exception.format_message()


@pytest.mark.parametrize(
    "option", ["--admin-url", "--auth-token", "--tls-trust-certs", "--tls-certificate", "--tls-key"]
)
def test_pulsar_options_are_rejected_with_an_embedded_broker(option: str, file: Path) -> None:
    for where in ([], ["-b", "sqlite:///x.sqlite"]):
        result = given(*where, option, str(file))
        assert isinstance(result.exception, click.UsageError)
        assert (
            result.exception.format_message()
            == f"{option} is for Pulsar: remove it, or give --broker pulsar://HOST:6650"
        )


def test_pulsar_variables_are_ignored_with_an_embedded_broker(file: Path) -> None:
    result = given(
        "-b", "sqlite:///x.sqlite", env={"SKYMAP_AUTH_TOKEN_FILE": str(file), "SKYMAP_ADMIN_URL": "http://a"}
    )
    assert result.return_value == options.BrokerOptions("sqlite:///x.sqlite", Access())


def test_certificate_and_key_belong_together(file: Path) -> None:
    result = given(*PULSAR, "--tls-key", str(file))
    assert isinstance(result.exception, click.UsageError)
    assert "belong together" in result.exception.format_message()


def test_embedded_broker_exists_if_its_file_does(tmp_path: Path) -> None:
    where = options.BrokerOptions(f"sqlite:///{tmp_path}/scan.sqlite")
    assert not where.exists
    where.open().close()
    assert where.exists
    assert options.BrokerOptions("pulsar://host").exists
