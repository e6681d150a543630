"""Exported models by those who read them: transformers, tokenizers, tiktoken, gguf."""

from __future__ import annotations

import copy
import json
import re
import resource
import shutil
from collections.abc import Callable
from pathlib import Path

import huggingface_hub
import pytest
import torch
from gguf import GGMLQuantizationType, GGUFReader, TokenType
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jinja2.exceptions import TemplateError
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from torch.testing import assert_close
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    GPT2Tokenizer,
)
from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint
from typer.testing import CliRunner

from course import corpus, generation
from course.cli import app
from course.export import command, tokenizer
from course.export import model as model_file
from course.export.command import ExportError, export
from course.export.model import Model
from course.pretrained import PretrainedError, load
from solutions.gpt_block import GPT, GPTConfig, gpt2_names, to_gpt2
from solutions.instruction_tuning import dialogue
from solutions.tokens import (
    END_OF_TEXT,
    bytes_as_characters,
    to_tiktoken,
    train_bpe,
)

TEXT = corpus.write(6000, seed=4) + (
    "안녕하세요, 안녕히 가세요! It's they'll 12345 67 def f(x):\n    return  x\n\n\n"
    * 4
)
RANKS = train_bpe(TEXT, 700)
PLAIN = to_tiktoken(RANKS)
SPECIAL = to_tiktoken(RANKS, {END_OF_TEXT: 700})
BYTES = {bytes([byte]): byte for byte in range(256)}


@torch.no_grad()
def shaken(config: GPTConfig, likely: int | None = None, seed: int = 0) -> GPT:
    """With large weights, biases and gains, of which no two resemble each other.

    One token may be made likely, wherever.
    """
    model, generator = GPT(config).eval(), torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        large = 0.6 if "position" in name else 0.2
        mean = 1 if name.endswith("norm.weight") else 0
        parameter.normal_(mean, large, generator=generator)
    if likely is not None:
        model.norm.bias += 1.5 * model.embedding.token_embedding.weight[likely]
    return model


SIZES = GPTConfig(700, 40, n_embd=64, n_layer=3, n_head=4, layer_norm_epsilon=0.02)
STORY = Model("story", shaken(SIZES), PLAIN)
(END_OF_ANSWER,) = PLAIN.encode("\n\n")
CHAT = Model("chat", shaken(SIZES, likely=END_OF_ANSWER), PLAIN, chat=True)
ENDING = Model("ending", shaken(GPTConfig(701, 40, 64, 3, 4), likely=700), SPECIAL)
ALL = {model.name: model for model in (STORY, CHAT, ENDING)}


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    """A folder with a folder for each model."""
    folder = tmp_path_factory.mktemp("exported")
    for name, model in ALL.items():
        export(folder / name, model, ["huggingface", "gguf"], "f32")
    return folder


def tokens(*sizes: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(700, sizes, generator=torch.Generator().manual_seed(seed))


# ---- merges -------------------------------------------------------------------------


def trained_by_them(text: str, vocab_size: int) -> tuple[dict[str, int], list]:
    """The vocabulary and the merges that the tokenizers library learns from a text."""
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    letters = pre_tokenizers.ByteLevel.alphabet()
    learner.train_from_iterator(
        [text],
        trainers.BpeTrainer(
            vocab_size=vocab_size, initial_alphabet=letters, show_progress=False
        ),
    )
    told = json.loads(learner.to_str())["model"]
    return told["vocab"], told["merges"]


def as_bytes(token: str) -> bytes:
    byte_of = {character: byte for byte, character in bytes_as_characters().items()}
    return bytes(byte_of[character] for character in token)


RUNS = "aaaaaaa aaaaa aaa ab abab ababab bababa abba aab\n" * 3 + "\n" * 9 + " " * 17


@pytest.mark.parametrize("vocab_size", [257, 280, 900])
@pytest.mark.parametrize("text", [TEXT, RUNS], ids=["stories", "runs"])
def test_the_merges_are_those_that_another_library_learned(text, vocab_size):
    vocab, merges = trained_by_them(text, vocab_size)
    ranks = {as_bytes(token): rank for token, rank in vocab.items()}
    assert len(merges) == len(ranks) - 256 > 0
    got = tokenizer.merges(ranks)
    assert [[as_bytes(a), as_bytes(b)] for a, b in merges] == [list(p) for p in got]


def test_a_token_that_no_merges_make_is_refused_in_one_line():
    """tiktoken has it for a word that is this token, and never inside of one."""
    lonely = {**BYTES, b"bc": 256, b"abcd": 257}
    assert to_tiktoken(lonely).encode("abcd") == [257]
    assert to_tiktoken(lonely).encode("abcde") == [97, 256, 100, 101]
    with pytest.raises(ValueError, match=r"b'abcd' cannot be made of two") as caught:
        tokenizer.merges(lonely)
    assert "\n" not in str(caught.value)


WORDS = st.sampled_from(
    [
        *("a", "b", " ", "  ", "\n", "\n\n", "\t", "the", " kite", "'s", "'ll", "’s"),
        *("안녕", "녕하", "😀", "\u00a0", "\u2028", "\u3000", "\x85", "\x1c", "\ufffd"),
        *("e\u0301", "١٢", "x²", END_OF_TEXT, "<|endoftext", "|>"),
    ]
)
TEXTS = st.one_of(
    st.text(),
    st.lists(WORDS, max_size=30).map("".join),
    st.builds(lambda word, times: word * times, WORDS, st.integers(0, 60)),
    st.lists(st.text(max_size=6) | WORDS, max_size=12).map("".join),
)


def is_made(token: bytes, ranks: dict[bytes, int]) -> bool:
    try:
        return bool(tokenizer.last_merge(token, ranks))
    except ValueError:
        return False


@settings(max_examples=80)
@given(
    st.lists(st.text("ab ", min_size=1, max_size=9) | WORDS, min_size=1).map("".join),
    st.lists(st.text("ab ", max_size=12) | WORDS, max_size=8).map("".join),
    st.integers(1, 30),
    st.randoms(use_true_random=False),
)
def test_by_merges_and_by_ranks_is_the_same_for_any_vocabulary(text, other, size, rng):
    """Also where the ranks have an order in which nobody would have learned them."""
    ranks = dict(BYTES)
    parts = [text[i : i + 3].encode() for i in range(0, len(text), 2)]
    for _ in range(size):
        token = rng.choice(list(ranks)[256:] + parts) + rng.choice(parts)
        ranks.setdefault(token[: rng.randint(2, 9)], len(ranks))
    order = rng.sample(range(len(ranks)), len(ranks))
    ranks = dict(zip(ranks, order, strict=True))
    made = [token for token in ranks if len(token) == 1 or is_made(token, ranks)]
    ranked = sorted(made, key=ranks.__getitem__)
    ranks = {token: rank for rank, token in enumerate(ranked)}
    written = tokenizer.to_json(ranks, {})
    encoding, theirs = to_tiktoken(ranks), Tokenizer.from_str(written)
    for each in text, other, text + other, other + text:
        assert theirs.encode(each).ids == encoding.encode_ordinary(each)


# ---- tokens -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def readers(exported, file_alone) -> dict[str, list[Callable[[str], list[int]]]]:
    """All that read texts with the exported files: name of the model -> text -> ids."""

    def of(folder: Path) -> list[Callable[[str], list[int]]]:
        whole = AutoTokenizer.from_pretrained(folder)
        alone = Tokenizer.from_file(str(folder / "tokenizer.json"))
        return [
            lambda text: whole(text)["input_ids"],
            lambda text: alone.encode(text).ids,
        ]

    by_gguf = AutoTokenizer.from_pretrained(file_alone, gguf_file="model-f32.gguf")
    found = {name: of(exported / name) for name in ("story", "ending")}
    found["ending"].append(lambda text: by_gguf(text)["input_ids"])
    return found


@pytest.fixture(scope="module")
def file_alone(tmp_path_factory) -> Path:
    """A folder without `tokenizer.json`, which transformers would take first."""
    folder = tmp_path_factory.mktemp("alone") / "out"
    export(folder, ENDING, ["gguf"], "f32")
    return folder


@settings(max_examples=400)
@given(text=TEXTS)
@example(text=TEXT)
@example(text=f"a  {END_OF_TEXT}  b{END_OF_TEXT}{END_OF_TEXT}\n\n")
@example(text="\n" * 1000)
@example(text=" " * 1000 + "x")
@example(text="x" * 1000)
def test_any_text_has_the_same_tokens_as_in_tiktoken(readers, text):
    expected = PLAIN.encode_ordinary(text)
    assert [reader(text) for reader in readers["story"]] == [expected] * 2
    expected = SPECIAL.encode(text, allowed_special="all")
    assert [reader(text) for reader in readers["ending"]] == [expected] * 3


@given(st.lists(st.integers(0, 699), max_size=20))
@example(PLAIN.encode("It 's  done , is n't it ? Yes ."))
def test_any_tokens_have_the_same_text_as_in_tiktoken(readers_of_chat, ids):
    expected = PLAIN.decode(ids, errors="replace")
    assert readers_of_chat[0].decode(ids) == expected


def test_every_character_is_of_the_same_kind_as_in_tiktoken():
    """A letter, a digit, white space or a sign: whether a word ends before it.

    Of all that Unicode has, without the planes for Chinese characters, which are all
    letters.
    """
    first = [bytes([byte]) for byte in range(0xC2, 0xF5)]
    pairs = [before + byte for before in (b"a", b"1", b" ") for byte in first]
    ranks = {**BYTES, **{pair: 256 + i for i, pair in enumerate(pairs)}}
    theirs = Tokenizer.from_str(tokenizer.to_json(ranks, {}))
    encoding = to_tiktoken(ranks)
    places = [*range(0x80, 0xD800), *range(0xE000, 0x20000), *range(0xE0000, 0xE0200)]
    for block in range(0, len(places), 4096):
        characters = map(chr, places[block : block + 4096])
        text = "".join(f"a{c}1{c} {c}\n" for c in characters)
        assert theirs.encode(text).ids == encoding.encode_ordinary(text)


# ---- the Hugging Face folder --------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_transformers_finds_the_same_logits(exported, name):
    theirs, info = AutoModelForCausalLM.from_pretrained(
        exported / name, output_loading_info=True
    )
    assert not any(info.values()), info
    ids = tokens(3, 40)
    assert_close(logits(ALL[name].gpt, ids), logits(theirs, ids), rtol=0, atol=1e-12)


@torch.no_grad()
def logits(model: torch.nn.Module, ids: torch.Tensor) -> torch.Tensor:
    """In float64, and the model stays as it was."""
    found = copy.deepcopy(model).double()(ids)
    return getattr(found, "logits", found)


@pytest.mark.parametrize("name", ALL)
def test_transformers_writes_the_same_tokens(exported, name):
    """Up to the token at which each of the models stops."""
    theirs = AutoModelForCausalLM.from_pretrained(exported / name)
    prompts = tokens(12, 8)
    ends = []
    for prompt in prompts.split(1):
        mask = torch.ones_like(prompt)
        written = theirs.generate(
            prompt, attention_mask=mask, max_new_tokens=30, do_sample=False
        )[0]
        own = generation.write(ALL[name].gpt, prompt, 30, temperature=0)[0]
        ends.append(len(written) < len(own))
        assert torch.equal(written, own[: len(written)])
        if ends[-1]:
            stop = {"chat": [END_OF_ANSWER], "ending": [700]}[name]
            assert written.tolist()[-1:] == stop
            assert stop[0] not in written.tolist()[8:-1]
    assert any(ends) == (name != "story")


MESSAGES = st.lists(TEXTS.map(lambda text: text.replace("\x1c", "")), min_size=1)


@given(MESSAGES)
def test_the_chat_template_makes_the_form_of_the_course(readers_of_chat, texts):
    pairs = list(zip(["user", "assistant"] * len(texts), texts, strict=False))
    messages = [{"role": role, "content": text} for role, text in pairs]
    for reader in readers_of_chat:
        read = reader.apply_chat_template(messages, add_generation_prompt=True)
        assert read["input_ids"] == PLAIN.encode_ordinary(dialogue(pairs))


@pytest.fixture(scope="module")
def readers_of_chat(exported) -> list:
    """The tokenizer with the template of its own folder, and with that of the file."""
    folder = exported / "chat"
    readers = [AutoTokenizer.from_pretrained(folder) for _ in range(2)]
    field = GGUFReader(folder / "model-f32.gguf").get_field("tokenizer.chat_template")
    readers[1].chat_template = field.contents()
    return readers


@pytest.mark.parametrize(
    "roles", [["assistant"], ["system", "user"], ["user", "user"], ["user", "tool"]]
)
def test_the_chat_template_refuses_what_the_course_refuses(readers_of_chat, roles):
    messages = [{"role": role, "content": "x"} for role in roles]
    with pytest.raises(TemplateError, match="the user begins, and user and assis"):
        readers_of_chat[0].apply_chat_template(messages)
    with pytest.raises(ValueError, match="the user begins"):
        dialogue([(role, "x") for role in roles])


def test_only_a_model_that_answers_has_a_chat_template(exported):
    for name in ALL:
        reader = AutoTokenizer.from_pretrained(exported / name)
        assert (reader.chat_template is not None) == (name == "chat")


def test_special_tokens_are_named(exported):
    reader = AutoTokenizer.from_pretrained(exported / "ending")
    config = GPT2Config.from_pretrained(exported / "ending")
    assert (reader.bos_token, reader.eos_token) == (END_OF_TEXT, END_OF_TEXT)
    assert (config.bos_token_id, config.eos_token_id) == (700, 700)
    assert reader.model_max_length == 40
    plain = AutoTokenizer.from_pretrained(exported / "story")
    config = GPT2Config.from_pretrained(exported / "story")
    assert plain.all_special_tokens == []
    assert (config.bos_token_id, config.eos_token_id) == (None, None)


# ---- and back -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_the_round_trip_keeps_every_bit(exported, name):
    model, encoding = load(exported / name)
    state = model.state_dict()
    assert model.config == ALL[name].gpt.config
    assert all(torch.equal(state[k], v) for k, v in ALL[name].gpt.state_dict().items())
    assert encoding.token_byte_values() == ALL[name].encoding.token_byte_values()
    assert encoding.special_tokens_set == ALL[name].encoding.special_tokens_set
    text = TEXT + END_OF_TEXT
    assert encoding.encode(text, allowed_special="all") == ALL[name].encoding.encode(
        text, allowed_special="all"
    )


def test_what_transformers_saves_again_is_read(exported, tmp_path):
    folder = exported / "ending"
    AutoModelForCausalLM.from_pretrained(folder).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(folder).save_pretrained(tmp_path)
    model, encoding = load(tmp_path)
    expected, ids = load(folder)[0](tokens(1, 9)), tokens(1, 9)
    assert torch.equal(model(ids), expected)
    assert encoding.encode(TEXT) == SPECIAL.encode(TEXT)


def test_a_tokenizer_of_gpt2_by_transformers_is_read(tmp_path):
    vocab, merges = trained_by_them(TEXT, 600)
    vocab[END_OF_TEXT] = 600
    GPT2Tokenizer(vocab, [tuple(pair) for pair in merges]).save_pretrained(tmp_path)
    ranks, special_tokens = tokenizer.from_json(tmp_path / "tokenizer.json")
    assert special_tokens == {END_OF_TEXT: 600}
    assert ranks == {as_bytes(t): i for t, i in vocab.items() if t != END_OF_TEXT}


def test_older_files_write_a_merge_as_one_string(exported, tmp_path):
    told = json.loads((exported / "ending/tokenizer.json").read_text("utf-8"))
    told["model"]["merges"] = [" ".join(pair) for pair in told["model"]["merges"]]
    (tmp_path / "tokenizer.json").write_text(json.dumps(told))
    assert tokenizer.from_json(tmp_path / "tokenizer.json") == (
        RANKS,
        {END_OF_TEXT: 700},
    )


def changed(*path: str | int, to):
    """A change of one place in the file."""

    def change(told: dict) -> None:
        *before, last = path
        for key in before:
            told = told[key]
        told[last] = to

    return change


@pytest.mark.parametrize(
    "change",
    [
        changed("model", "merges", 3, to=["a", "b"]),
        changed("model", "vocab", "a", to=98),
        changed("normalizer", to={"type": "NFC"}),
        changed("pre_tokenizer", to=None),
        changed("pre_tokenizer", to={"type": "Whitespace"}),
        changed("pre_tokenizer", "add_prefix_space", to=True),
        changed("pre_tokenizer", "use_regex", to=False),
        changed(
            "model",
            to={"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"},
        ),
        lambda told: told["model"]["merges"].pop(),
        lambda told: told["model"]["merges"].reverse(),
        lambda told: told["model"]["vocab"].update({"한": 701}),
        lambda told: told["model"]["vocab"].pop("Ā"),
    ],
)
def test_a_tokenizer_that_reads_otherwise_is_refused_in_one_line(
    exported, tmp_path, change
):
    shutil.copytree(exported / "ending", tmp_path / "model")
    path = tmp_path / "model/tokenizer.json"
    told = json.loads(path.read_text("utf-8"))
    change(told)
    path.write_text(json.dumps(told))
    with pytest.raises(PretrainedError, match=r"tokenizer\.json") as caught:
        load(tmp_path / "model")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", "\xff"])
def test_a_damaged_tokenizer_is_refused_in_one_line(exported, tmp_path, content):
    shutil.copytree(exported / "ending", tmp_path / "model")
    (tmp_path / "model/tokenizer.json").write_text(content, "latin-1")
    with pytest.raises(
        PretrainedError, match=r"tokenizer\.json cannot be re"
    ) as caught:
        load(tmp_path / "model")
    assert "\n" not in str(caught.value)


# ---- the GGUF file ------------------------------------------------------------------


def by_transformers(path: Path) -> GPT2LMHeadModel:
    """The model of a file as the loader of transformers finds it.

    That one has no place for the context, and is told.
    """
    told = load_gguf_checkpoint(str(path))
    config = GPT2Config(**told["config"], n_positions=told["config"]["n_ctx"])
    model = GPT2LMHeadModel(config).eval()
    told = load_gguf_checkpoint(str(path), return_tensors=True, model_to_load=model)
    missing, unexpected = model.load_state_dict(told["tensors"], strict=False)
    assert (missing, unexpected) == (["lm_head.weight"], [])  # it is the token table
    return model


@pytest.mark.parametrize("name", ALL)
def test_the_file_gives_transformers_the_same_logits(exported, name):
    theirs = by_transformers(exported / name / "model-f32.gguf")
    ids = tokens(3, 40)
    # The epsilon of the norms is a float32 there.
    assert_close(logits(ALL[name].gpt, ids), logits(theirs, ids), rtol=0, atol=1e-8)


@pytest.fixture(scope="module")
def smaller(tmp_path_factory) -> dict[str, Path]:
    """The file with weights of fewer bits."""
    folder = tmp_path_factory.mktemp("smaller")
    for kind in "f16", "q8_0":
        export(folder / kind, STORY, ["gguf"], kind)
    return {kind: folder / kind / f"model-{kind}.gguf" for kind in ("f16", "q8_0")}


def test_half_the_bits_are_the_nearest_numbers(smaller):
    theirs = by_transformers(smaller["f16"])
    halves = copy.deepcopy(STORY.gpt)
    for name, parameter in halves.named_parameters():
        if parameter.dim() == 2 and "position" not in name:
            parameter.data = parameter.data.half().float()
    ids = tokens(3, 40)
    assert_close(logits(halves, ids), logits(theirs, ids), rtol=0, atol=1e-8)


def test_blocks_of_8_bits_are_within_half_a_step(smaller):
    """A block of 32 numbers has 127 steps from 0 to its largest, each a half float."""
    theirs = by_transformers(smaller["q8_0"]).state_dict()
    exact = to_gpt2(STORY.gpt)
    for name, turned in gpt2_names(SIZES).values():
        name = f"transformer.{name}"
        got, wanted = theirs[name], exact[name]
        if got.dim() == 1 or "wpe" in name:
            assert torch.equal(got, wanted)
            continue
        blocks = [x.T if turned else x for x in (got, wanted)]
        got, wanted = (x.reshape(-1, 32) for x in blocks)
        step = wanted.abs().amax(1, keepdim=True) / 127
        assert ((got - wanted).abs() <= step * (0.5 + 127 * 2**-11)).all()
        assert not torch.equal(got, wanted)


def test_rows_without_whole_blocks_have_16_bits(tmp_path):
    narrow = Model("narrow", shaken(GPTConfig(700, 16, 24, 1, 2)), PLAIN)
    export(tmp_path / "out", narrow, ["gguf"], "q8_0")
    reader = GGUFReader(tmp_path / "out/model-q8_0.gguf")
    types = {tensor.name: tensor.tensor_type for tensor in reader.tensors}
    assert types["token_embd.weight"] == GGMLQuantizationType.F16
    assert types["blk.0.ffn_up.weight"] == GGMLQuantizationType.F16
    assert types["blk.0.ffn_down.weight"] == GGMLQuantizationType.Q8_0  # 96 a row
    by_transformers(tmp_path / "out/model-q8_0.gguf")


HEAD = {
    "general.architecture": "gpt2",
    "general.type": "model",
    "gpt2.block_count": 3,
    "gpt2.context_length": 40,
    "gpt2.embedding_length": 64,
    "gpt2.feed_forward_length": 256,
    "gpt2.attention.head_count": 4,
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": "gpt-2",
    "tokenizer.ggml.add_bos_token": False,
}
"""What llama.cpp asks of the file of a GPT-2."""


@pytest.mark.parametrize(
    ("name", "begin", "end", "turn"),
    [
        ("story", 10, 255, None),
        ("chat", 10, 255, END_OF_ANSWER),
        ("ending", 700, 700, None),
    ],
)
def test_the_head_of_the_file_is_what_llama_cpp_reads(exported, name, begin, end, turn):
    reader = GGUFReader(exported / name / "model-f32.gguf")
    told = {key: field.contents() for key, field in reader.fields.items()}
    assert {key: told[key] for key in HEAD} == HEAD
    assert told["general.name"] == name
    assert told["gpt2.attention.layer_norm_epsilon"] == pytest.approx(
        ALL[name].gpt.config.layer_norm_epsilon
    )
    assert told["tokenizer.ggml.bos_token_id"] == begin
    assert told["tokenizer.ggml.eos_token_id"] == end
    assert told.get("tokenizer.ggml.eot_token_id") == turn
    types = told["tokenizer.ggml.token_type"]
    assert types[:700] == [TokenType.NORMAL] * 700
    assert types[700:] == [TokenType.CONTROL] * (name == "ending")
    assert len(told["tokenizer.ggml.tokens"]) == len(types)


@pytest.mark.parametrize(("kind", "code"), [("f32", 0), ("f16", 1), ("q8_0", 7)])
def test_the_file_says_how_its_weights_are_stored(exported, smaller, kind, code):
    """The codes are those of llama.cpp, `llama_ftype` in include/llama.h."""
    path = smaller.get(kind, exported / "story/model-f32.gguf")
    assert GGUFReader(path).get_field("general.file_type").contents() == code


def parameters(modelfile: str) -> dict[str, str]:
    """What is in quotes goes on over line breaks; there are no escapes."""
    found = re.findall(r'^PARAMETER (\w+) ("[^"]*"|.*)$', modelfile, re.MULTILINE)
    assert len(dict(found)) == len(found)
    return dict(found)


@pytest.mark.parametrize(
    ("name", "stop", "template"),
    [
        ("story", '"\n\n"', '{{ "\\n" }}{{ .Prompt }}'),
        ("ending", None, "{{ .Prompt }}"),
        (
            "chat",
            '"\n"',
            '{{ "\\n" }}{{ range .Messages }}{{ .Content }}{{ "\\n" }}'
            '{{ if eq .Role "assistant" }}{{ "\\n" }}{{ end }}{{ end }}',
        ),
    ],
)
def test_the_modelfile_tells_ollama_what_the_model_reads(
    exported, name, stop, template
):
    text = (exported / name / "Modelfile").read_text("utf-8")
    assert text.count("FROM ./model-f32.gguf\n") == 1
    assert f'TEMPLATE """{template}"""\n' in text
    told = parameters(text)
    assert told.get("stop") == stop
    assert told["num_ctx"] == "40"
    usual = {"temperature": "1", "top_p": "1", "repeat_penalty": "1", "top_k": "0"}
    assert told.items() >= usual.items()


# ---- the command --------------------------------------------------------------------

EVERYTHING = [
    "Modelfile",
    "README.md",
    "config.json",
    "generation_config.json",
    "model-f32.gguf",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
]


def sundays(*arguments: str | Path):
    return CliRunner().invoke(app, ["export", *map(str, arguments)])


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_command_exports_the_model_of_the_course(tmp_path):
    done = sundays(tmp_path / "new/out")
    assert done.exit_code == 0, done.output
    assert names(tmp_path / "new") == ["out"]
    assert names(tmp_path / "new/out") == EVERYTHING
    for name in EVERYTHING:
        assert name in done.output
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "new/out")
    model, encoding = load()
    ids = torch.tensor([encoding.encode_ordinary("\nMina had a kite.")])
    assert_close(logits(model, ids), logits(theirs, ids), rtol=0, atol=1e-10)
    card = (tmp_path / "new/out/README.md").read_text("utf-8")
    assert "license: mit\n" in card
    assert "1,030,912 parameters" in card
    assert "vllm serve" in card
    assert "begins after a line break" in card


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--format", "huggingface"], {*EVERYTHING} - {"Modelfile", "model-f32.gguf"}),
        (["--format", "gguf"], {"Modelfile", "README.md", "model-f32.gguf"}),
        (
            ["--format", "gguf", "--gguf-type", "q8_0"],
            {"Modelfile", "README.md", "model-q8_0.gguf"},
        ),
    ],
)
def test_a_format_can_be_chosen(exported, tmp_path, options, expected):
    done = sundays(tmp_path / "out", "--model", exported / "chat", "--chat", *options)
    assert done.exit_code == 0, done.output
    assert set(names(tmp_path / "out")) == expected
    card = (tmp_path / "out/README.md").read_text("utf-8")
    assert ("vllm serve" in card) == ("config.json" in expected)
    assert ("llama-cli -m" in card) == ("Modelfile" in expected)
    assert "An answer ends at" in card
    for file in re.findall(r"model-\w+\.gguf", card):
        assert (tmp_path / "out" / file).is_file()


def test_the_tuned_model_is_known_and_is_what_chat_means(monkeypatch, exported):
    tuned = exported / "story"
    monkeypatch.setattr(model_file, "TUNED", tuned)
    assert model_file.read(tuned).chat
    assert model_file.read(None, chat=True).encoding.n_vocab == 700
    assert not model_file.read(exported / "chat").chat
    assert not model_file.read(None).chat


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--format", "onnx"], "the format is 'onnx', expected huggingface or gguf"),
        (
            ["--gguf-type", "q4"],
            "the type of the GGUF file is 'q4', expected f32 or f16 or q8_0",
        ),
        (["--model", "no/such/folder"], "there is no folder 'no/such/folder'"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(tmp_path, arguments, words):
    done = sundays(tmp_path / "out", *arguments)
    assert done.exit_code == 1
    assert re.fullmatch(f".*{words}.*\n", done.output), done.output
    assert names(tmp_path) == []


def test_a_model_of_the_hub_that_cannot_be_reached_is_one_line(tmp_path, monkeypatch):
    """Truly asked, at a port where nobody answers."""
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(
        huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub")
    )
    done = sundays(tmp_path / "out", "--model", "openai-community/gpt2")
    assert done.exit_code == 1
    assert re.fullmatch(
        "there is no folder openai-community/gpt2, and it cannot be .*\n", done.output
    )
    assert not (tmp_path / "out").exists()


def a_file(path: Path) -> None:
    path.write_text("mine")


def a_folder(path: Path) -> None:
    path.mkdir()
    a_file(path / "config.json")


def a_dangling_link(path: Path) -> None:
    path.symlink_to("nowhere")


@pytest.mark.parametrize("make", [a_file, a_folder, Path.mkdir, a_dangling_link])
def test_what_is_there_is_left_alone(tmp_path, make):
    make(tmp_path / "out")
    done = sundays(tmp_path / "out")
    assert done.exit_code == 1
    assert re.fullmatch(".*out is there already: give .* new folder.*\n", done.output)
    assert names(tmp_path) == ["out"]
    if make is a_folder:
        assert (tmp_path / "out/config.json").read_text() == "mine"


def full(*_, **__):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    "where",
    [
        "course.export.huggingface.write_atomically",
        "course.export.gguf.write_atomically",
        "gguf.GGUFWriter.write_tensors_to_file",
        "course.export.command.write_atomically",
        "pathlib.Path.rename",
        "pathlib.Path.mkdir",
    ],
)
def test_a_full_disk_leaves_nothing_and_is_said_in_one_line(
    tmp_path, monkeypatch, where
):
    monkeypatch.setattr(where, full)
    with pytest.raises(ExportError, match="No space left on device") as caught:
        export(tmp_path / "out", STORY, ["huggingface", "gguf"], "f32")
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("form", "words"),
    [("huggingface", "File too large"), ("gguf", "No space left on device")],
)
def test_what_the_disk_does_not_take_is_said_in_one_line(tmp_path, form, words):
    """Truly: files may not become larger than this."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    try:
        with pytest.raises(ExportError, match=words):
            export(tmp_path / "out", STORY, [form], "f32")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert names(tmp_path) == []


def test_a_folder_that_cannot_be_made_is_said_in_one_line(tmp_path):
    """Where its parent should be, there is a file."""
    (tmp_path / "file").write_text("mine")
    done = sundays(tmp_path / "file/out")
    assert done.exit_code == 1
    assert re.fullmatch(".*file/out cannot be written .*: nothing .*\n", done.output)


def test_after_ctrl_c_nothing_is_left(tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("course.export.gguf.GGUFWriter.add_tensor", interrupted)
    with pytest.raises(SystemExit) as stopped:
        command.run(tmp_path / "out")
    assert stopped.value.code == 130
    assert names(tmp_path) == []


def test_a_vocabulary_without_merges_is_refused_in_one_line(tmp_path):
    lonely = to_tiktoken({**BYTES, b"abc": 256})
    gpt = shaken(GPTConfig(257, 8, 8, 1, 1))
    for form in "huggingface", "gguf":
        with pytest.raises(ValueError, match="cannot be made of two") as caught:
            export(tmp_path / "out", Model("lonely", gpt, lonely), [form], "f32")
        assert "\n" not in str(caught.value)
    assert names(tmp_path) == []
