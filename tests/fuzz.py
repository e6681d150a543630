"""Thousands of requests that nobody would write: `python -m tests.fuzz 10000`.

Schemathesis reads the server's own OpenAPI document and makes requests of three kinds:
those that fit it, the same with what a document cannot say put right (tokens in the
vocabulary, speakers in turn), and those that do not fit it. The fourth kind is bytes: a
good request that was cut, or has other bytes in it. No answer may have a status of 500
or more, and each must be what the document promises. The command prints how many
requests of each kind had which status.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import httpx
import schemathesis
import torch
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.generation.case import Case
from schemathesis.specs.openapi.checks import positive_data_acceptance

from course.serve.engine import Engine
from course.serve.served import Served
from solutions.gpt_block import GPT, GPTConfig
from solutions.tokens import to_tiktoken, train_bpe
from tests.serving import served

Counts = Counter[tuple[str, str, int]]
"""By path, kind and status."""

V = 262
GOOD = {
    "/v1/completions": {"model": "tiny", "prompt": '안녕 🙂 \\ "a"', "max_tokens": 3},
    "/v1/chat/completions": {
        "model": "tiny",
        "messages": [{"role": "user", "content": '안녕 🙂 \\ "a"'}],
        "max_tokens": 3,
    },
}


def tiny() -> Served:
    """A model of random weights, which writes random bytes."""
    torch.manual_seed(1)
    encoding = to_tiktoken(train_bpe("the cat and the hat 안녕 안녕\n" * 3, V))
    model = GPT(GPTConfig(V, 128, n_embd=8, n_layer=1, n_head=2)).eval()
    return Served("tiny", Engine(model), encoding, chats=True)


def fuzz(url: str, count: int, start: int = 0) -> Counts:
    """Send about `count` requests to a server of `tiny`; `start` is the random seed.

    Raises:
        AssertionError: if an answer is not what was promised.
    """
    document = schemathesis.openapi.from_url(f"{url}/openapi.json")
    operations = [each.ok() for each in document.get_all_operations()]
    posts = [each for each in operations if each.method == "post"]
    counts: Counts = Counter()

    def many(number: float, cases: st.SearchStrategy, send: Callable) -> None:
        repeat = settings(
            max_examples=max(1, round(number)),
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )

        @seed(start)
        @repeat
        @given(cases)
        def send_all(case: Any) -> None:
            send(case)

        send_all()

    def sent(case: Case, kind: str) -> httpx.Response:
        response = case.call()
        counts[case.operation.path, kind, response.status_code] += 1
        # A document cannot say all that is refused: see `_mended`.
        case.validate_response(response, excluded_checks=[positive_data_acceptance])
        assert response.status_code < 500
        return response

    for operation in operations:
        share = 0.2 if operation in posts else 0.01
        fitting = operation.as_strategy(GenerationMode.POSITIVE)
        many(count * share / 2, fitting, partial(sent, kind="fits"))
    for operation in posts:
        fitting = operation.as_strategy(GenerationMode.POSITIVE)
        wrong = operation.as_strategy(GenerationMode.NEGATIVE)
        many(count * 0.1, fitting, lambda case: _answered(sent(_mended(case), "good")))
        many(count * 0.2, wrong, partial(sent, kind="wrong"))

    with httpx.Client(base_url=url, timeout=600) as client:
        for path, good in GOOD.items():

            def send(content: bytes, path: str = path) -> None:
                headers = {"Content-Type": "application/json"}
                response = client.post(path, content=content, headers=headers)
                counts[path, "bytes", response.status_code] += 1
                assert response.status_code in (200, 400, 404, 413), content
                if response.status_code != 200:
                    _is_one_line(response.json())

            many(count * 0.1, _mangled(json.dumps(good, ensure_ascii=False)), send)
    return counts


def _mended(case: Case) -> Case:
    """With all that no JSON Schema can ask for."""
    body = case.body
    if not body.get("stream"):
        body.pop("stream_options", None)
    body["max_tokens"] = min(body.get("max_tokens") or 5, 5)
    body.pop("max_completion_tokens", None)
    if body.get("seed"):  # schemathesis compares as JavaScript does, with 53 bits
        body["seed"] = min(body["seed"], 2**53)
    if "messages" in body:
        if not body.get("logprobs"):
            body.pop("top_logprobs", None)
        messages = body["messages"]
        body["messages"] = messages[: len(messages) - (len(messages) + 1) % 2]
        for number, message in enumerate(body["messages"]):
            message["role"] = ("user", "assistant")[number % 2]
    elif isinstance(body["prompt"], list):
        body["prompt"] = _in_vocabulary(body["prompt"])
    return case


def _in_vocabulary(prompt: list) -> list:
    if isinstance(prompt[0], list):
        return [_in_vocabulary(prompt[0])]
    return [int(t) % V if isinstance(t, int | float) else t for t in prompt]


def _answered(response: Any) -> None:
    """A good request is refused for its length alone."""
    if response.status_code != 200:
        error = response.json()["error"]
        assert error["code"] == "context_length_exceeded", error


def _mangled(good: str) -> st.SearchStrategy[bytes]:
    """The request cut in two, with anything in between and some of it lost."""
    data = good.encode()
    places = st.integers(0, len(data))
    odd = st.one_of(
        st.binary(max_size=8),
        st.sampled_from(
            [b"\xff", b"\xed\xa0\x80", rb"\ud800", b"NaN", b"1e999", b"[" * 999]
        ),
        st.text(max_size=4).map(str.encode),
    )
    return st.builds(lambda a, b, new: data[:a] + new + data[b:], places, places, odd)


def _is_one_line(body: dict) -> None:
    assert body.keys() == {"error"}
    assert body["error"].keys() == {"message", "type", "param", "code"}
    assert "\n" not in body["error"]["message"]


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    model = tiny()
    with served(model) as url:
        counts = fuzz(url, count)
    model.engine.close()
    for (path, kind, status), number in sorted(counts.items()):
        print(f"{path:22} {kind:6} {status} {number:6}")
    print(f"{sum(counts.values())} requests, none with a status of 500 or more")
    return 0


if __name__ == "__main__":
    sys.exit(main())
