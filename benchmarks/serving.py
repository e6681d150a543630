"""Many clients at once: `python -m benchmarks.serving [THREADS]`.

The engine of `sundays serve` with the model that comes with the course, in float32 and
in int8, and `sundays serve` itself, asked over HTTP, each in a process of its own. 1, 8
and 32 clients ask for stories, each for the next one as soon as it has the last; the
prompts are beginnings of stories, of 1 to 128 tokens. Told are tokens per second of all
clients together, the time until the first token of a text, and the peak of the memory.
Over HTTP a story may end before its last token, and the clients share the processor
with the server.

The same requests, with the same seeds, are made alone and among 32; how many of the
texts differ is told, too. Times vary by machine and by what else it does; nothing in
`tests/` depends on them.
"""

from __future__ import annotations

import http.client
import json
import multiprocessing
import re
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from statistics import median
from urllib.parse import urlsplit

import tiktoken
import torch

from benchmarks.training import peak_bytes
from course import corpus, pretrained, records
from course.serve.engine import Engine, Request, Token, threads
from course.small_model import START

CLIENTS = {1: 20, 8: 32, 32: 96}
"""How many clients -> how many texts they ask for, together, in a round."""

TOKENS = 120
TEXTS = max(CLIENTS.values())
ROUNDS = 5

Ask = Callable[[int, Callable[[], None]], tuple[int, ...] | str]
"""Ask for the text of this number, as a client does, and return it when it is whole.

The second argument is to be called with each token that comes. It is all that a server
of another kind needs for `at_once`.
"""


@dataclass
class Result:
    """What some clients saw."""

    seconds: float = 0.0
    tokens: int = 0
    first: list[float] = field(default_factory=list)  # seconds until the first token
    texts: dict[int, tuple[int, ...] | str] = field(default_factory=dict)


def at_once(ask: Ask, clients: int, texts: Sequence[int]) -> Result:
    """So many clients ask for these texts, each for one after the other."""
    result, left, lock = Result(), iter(texts), threading.Lock()

    def client() -> None:
        while True:
            with lock:
                text = next(left, None)
            if text is None:
                return
            times: list[float] = []
            began = time.perf_counter()
            got = ask(text, lambda times=times: times.append(time.perf_counter()))
            with lock:
                result.tokens += len(times)
                result.first.append(times[0] - began)
                result.texts[text] = got

    all_of_them = [threading.Thread(target=client) for _ in range(clients)]
    began = time.perf_counter()
    for thread in all_of_them:
        thread.start()
    for thread in all_of_them:
        thread.join()
    result.seconds = time.perf_counter() - began
    return result


# ---- the engine ---------------------------------------------------------------------


def requests(encoding: tiktoken.Encoding, numbers: Sequence[int]) -> list[Request]:
    """Beginnings of stories, of which every fourth is the beginning of the text."""
    start = encoding.encode(START)
    stories = islice(corpus.stories(seed=4), len(numbers))
    made = []
    for number, story in zip(numbers, stories, strict=True):
        length = 37 * number % 128 if number % 4 else 0
        ids = (start + encoding.encode(story.text))[: 1 + length]
        made.append(Request(tuple(ids), TOKENS, seed=number))
    return made


def asking(engine: Engine, made: Sequence[Request]) -> Ask:
    """What a client does who has the engine in its own process."""

    def ask(number: int, on_token: Callable[[], None]) -> tuple[int, ...]:
        ids: list[int] = []
        ended = threading.Event()

        def on_one(token: Token) -> None:
            ids.append(token.id)
            on_token()

        engine.submit(made[number], on_one, lambda error: ended.set())
        ended.wait()
        return tuple(ids)

    return ask


def in_float32(given: int | None, pipe) -> None:
    serve(False, given, pipe)


def in_int8(given: int | None, pipe) -> None:
    serve(True, given, pipe)


def serve(int8: bool, given: int | None, pipe) -> None:
    """In a process of its own: one round of some clients, when told to."""
    model, encoding = pretrained.load()
    torch.set_num_threads(given or threads(model.config))
    engine = Engine(model, int8=int8)
    ask = asking(engine, requests(encoding, range(TEXTS)))
    pipe.send(torch.get_num_threads())
    while order := pipe.recv():
        pipe.send(at_once(ask, *order))
    engine.close()
    pipe.send(peak_bytes("cpu"))


# ---- the server ---------------------------------------------------------------------


def over_http(given: int | None, pipe) -> None:
    """The same of `sundays serve`, which chooses its threads itself."""
    model, encoding = pretrained.load()
    command = [sys.executable, "-m", "course.cli", "serve", "--port", "0"]
    command += ["--model", str(pretrained.FOLDER)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    address = re.search(r"http://\S+:\d+", server.stdout.readline())[0]
    asked = requests(encoding, range(TEXTS))
    prompts = [encoding.decode(list(request.ids)) for request in asked]
    ask = asking_over_http(urlsplit(address).netloc, prompts)
    pipe.send(threads(model.config))
    while order := pipe.recv():
        pipe.send(at_once(ask, *order))
    server.terminate()
    server.communicate()
    unit = 1 if sys.platform == "darwin" else 1024
    pipe.send(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit)


def asking_over_http(address: str, prompts: Sequence[str]) -> Ask:
    """What a client does who streams from a server: one connection for each text."""

    def ask(number: int, on_token: Callable[[], None]) -> str:
        connection = http.client.HTTPConnection(address)
        asked = {
            "model": "five-sundays",
            "prompt": prompts[number],
            "max_tokens": TOKENS,
            "seed": number,
            "stream": True,
        }
        kind = {"Content-Type": "application/json"}
        connection.request("POST", "/v1/completions", json.dumps(asked), kind)
        answer, text = connection.getresponse(), ""
        assert answer.status == 200, answer.read()
        while line := answer.readline():
            if line.startswith(b"data: {"):
                text += json.loads(line[6:])["choices"][0]["text"]
                on_token()
        connection.close()
        return text

    return ask


FORMS = {"float32": in_float32, "int8": in_int8, "float32, over HTTP": over_http}


# ---- taking turns -------------------------------------------------------------------


def measure(rounds: int = ROUNDS, given: int | None = None) -> dict[str, dict]:
    """For each form what 1, 8 and 32 clients saw, in rounds after one to warm up.

    `given`: so many threads; None: what the engine takes for best.
    """
    spawn = multiprocessing.get_context("spawn")
    pipes, processes, used = {}, [], {}
    for name, form in FORMS.items():
        pipes[name], far = spawn.Pipe()
        processes.append(spawn.Process(target=form, args=(given, far), daemon=True))
        processes[-1].start()
        used[name] = pipes[name].recv()  # it is ready
    seen = {name: {clients: [] for clients in CLIENTS} for name in FORMS}
    memory = {}
    for turn in range(rounds + 1):
        for name, pipe in pipes.items():
            for clients, texts in CLIENTS.items():
                # A single client has other texts in each round.
                numbers = [n % TEXTS for n in range(turn * texts, (turn + 1) * texts)]
                pipe.send((clients, numbers))
                result = pipe.recv()
                if turn:
                    seen[name][clients].append(result)
    for (name, pipe), process in zip(pipes.items(), processes, strict=True):
        pipe.send(None)
        memory[name] = pipe.recv()
        process.join()
    return {
        name: {"threads": used[name]}
        | summary(seen[name])
        | {"megabytes": round(memory[name] / 1e6)}
        for name in FORMS
    }


def summary(seen: dict[int, list[Result]]) -> dict:
    """Medians over the rounds; the time until the first token, over all texts."""
    told: dict = {}
    for clients, results in seen.items():
        first = [1000 * seconds for result in results for seconds in result.first]
        told[f"{clients} clients"] = {
            "tokens_per_second": round(median(r.tokens / r.seconds for r in results)),
            "first_token_ms": round(median(first), 1),
            "first_token_ms_at_worst": round(max(first), 1),
        }
    few, many = min(seen), max(seen)
    told["times_as_many_tokens"] = round(
        told[f"{many} clients"]["tokens_per_second"]
        / told[f"{few} clients"]["tokens_per_second"],
        2,
    )
    alone, among = (
        {
            number: text
            for result in seen[clients]
            for number, text in result.texts.items()
        }
        for clients in (few, many)
    )
    shared = alone.keys() & among.keys()
    told["texts_compared"] = len(shared)
    told["texts_that_differ"] = sum(alone[n] != among[n] for n in shared)
    return told


def main() -> None:
    given = int(sys.argv[1]) if len(sys.argv) > 1 else None
    results = measure(given=given)
    for form, told in results.items():
        print(form)
        for name, values in told.items():
            print(f"  {name:20} {values}")
    if len(sys.argv) == 1:
        print(records.keep("serving", results))


if __name__ == "__main__":
    main()
