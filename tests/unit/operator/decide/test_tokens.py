"""When the roles of a scan get new tokens."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.unit.operator.decisions import URL, observed, running
from tests.unit.operator.world import SETTINGS, START, World

from skymap_api.names import Names
from skymap_api.resource.status import Reason
from skymap_operator.decide.actions import Action, Create, EnsureTopics, IssueTokens
from skymap_operator.decide.plan import decide
from skymap_operator.observe.state import ObservedState, Pod, PulsarFault, PulsarState

SIGNED = SETTINGS.model_copy(update={"pulsar_signing_key_file": "/keys/key", "pulsar_token_seconds": 900})
TOPICS = Names.of("alerts", "alert").topics("icecube")
COMPLETE = PulsarState({topic: frozenset(TOPICS.subscriptions(topic)) for topic in TOPICS.all()})
DOWN = PulsarFault(Reason.PULSAR_UNAVAILABLE, "no answer")
PODS = (Pod("alert-workers-1", "worker"),)


def actions(state: ObservedState) -> list[Action]:
    return list(decide(state, SIGNED).actions)


def issued(state: ObservedState) -> bool:
    return any(isinstance(action, IssueTokens) for action in actions(state))


def test_permissions_come_before_tokens_and_tokens_before_pods() -> None:
    found = actions(observed())
    kinds = [type(action) for action in found]
    assert kinds.index(EnsureTopics) < kinds.index(IssueTokens) < kinds.index(Create)
    [tokens] = [action for action in found if isinstance(action, IssueTokens)]
    assert tokens.manifest["kind"] == "Secret"
    assert tokens.manifest["type"] == "skymap.icecube.wisc.edu/tokens"
    assert tokens.manifest["metadata"]["name"] == "scan-uid-1-tokens"
    assert tokens.manifest["metadata"]["ownerReferences"][0]["uid"] == "uid-1"
    assert not {"data", "stringData"} & set(tokens.manifest), "actions are logged"


@pytest.mark.parametrize(
    ("state", "renewed"),
    [
        ({}, True),
        ({"tokens_issued": START}, False),
        ({"tokens_issued": START, "now": START + timedelta(seconds=299)}, False),
        ({"tokens_issued": START, "now": START + timedelta(seconds=300)}, True),
        ({"tokens_issued": START + timedelta(seconds=60)}, True),  # the clock was set back
        # Without Pulsar nothing is created, but what runs goes on.
        ({"pulsar": DOWN}, False),
        ({"pulsar": DOWN, "pods": PODS}, True),
        ({"pulsar": DOWN, "pods": PODS, "tokens_issued": START}, False),
    ],
)
def test_tokens_are_renewed_after_a_third_of_their_lifetime(state: dict[str, Any], renewed: bool) -> None:
    assert issued(observed(**{"pulsar": COMPLETE} | state)) is renewed


def test_restarted_operator_grants_all_permissions_again() -> None:
    [again] = [one for one in actions(observed(pulsar=COMPLETE)) if isinstance(one, EnsureTopics)]
    assert {topic for topic, _ in again.topics} == set(TOPICS.all())
    found = actions(observed(pulsar=COMPLETE, tokens_issued=START))
    assert not any(isinstance(one, EnsureTopics) for one in found)


def test_scan_that_is_held_keeps_its_tokens_valid() -> None:
    refused = URL | {"priority": "Realtime"}
    assert issued(observed(refused, pulsar=COMPLETE, pods=PODS))
    assert not issued(observed(refused, pulsar=COMPLETE))


def test_scan_without_pods_gets_no_tokens() -> None:
    assert not issued(observed(URL | {"suspend": True}, pulsar=COMPLETE))
    token = {"pulsar": {"tokenSecret": {"name": "mine"}}}
    listed = SIGNED.model_copy(update={"allowed_pulsars": ()})
    assert not any(isinstance(one, IssueTokens) for one in decide(observed(URL | token), listed).actions)
    assert not any(isinstance(one, IssueTokens) for one in decide(observed(), SETTINGS).actions)


def test_scan_that_runs_asks_for_no_other_objects_with_tokens() -> None:
    world: World = running(passes=3)
    before = {type(one) for one in decide(world.observe(), SETTINGS).actions}
    assert IssueTokens not in before
