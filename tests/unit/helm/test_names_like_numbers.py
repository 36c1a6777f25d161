"""Names that YAML would take for numbers or booleans, if the chart did not quote them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from testing.chart import CASES, CHART, helm, values

from skymap_scanner.cli.yaml_documents import read_documents

NAMES = {"name", "namespace", "serviceAccountName", "serviceName", "secretName", "priorityClassName"}
TEXTS = {"labels", "matchLabels", "annotations", "selector"}


def texts(value: Any, key: str = "", inside: bool = False) -> Iterator[tuple[str, Any]]:
    """Yield what must be text: names, and all that stands in labels, annotations and selectors."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from texts(inner, name, inside or key in TEXTS)
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner, key, inside)
    elif inside or key in NAMES:
        yield key, value


@pytest.mark.parametrize("case", CASES)
def test_names_like_numbers_stay_text(case: str, tmp_path: Path) -> None:
    # As kubectl reads YAML, 25921e05 is a number, 0o17 one too, and n is false.
    numbers = {"nameOverride": "0o17", "fullnameOverride": "25921e05"}
    made = helm("template", "1e5", CHART, "--namespace", "n", given=values(case) | numbers)
    (tmp_path / "made.yaml").write_text(
        "\n---\n".join(one for one in made.split("\n---\n") if "kind: CustomRes" not in one)
    )
    found = [one for document in read_documents(tmp_path / "made.yaml") for one in texts(document)]
    assert {"1e5", "n", "0o17"} <= {text for _, text in found}
    assert [(key, text) for key, text in found if not isinstance(text, str)] == []
