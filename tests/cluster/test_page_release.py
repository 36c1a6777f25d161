"""The page of the chart in a real cluster: a browser follows a scan there, and it ends as the report."""

from __future__ import annotations

import json
import ssl
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect
from testing.cluster.cluster import Namespace
from testing.cluster.releases import WAIT, Release, images
from testing.cluster.scans import SCAN_SECONDS, SETTINGS, manifest
from testing.cluster.users import GROUP, account_with
from testing.pulsar.certificates import make_certificates
from testing.waiting import eventually
from tests.browser.conftest import browser  # noqa: F401 - a fixture

SMALL = json.loads(SETTINGS["ROLE_RESOURCES"])
#: A scan of a minute with one worker: 12 pixels of nside 1 and 48 of nside 2.
SLOW = {
    "event": {"simulate": {}},
    "levels": [{"nside": 1}, {"nside": 2, "parents": 12}],
    "seeds": 1,
    "reconstruction": {"name": "dummy", "parameters": {"seconds": 0.5}},
    "workers": {"min": 1, "max": 1},
    "output": {"formats": ["json"]},
}
NAME = "followed"


@pytest.fixture
def token(place: Namespace, tmp_path: Path) -> str:
    """The token of a user who may see the scans of the namespace."""
    account_with(place, "ada", [([GROUP], ["skymapscans"], ["get", "list"])], tmp_path / "ada")
    return place.kubectl("create", "token", "ada").strip()


@pytest.fixture
def address(
    release: Release, place: Namespace, operator_image: str, worker_image: str, pulsar_image: str, tmp_path: Path
) -> str:
    """The address of the page of an installed release, with a certificate of its own."""
    made = make_certificates(tmp_path / "certificates")
    words = [f"--cert={made.server}", f"--key={made.server_key}"]
    place.kubectl("create", "secret", "tls", "page-tls", *words)
    repository, _, tag = pulsar_image.rpartition(":")
    given = images(operator_image, worker_image) | {
        "pulsar": {"image": {"repository": repository, "tag": tag}},
        "settings": {"workerResources": SMALL, "roleResources": SMALL, "startupSeconds": 1},
        "scope": "namespaces",
        "page": {"enabled": True, "tlsSecret": "page-tls"},
    }
    release.install(given, *WAIT)
    return f"https://{place.get('service', 'skymap-page')['spec']['clusterIP']}/"


def fits_done(page: Page) -> int:
    return int(page.evaluate("document.getElementById('fits').value"))


@pytest.mark.timeout(1200)
def test_browser_follows_a_scan_to_its_report(
    address: str,
    token: str,
    place: Namespace,
    browser: Browser,  # noqa: F811 - the fixture
) -> None:
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        assert httpx.get(address, headers=headers, verify=trusting).status_code == httpx.codes.UNAUTHORIZED

    page, errors = browser.new_context(ignore_https_errors=True).new_page(), list[str]()
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(address)
    page.get_by_label("Your token for the cluster").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("not accepted")
    page.get_by_label("Your token for the cluster").fill(token)
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("#state")).to_have_text("There are no scans that you may list.")
    (cookie,) = page.context.cookies()
    assert (cookie["httpOnly"], cookie["secure"], cookie["sameSite"]) == (True, True, "Strict")

    place.apply(manifest(SLOW, NAME))
    row = page.get_by_role("row", name=f"{place.name}/{NAME}")
    expect(row).to_be_visible(timeout=60_000)
    page.get_by_role("link", name=f"{place.name}/{NAME}").click()
    expect(page.get_by_role("application", name="Map of the whole sky")).to_be_visible(timeout=SCAN_SECONDS * 1000)
    done = fits_done(page)
    eventually(lambda: fits_done(page), lambda now: now > done, within=60)
    expect(page.locator("#conditions")).to_contain_text("Progressing", timeout=30_000)
    expect(page.locator("#resource-state")).to_contain_text("1 wanted", timeout=30_000)
    page.wait_for_url("**/report", timeout=SCAN_SECONDS * 1000)
    page.wait_for_selector("body[data-ready] #zone")
    expect(page.locator("#state")).to_contain_text("finished after")
    assert errors == []

    succeeded = lambda: place.get("sms", NAME)["status"]["phase"] == "Succeeded"  # noqa: E731
    eventually(succeeded, within=SCAN_SECONDS)
    page.goto(address)
    expect(page.get_by_role("row", name=f"{place.name}/{NAME}")).to_contain_text("Succeeded", timeout=30_000)
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Your token for the cluster")).to_be_visible()
    assert page.context.cookies() == []
    log = place.kubectl("logs", "deployment/skymap-page")
    assert f"system:serviceaccount:{place.name}:ada has signed in" in log
    assert token not in log
    assert "Traceback" not in log
