"""A few hundred requests that nobody would write; `tests.fuzz` can send thousands."""

from __future__ import annotations

import httpx
import pytest

from tests.fuzz import GOOD, fuzz, tiny
from tests.serving import served

COUNT = 300


@pytest.fixture(scope="module")
def url():
    model = tiny()
    with served(model) as address:
        yield address
    model.engine.close()


def test_no_request_makes_it_fail(url):
    counts = fuzz(url, COUNT)
    assert sum(counts.values()) >= COUNT
    reached = {(path, kind): 0 for path, kind, _ in counts}
    for (path, kind, status), number in counts.items():
        reached[path, kind] += number * (status == 200)
    for path in GOOD:  # most of what is good gets through to the model
        assert reached[path, "good"] > 0.05 * COUNT


def test_the_document_says_what_is_served(url):
    document = httpx.get(f"{url}/openapi.json").json()
    assert list(document["paths"]) == [
        "/v1/models",
        "/v1/models/{model}",
        "/v1/completions",
        "/v1/chat/completions",
    ]
    schemas = document["components"]["schemas"]
    for name in "CompletionRequest", "ChatRequest":
        assert schemas[name]["properties"]["model"]["enum"] == ["tiny"]
    for methods in document["paths"].values():
        for operation in methods.values():
            assert "422" not in operation["responses"]
            assert {"400", "401", "404", "413", "429", "503"} <= {
                *operation["responses"]
            }
