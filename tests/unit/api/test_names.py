from __future__ import annotations

import re
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skymap_api.names import JOB_ROLES, Names, ScanTopics, TopicBases, check_scan_name

LABEL = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", fullmatch=True)
SUBDOMAIN = st.lists(LABEL, min_size=1, max_size=4).map(".".join).filter(lambda name: len(name) <= 253)


def objects(names: Names) -> list[str]:
    return [names.config_map, names.claim, names.workers, *map(names.job, JOB_ROLES)]


@given(LABEL, SUBDOMAIN)
def test_names_are_valid_and_stable(namespace: str, name: str) -> None:
    names = Names.of(namespace, name)
    assert names == Names.of(namespace, name)
    for one in [names.base, *objects(names)]:
        assert len(one) <= 57  # a pod's name adds six characters
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", one)
    assert len(set(objects(names))) == 6
    assert check_scan_name(names.scan) == names.scan


@given(st.lists(st.tuples(LABEL, SUBDOMAIN), min_size=2, max_size=20, unique=True))
def test_two_scans_never_share_a_name(scans: list[tuple[str, str]]) -> None:
    made = [(namespace, Names.of(namespace, name)) for namespace, name in scans]
    assert len({names.scan for _, names in made}) == len(scans)
    everything = [(namespace, one) for namespace, names in made for one in objects(names)]
    assert len(set(everything)) == len(everything)


@given(LABEL, SUBDOMAIN)
def test_written_out_shortened_name_gets_another_name(namespace: str, name: str) -> None:
    names = Names.of(namespace, f"{name}.x"[-253:].lstrip(".-"))
    assert Names.of(namespace, names.base).base != names.base
    prefix = f"{namespace}."
    if names.scan.startswith(prefix) and len(f"{prefix}{name}.x") > 200:
        assert Names.of(namespace, names.scan.removeprefix(prefix)).scan != names.scan


def test_short_names_are_unchanged() -> None:
    names = Names.of("realtime", "alert-138632")
    assert objects(names) == [
        "alert-138632-scan",
        "alert-138632-results",
        "alert-138632-workers",
        "alert-138632-producer",
        "alert-138632-collector",
        "alert-138632-saver",
    ]
    assert names.scan == "realtime.alert-138632"


def test_long_names_keep_their_beginning() -> None:
    names = Names.of("realtime", "alert-" + "x" * 247)
    assert names.base == "alert-" + "x" * 30 + "-5b8ea716b2"
    assert names.scan.startswith("realtime.alert-xxxxxxxx")
    assert len(names.scan) == 200
    assert Names.of("realtime", "alert.v1").base == "alert-v1-a9e3250738"
    assert Names.of("realtime", "alert.v1").scan == "realtime.alert.v1"


@given(LABEL, SUBDOMAIN, st.sampled_from(["icecube", "test"]))
def test_topics_are_named_after_tenant_and_scan(namespace: str, name: str, tenant: str) -> None:
    names = Names.of(namespace, name)
    topics = names.topics(tenant)
    kinds = ("to_be_scanned", "scanned", "collected", "crash_reports", "plan", "progress")
    assert topics.all() == tuple(f"persistent://{tenant}/skymap/{names.scan}-{kind}" for kind in kinds)
    assert topics.metadata == f"persistent://{tenant}/skymap_metadata-{namespace}/mf_{names.scan}-"
    assert {topic: topics.subscriptions(topic) for topic in topics.all() if topics.subscriptions(topic)} == {
        topics.to_be_scanned: ("workers",),
        topics.scanned: ("collector",),
    }


def test_topics_follow_their_bases() -> None:
    bases = TopicBases("persistent://t/in/tasks", "persistent://t/out/fits", "out/bests", "persistent://t/m/f_")
    assert asdict(ScanTopics.of("a", bases)) == {
        "to_be_scanned": "persistent://t/in/a-tasks",
        "scanned": "persistent://t/out/a-fits",
        "collected": "out/a-bests",
        "crash_reports": "persistent://t/in/a-crash_reports",
        "plan": "persistent://t/in/a-plan",
        "progress": "persistent://t/in/a-progress",
        "metadata": "persistent://t/m/f_a-",
    }
    assert ScanTopics.of("a") == ScanTopics.of("a", TopicBases.of("icecube"))


def test_frames_belong_to_one_scan_whatever_its_name() -> None:
    names = ["a", "a-b", f"a-{1:064x}", "a-b-c"]
    frames = {name: f"{ScanTopics.of(name).metadata}{1:064x}" for name in names}
    others = [
        f"{ScanTopics.of('a').metadata}{1:063x}",
        f"{ScanTopics.of('a').metadata}{1:064X}x",
        TopicBases().metadata,
    ]
    for name in names:
        assert ScanTopics.of(name).frames([*frames.values(), *others]) == (frames[name],)


def test_topics_are_deleted_with_plan_and_progress_last() -> None:
    topics = ScanTopics.of("a")
    frames = tuple(f"{topics.metadata}{number:064x}" for number in range(3))
    assert topics.deletion({*topics.all(), *frames}) == (*topics.all()[:4], *frames, topics.plan, topics.progress)
    assert topics.deletion([topics.progress, topics.collected]) == (topics.collected, topics.progress)
    assert topics.deletion([]) == ()


@pytest.mark.parametrize(
    "name", ["../x", "a/b", "a\nb", "a\x1b[2J", "", ".", "..", "a b", "é", "a" * 201, "-a", "a;b", "a*"]
)
def test_invalid_scan_names_are_rejected(name: str) -> None:
    with pytest.raises(ValueError, match="use at most 200 letters") as raised:
        ScanTopics.of(name)
    assert str(raised.value).isprintable()
    assert check_scan_name("a" * 200) == "a" * 200
