"""A server inside this process: OpenAI's client talks to it, and it ends in order."""

from __future__ import annotations

import openai
import pytest
import torch

from course import pretrained
from course.serve.engine import Engine
from course.serve.served import Served
from course.serve_here import Here
from solutions.gpt_block import write


@pytest.fixture(scope="module")
def model():
    return pretrained.load()


def test_it_answers_until_it_is_closed(model):
    gpt, encoding = model
    server = Here({"stories": Served("stories", Engine(gpt, slots=2), encoding)})
    options = {"base_url": f"{server.address}/v1", "api_key": "any", "max_retries": 0}
    with openai.OpenAI(**options) as client:
        assert [served.id for served in client.models.list()] == ["stories"]
        reply = client.completions.create(
            model="stories", prompt="Tom", temperature=0, max_tokens=9
        )
        start = torch.tensor([encoding.encode("\nTom")])
        wanted = write(gpt, start, 9, temperature=0)[0, start.shape[1] :]
        assert reply.choices[0].text == encoding.decode(wanted.tolist())
        server.close()
        assert not server.thread.is_alive()
        with pytest.raises(openai.APIConnectionError):
            client.models.list()


def test_two_of_them_have_addresses_of_their_own(model):
    gpt, encoding = model
    servers = [Here({name: Served(name, Engine(gpt), encoding)}) for name in ("a", "b")]
    for server, name in zip(servers, "ab", strict=True):
        with openai.OpenAI(base_url=f"{server.address}/v1", api_key="any") as client:
            assert [served.id for served in client.models.list()] == [name]
        server.close()
