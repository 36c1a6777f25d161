"""What a notice says, and the documents that follow from it."""

from __future__ import annotations

import copy
import functools
import json
from dataclasses import replace

import numpy as np
import pytest
from jsonschema import ValidationError
from tests.unit.notices.examples import BASE, NAMES, initial, make_notice, retraction
from tests.unit.results.conftest import make_bowl, make_level, make_metadata, make_scan

from skymap_scanner.notices import documents
from skymap_scanner.notices.notice import Notice, chosen_tense, links_of, utc_now
from skymap_scanner.results import ScanResult

#: Notices of each kind, made on demand.
ALL = {
    "initial": initial,
    "update": make_notice,
    "retraction": retraction,
    "test": lambda: make_notice(
        make_scan(make_bowl(138.65, 0.15, 0.3), is_real_event=False, topology="cascade"), tense="test"
    ),
    "pole": lambda: make_notice(make_scan(make_bowl(40.0, 89.7, 0.6))),
    "all sky": lambda: make_notice(make_scan(make_bowl(40.0, 10.0, 400.0), ((4, 0),))),
}


@functools.cache
def named(name) -> Notice:
    return ALL[name]()


@pytest.mark.parametrize("name", ALL)
def test_gcn_notice_is_valid_against_the_schema(name, check_gcn):
    check_gcn(json.loads(documents.gcn(named(name))))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("alert_topology", "track"),
        ("pipeline", "Gold"),
        ("ra", "138.6"),
        ("healpix_url", None),
        ("ra_dec_error", []),
        ("alert_tense", "real"),
        ("systematic_icluded", True),
        ("$schema", "https://gcn.nasa.gov/schema/v7.0.0/gcn/notices/icecube/single_neutrino_alerts.schema.json"),
    ],
)
def test_check_against_the_schema_finds_mistakes(key, value, check_gcn):
    with pytest.raises((ValidationError, AssertionError)):
        check_gcn(json.loads(documents.gcn(make_notice())) | {key: value})


def test_gcn_update_holds_direction_and_map():
    notice = json.loads(documents.gcn(make_notice()))
    assert (notice["ra"], notice["dec"]) == (138.6035, 0.1492)
    assert notice["healpix_url"] == f"{BASE}/a.multiorder.fits"
    assert (notice["alert_type"], notice["alert_tense"], notice["record_number"]) == ("update", "current", 1)
    assert (notice["pipeline"], notice["alert_topology"]) == ("Gold Track Alert", "Track")
    assert (notice["id"], notice["event_name"]) == (["138632_31747601"], ["IC231202A"])
    assert notice["trigger_time"] == "2023-12-02T17:08:24.093Z"


def said_by(value) -> set[str]:
    """All keys of a document, at any depth, whose value is more than null."""
    if isinstance(value, list):
        return set().union(*map(said_by, value))
    if isinstance(value, dict):
        return {key for key in value if value[key] is not None}.union(*map(said_by, value.values()))
    return set()


@pytest.mark.parametrize("name", ["initial", "retraction"])
@pytest.mark.parametrize("form", ["webhook", "cloudevents", "gcn"])
def test_notices_without_a_map_give_no_direction(name, form):
    absent = {"ra", "dec", "ra_dec_error", "containment_probability", "systematic_included", "healpix_url"}
    absent |= {"galactic_longitude", "pixel", "area_deg2", "interpolated_minimum"}
    assert absent & said_by(json.loads(documents.DOCUMENTS[form](named("update"))))
    assert not absent & said_by(json.loads(documents.DOCUMENTS[form](named(name))))
    assert "RA" not in documents.slack(named(name))
    summary = json.loads(documents.webhook(named(name)))["summary"]
    assert (summary["best_fit"], summary["regions"], summary["event_id"]) == (None, [], 31747601)


def test_result_without_fits_gives_no_direction():
    rows = make_level(8, [1, 2, 3], make_bowl(0.0, 0.0, 1.0))
    rows["llh"] = np.nan
    assert not make_notice(ScanResult({8: rows}, make_metadata({8: rows}))).has_map


def test_simulated_events_are_always_tests():
    for asked in (None, "current", "archival"):
        assert chosen_tense(named("test").summary, asked) == "test"
    assert chosen_tense(named("update").summary, None) == "current"
    assert chosen_tense(named("update").summary, "archival") == "archival"


def test_test_notices_are_marked_in_every_document():
    notice = named("test")
    assert json.loads(documents.webhook(notice))["tense"] == "test"
    assert json.loads(documents.cloudevents(notice))["data"]["tense"] == "test"
    assert json.loads(documents.gcn(notice))["alert_tense"] == "test"
    message = json.loads(documents.slack(notice))
    assert message["text"].startswith("TEST: ")
    assert message["attachments"][0]["fallback"].startswith("TEST: ")
    assert json.loads(documents.slack(named("update")))["text"].startswith("IceCube IC231202A, update")


def test_cloud_event_has_the_required_attributes():
    event = json.loads(documents.cloudevents(make_notice()))
    data = event.pop("data")
    assert event == {
        "specversion": "1.0",
        "id": make_notice().key,
        "source": "skymap-scanner",
        "type": "edu.wisc.icecube.skymap.notice.update",
        "subject": "138632_31747601",
        "time": "2023-12-02T17:30:00.000Z",
        "datacontenttype": "application/json",
    }
    assert data == json.loads(documents.webhook(make_notice()))


def test_chat_message_links_to_picture_and_report():
    message = json.loads(documents.slack(make_notice()))["attachments"][0]
    assert message["image_url"] == f"{BASE}/a.plot_zoomed_wilks.png"
    assert message["title_link"] == f"{BASE}/a.report.html"
    bare = json.loads(documents.slack(make_notice(links={})))["attachments"][0]
    assert not {"image_url", "title_link"} & set(bare)


@pytest.mark.parametrize("name", ["www.example.org", "x WWW.example.org", "wWw.x"])
def test_names_make_no_links_in_chats(name):
    notice = make_notice(fields=named("update").fields | {"event_name": [name]}, comment=name)
    assert "www." not in documents.slack(replace(notice, links={})).lower()


@pytest.mark.parametrize("name", ["<!channel>", "@here", "<http://x|y>", "*b*", "`x`", "[a](http://b)", "&lt;"])
def test_names_make_no_markup_in_chats(name):
    notice = make_notice(fields=named("update").fields | {"event_name": [name]}, comment=name, type="retraction")
    text = json.loads(documents.slack(notice))["text"]
    assert not set("<>@&*`[]|_~/#") & set(text)


def test_chat_message_is_bounded():
    notice = make_notice(fields=named("update").fields | {"event_name": ["A" * 100_000]}, comment="B" * 100_000)
    assert len(documents.slack(notice)) < 10_000


def test_key_depends_on_content_and_number():
    first = make_notice()
    assert make_notice(created="2024-01-01T00:00:00.000Z").key == first.key
    assert make_notice(number=2).key != first.key
    assert make_notice(number=2, type="initial").content == first.content
    assert make_notice(comment="again").content != first.content
    slower = copy.deepcopy(first.summary) | {"wall_time": 99.0}
    assert make_notice(summary=slower).content == first.content
    other = make_notice(make_scan(make_bowl(138.7, 0.15, 0.3), event_type="gfu-gold", topology="track"))
    assert other.content != first.content
    assert replace(first, type="retraction").content != first.content


@pytest.mark.parametrize("key", ["added_by_a_later_version", "interpolated_minimum", "galactic_text", "likelihood"])
def test_result_is_the_same_notice_for_later_versions(key):
    first = make_notice()
    assert make_notice(summary={**first.summary, key: {"new": 1}}).key == first.key
    best = {**first.summary["best_fit"], key: 1}
    assert make_notice(summary={**first.summary, "best_fit": best}).key == first.key
    regions = [{**region, key: 1} for region in first.summary["regions"]]
    assert make_notice(summary={**first.summary, "regions": regions}).key == first.key


@pytest.mark.parametrize("key", ["complete", "cautions", "rule", "levels", "name", "reconstruction"])
def test_result_with_other_facts_is_another_notice(key):
    assert make_notice(summary={**make_notice().summary, key: ["changed"]}).content != make_notice().content


def test_links_are_quoted_and_only_of_known_files():
    assert links_of("", "a", NAMES) == {}
    assert links_of("https://x/", "a b#", ["a b#.report.html"]) == {"report": "https://x/a%20b%23.report.html"}
    assert links_of("https://x", "a", ["a.plot_allsky.png"]) == {"picture": "https://x/a.plot_allsky.png"}
    assert links_of("https://x", "a", ["b.report.html", "a.other.png", "a_8.multiorder.fits"]) == {}


def test_links_ignore_files_of_other_rules():
    others = [f"a.ic160427a{ending}" for ending in (".multiorder.fits", ".report.html", ".plot_zoomed.png")]
    assert links_of(BASE, "a", [*others, *NAMES]) == links_of(BASE, "a", NAMES)
    assert links_of(BASE, "a", others) == {}


def test_time_is_utc_to_the_millisecond():
    assert utc_now(1701536904.0939) == "2023-12-02T17:08:24.093Z"
