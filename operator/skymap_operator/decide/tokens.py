"""Decides when the roles of a scan get new tokens for Pulsar."""

from __future__ import annotations

from datetime import timedelta

from skymap_operator.decide.actions import Action, IssueTokens
from skymap_operator.manifests import token_secret
from skymap_operator.manifests.recipe import Recipe
from skymap_operator.observe.state import ObservedState
from skymap_operator.settings import Settings

#: Share of their lifetime after which tokens are renewed. The rest is for an operator or an API server that is down,
#: for clocks that differ, and for the minute or two that the kubelet takes to pass a Secret on.
RENEW_AFTER = 1 / 3


def issue_tokens(observed: ObservedState, recipe: Recipe, settings: Settings, *, create: bool) -> list[Action]:
    """Renew the tokens of a scan in time; sign the first ones where its objects may be created (``create``).

    The operator may not read Secrets, so one that has just started renews them all.
    """
    if not recipe.pulsar.signed or not (create or observed.pods):
        return []
    renewed = timedelta(seconds=settings.pulsar_token_seconds * RENEW_AFTER)
    issued = observed.tokens_issued
    if issued is not None and timedelta(0) <= observed.now - issued < renewed:  # below 0, the clock was set back
        return []
    return [IssueTokens(token_secret(recipe))]
