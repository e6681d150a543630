"""Models in folders, by transformers: what it saves we load, what we save it loads."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

import huggingface_hub
import pytest
import torch
from huggingface_hub import errors
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn
from torch.testing import assert_close
from transformers import GPT2Config, GPT2LMHeadModel, GPT2Tokenizer

from course import pretrained
from course.pretrained import PretrainedError, load, save
from solutions.gpt_block import GPT, GPTConfig, gpt2_names
from solutions.normalization import DyT, LayerNorm, swap_norms
from solutions.tokens import END_OF_TEXT, bytes_as_characters, train_bpe

TEXT = (
    "The kite was in the attic. 안녕, the kite! It's the old kite, then.\n"
    "Mina looked for it under the table and behind the door.\n" * 3
)
RANKS = train_bpe(TEXT, 290)
SIZES = GPTConfig(290, 12, n_embd=8, n_layer=2, n_head=2)
FILES = ["config.json", "model.safetensors", "vocabulary.txt"]


@torch.no_grad()
def shaken(model: nn.Module, seed: int = 0) -> nn.Module:
    """With large weights, biases and gains, of which no two resemble each other."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.normal_(0, 0.4, generator=generator)
    return model


def ids(seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(290, (3, 12), generator=generator)


def gpt2_vocabulary(folder: Path) -> None:
    """GPT-2's two files: 289 tokens and a special one."""
    visible = bytes_as_characters()
    written = {
        token: "".join(visible[byte] for byte in token)
        for token, rank in RANKS.items()
        if rank < 289
    }
    vocab = {written[token]: RANKS[token] for token in written} | {END_OF_TEXT: 289}
    (folder / "vocab.json").write_text(json.dumps(vocab))
    merges = []
    for token in list(RANKS)[256:289]:
        parts = [bytes([byte]) for byte in token]
        while len(parts) > 2:  # the lowest rank first, as always
            pairs = range(len(parts) - 1)
            cut = min(pairs, key=lambda i: RANKS.get(parts[i] + parts[i + 1], 999))
            parts[cut : cut + 2] = [parts[cut] + parts[cut + 1]]
        merges.append(" ".join(written[part] for part in parts))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n")


@pytest.fixture(scope="module")
def made_by_us(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("ours")
    save(folder, shaken(GPT(SIZES)), RANKS)
    return folder


@pytest.fixture(scope="module")
def made_by_them(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("theirs")
    config = GPT2Config(
        vocab_size=290,
        n_positions=12,
        n_embd=8,
        n_layer=2,
        n_head=2,
        bos_token_id=289,
        eos_token_id=289,
    )
    shaken(GPT2LMHeadModel(config)).save_pretrained(folder)
    gpt2_vocabulary(folder)
    return folder


@pytest.fixture
def ours(made_by_us, tmp_path) -> Path:
    """A copy to spoil."""
    return shutil.copytree(made_by_us, tmp_path / "ours")


@pytest.fixture
def theirs(made_by_them, tmp_path) -> Path:
    return shutil.copytree(made_by_them, tmp_path / "theirs")


def same(model: GPT, other: GPT) -> bool:
    """Equal in every bit, and in what they compute with it."""
    a, b = model.state_dict(), other.state_dict()
    return model.config == other.config and all(
        torch.equal(a[name], b[name]) for name in a.keys() | b.keys()
    )


# ---- to and from transformers -------------------------------------------------------


def test_their_folder_loads_with_their_logits_and_all_gradients(made_by_them):
    model, _ = load(made_by_them)
    other = GPT2LMHeadModel.from_pretrained(
        made_by_them, attn_implementation="eager"
    ).eval()
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert not model.training
    model, other = model.double(), other.double()
    logits, expected = model(ids()), other(ids()).logits
    assert_close(logits, expected, rtol=0, atol=1e-12)

    weight = torch.randn(logits.shape, dtype=torch.float64)
    (logits * weight).sum().backward()
    (expected * weight).sum().backward()
    wanted = dict(other.named_parameters())
    for name, (theirs, turned) in gpt2_names(model.config).items():
        gradient = model.get_parameter(name).grad
        gradient = gradient.T if turned else gradient
        assert_close(gradient, wanted[f"transformer.{theirs}"].grad, rtol=0, atol=1e-11)


def test_their_tokenizer_reads_alike(made_by_them):
    _, encoding = load(made_by_them)
    vocab = json.loads((made_by_them / "vocab.json").read_text())
    _, *lines = (made_by_them / "merges.txt").read_text().splitlines()
    other = GPT2Tokenizer(vocab, [tuple(line.split()) for line in lines])
    text = TEXT + "what it has not read: 안녕히 가세요, 42!"
    assert encoding.encode_ordinary(text) == other.encode(text)
    assert encoding.encode(END_OF_TEXT, allowed_special="all") == [289]


def test_our_folder_loads_in_transformers_with_our_logits(made_by_us):
    other, info = GPT2LMHeadModel.from_pretrained(made_by_us, output_loading_info=True)
    assert not any(info.values()), info  # nothing is missing, and nothing left over
    model = shaken(GPT(SIZES)).double()
    logits = other.double().eval()(ids()).logits
    assert_close(logits, model(ids()), rtol=0, atol=1e-12)
    assert (other.config.bos_token_id, other.config.eos_token_id) == (None, None)


def test_our_config_has_the_fields_of_the_published_ones(made_by_us):
    config = json.loads((made_by_us / "config.json").read_text())
    assert config["architectures"] == ["GPT2LMHeadModel"]
    assert config["model_type"] == "gpt2"
    assert config["activation_function"] == "gelu_new"
    assert config["n_inner"] is None
    assert config["tie_word_embeddings"] is True
    assert config.items() >= vars(SIZES).items()
    with safe_open(made_by_us / "model.safetensors", "pt") as file:
        assert file.metadata()["format"] == "pt"  # some versions ask for it


@pytest.mark.parametrize(
    "changes",
    [{}, {"layer_norm_epsilon": 0.3, "n_head": 4}, {"resid_pdrop": 0.2}],
    ids=str,
)
def test_the_round_trip_keeps_every_bit(tmp_path, changes):
    model = shaken(GPT(replace(SIZES, **changes)))
    save(tmp_path / "new" / "folder", model, RANKS)
    loaded, encoding = load(tmp_path / "new" / "folder")
    assert same(loaded, model)
    assert [encoding.decode_single_token_bytes(i) for i in range(290)] == list(RANKS)
    assert sorted(path.name for path in (tmp_path / "new/folder").iterdir()) == FILES
    other = GPT2LMHeadModel.from_pretrained(tmp_path / "new/folder").double().eval()
    expected = other(ids()).logits
    assert_close(loaded.double()(ids()), expected, rtol=0, atol=1e-12)


def test_older_files_have_other_names_and_masks_too(theirs):
    """As OpenAI's weights lie on the hub: no prefix, a mask per layer."""
    expected, _ = load(theirs)
    state = load_file(theirs / "model.safetensors")
    state = {name.removeprefix("transformer."): value for name, value in state.items()}
    for layer in range(2):
        state[f"h.{layer}.attn.bias"] = torch.ones(12, 12).tril().view(1, 1, 12, 12)
        state[f"h.{layer}.attn.masked_bias"] = torch.tensor(-1e4)
    state["lm_head.weight"] = state["wte.weight"].clone()
    save_file(state, theirs / "model.safetensors")
    assert same(load(theirs)[0], expected)


def test_half_precision_becomes_float32(ours):
    state = load_file(ours / "model.safetensors")
    halves = {name: value.bfloat16() for name, value in state.items()}
    save_file(halves, ours / "model.safetensors")
    model, _ = load(ours)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    name = "transformer.h.0.ln_1.weight"
    assert torch.equal(
        model.blocks[0].attention_norm.weight, state[name].bfloat16().float()
    )


def test_what_is_loaded_can_learn_and_leaves_the_file_alone(ours):
    before = (ours / "model.safetensors").read_bytes()
    model, _ = load(ours)
    model(ids()).sum().backward()
    torch.optim.SGD(model.parameters(), lr=1.0).step()
    assert all(p.grad is not None for p in model.parameters())
    assert (ours / "model.safetensors").read_bytes() == before


def test_without_a_name_it_is_the_model_of_the_course(made_by_us, monkeypatch):
    monkeypatch.setattr(pretrained, "FOLDER", made_by_us)
    assert same(load()[0], shaken(GPT(SIZES)))
    assert same(load(str(made_by_us))[0], load()[0])


# ---- a crash while saving -----------------------------------------------------------

OTHER_RANKS = {token: 289 - rank for token, rank in RANKS.items()}
NEW = {
    "weights": (SIZES, RANKS),
    "vocabulary": (SIZES, OTHER_RANKS),
    "heads": (replace(SIZES, n_head=4), RANKS),
    "eps": (replace(SIZES, layer_norm_epsilon=0.3), RANKS),
    "sizes": (replace(SIZES, n_layer=3), RANKS),
    "all": (replace(SIZES, n_head=1), OTHER_RANKS),
}
"""What is saved over the old model."""


@contextmanager
def full_after(files: int, monkeypatch) -> Iterator[None]:
    """The disk takes so many of the three files, and the next one fails."""
    real, done = Path.replace, []

    def replaced(path, target):
        if len(done) == files:
            raise OSError(28, "No space left on device")
        done.append(target)
        return real(path, target)

    fails = (
        pytest.raises(OSError, match="No space left") if files < 3 else nullcontext()
    )
    with monkeypatch.context() as patch, fails:
        patch.setattr(Path, "replace", replaced)
        yield


@pytest.mark.parametrize("written", [0, 1, 2, 3])
@pytest.mark.parametrize("what", NEW)
def test_a_crash_leaves_the_old_model_or_a_clear_refusal(
    ours, monkeypatch, what, written
):
    """The disk is full after so many of the three files."""
    config, ranks = NEW[what]
    new = shaken(GPT(config), seed=1)
    before = {path.name: path.read_bytes() for path in ours.iterdir()}
    with full_after(written, monkeypatch):
        save(ours, new, ranks)
    after = {path.name: path.read_bytes() for path in ours.iterdir()}
    assert sorted(after) == FILES  # and no rest of one
    if written == 3:
        model, encoding = load(ours)
        assert same(model, new)
        token = encoding.decode_single_token_bytes(7)
        assert ranks[token] == 7
    elif after == before:
        model, encoding = load(ours)
        assert same(model, shaken(GPT(SIZES)))
        assert encoding.decode_single_token_bytes(7) == b"\x07"
    else:
        with pytest.raises(PretrainedError, match=r"model.safetensors") as caught:
            load(ours)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("written", [0, 1, 2])
def test_a_crash_of_the_first_save_leaves_nothing_that_loads(
    tmp_path, monkeypatch, written
):
    with full_after(written, monkeypatch):
        save(tmp_path, GPT(SIZES), RANKS)
    with pytest.raises(PretrainedError, match="is missing"):
        load(tmp_path)


# ---- the hub ------------------------------------------------------------------------


def test_a_name_is_fetched_from_the_hub_with_the_needed_files_alone(
    made_by_them, monkeypatch
):
    asked = []

    def fetched(name, repo_type, allow_patterns):
        asked.append((name, repo_type, sorted(allow_patterns)))
        return str(made_by_them)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetched)
    model, encoding = load("openai-community/gpt2")
    assert same(model, load(made_by_them)[0])
    assert encoding.n_vocab == 290
    files = sorted([*FILES, "vocab.json", "merges.txt", "tokenizer.json"])
    assert asked == [("openai-community/gpt2", "model", files)]


def test_a_folder_comes_before_the_hub(ours, monkeypatch):
    monkeypatch.chdir(ours.parent)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", None)
    assert load("ours")[0].config == SIZES


def raised(kind: type[Exception], message: str = "first line\nsecond line"):
    """An error as the hub raises it, without its answer from the network."""
    error = kind.__new__(kind)
    Exception.__init__(error, message)
    return error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (raised(errors.LocalEntryNotFoundError), "LocalEntryNotFoundError: first line"),
        (raised(errors.OfflineModeIsEnabled), "OfflineModeIsEnabled: first line"),
        (raised(errors.RepositoryNotFoundError), "hub has no such model that is open"),
        (raised(errors.GatedRepoError), "hub has no such model that is open"),
        (raised(errors.HFValidationError), "HFValidationError: first line"),
        (ConnectionError("no route"), "ConnectionError: no route"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (RuntimeError(), r"hub \(RuntimeError: \)"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_the_hub_refuses_is_said_in_one_line(monkeypatch, error, words):
    def fails(*_, **__):
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fails)
    with pytest.raises(PretrainedError, match=words) as caught:
        load("gpt2")
    line = str(caught.value)
    assert "\n" not in line
    assert "no folder gpt2" in line
    assert "put the model's config.json, model.safetensors, vocab.json and" in line


@pytest.mark.parametrize("name", ["gpt2", "nobody/has--this"])
def test_a_hub_that_cannot_be_reached_is_said_in_one_line(monkeypatch, tmp_path, name):
    """Truly asked, at a port where nobody answers."""
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PretrainedError, match="into a folder and give that") as caught:
        load(name)
    assert "\n" not in str(caught.value)


# ---- what is refused ----------------------------------------------------------------


def says(**changes):
    def spoil(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | changes))

    return spoil


def holds(change):
    def spoil(folder: Path) -> None:
        state = load_file(folder / "model.safetensors")
        change(state)
        save_file(state, folder / "model.safetensors")

    return spoil


def has(name: str, content: str | bytes | None):
    """The file has another content, or is not there."""

    def spoil(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        if content is not None:
            data = content.encode() if isinstance(content, str) else content
            (folder / name).write_bytes(data)

    return spoil


def without(*names: str, but: str | None = None):
    def spoil(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()
        if but is not None:
            (folder / but).write_bytes(b"anything")

    return spoil


def cut_off(folder: Path) -> None:
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[:-100])


def cut_short(folder: Path) -> None:
    lines = (folder / "merges.txt").read_text().splitlines()
    (folder / "merges.txt").write_text("\n".join(lines[:-1]))


def a_folder(name: str):
    def spoil(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    return spoil


NORM = "transformer.ln_f.weight"
SPOILED = [
    (says(model_type="llama"), 'config.json says model_type "llama", expected "gpt2"'),
    (has("config.json", '{"n_embd": 8}'), "config.json says model_type null, expected"),
    (says(activation_function="relu"), 'activation_function "relu", expected "gelu_ne'),
    (says(activation_function=["gelu"]), "activation_function .* expected"),
    (says(tie_word_embeddings=False), "tie_word_embeddings false, expected true"),
    (says(n_inner=33), "n_inner 33, expected null or 32, 4 times n_embd"),
    (says(scale_attn_weights=False), "scale_attn_weights false, expected true"),
    (
        says(scale_attn_by_inverse_layer_idx=True),
        "scale_attn_by_inverse_layer_idx true, expected false",
    ),
    (
        says(reorder_and_upcast_attn=True),
        "reorder_and_upcast_attn true, expected false",
    ),
    (says(add_cross_attention=True), "add_cross_attention true, expected false"),
    (says(n_layer="two"), 'n_layer "two", expected a whole number'),
    (says(n_layer=True), "n_layer true, expected a whole number"),
    (says(n_layer=0), "config.json: n_layer is 0, expected 1 or more"),
    (says(n_positions=12.0), "n_positions 12.0, expected a whole number"),
    (says(n_embd=-8), "n_embd -8, expected a whole number of 0 or more"),
    (says(n_head=3), "config.json: n_head 3 does not divide n_embd 8"),
    (says(layer_norm_epsilon=None), "layer_norm_epsilon null, expected a number"),
    (says(layer_norm_epsilon=float("nan")), "layer_norm_epsilon NaN, expected a num"),
    (says(layer_norm_epsilon=float("inf")), "layer_norm_epsilon Infinity, expected a"),
    (says(layer_norm_epsilon=-1e-5), "layer_norm_epsilon -1e-05, expected a number of"),
    (says(attn_pdrop=1.5), "config.json: attn_pdrop is 1.5, expected 0 to 1"),
    (says(n_layer=10**9), "model.safetensors holds 4,176 numbers, but .* has 87"),
    (says(n_layer=1), "model.safetensors holds 4,176 numbers, but .* has 3,304"),
    (says(n_positions=13), "model.safetensors holds 4,176 numbers, but .* has 4,184"),
    (says(vocab_size=291), "vocabulary in .* has 290 tokens, but config.json says voc"),
    (has("config.json", "{"), "config.json cannot be read .*: copy or save it again"),
    (has("config.json", b"\xff"), "config.json cannot be read .*: copy or save it aga"),
    (has("config.json", "[]"), "config.json is no table of fields"),
    (has("config.json", None), "config.json is missing: give a folder with a model"),
    (a_folder("config.json"), "config.json cannot be read"),
    (has("model.safetensors", None), "model.safetensors is missing: copy it there"),
    (has("model.safetensors", ""), "model.safetensors cannot be read .* damaged"),
    (has("model.safetensors", "version https://git-lfs"), "is damaged or no safetens"),
    (cut_off, "model.safetensors cannot be read .* damaged or no safetensors file"),
    (a_folder("model.safetensors"), "model.safetensors cannot be read"),
    (
        without("model.safetensors", but="pytorch_model.bin"),
        "weights in pytorch_model.bin alone, .* any program .* convert",
    ),
    (
        without("model.safetensors", but="model-00001-of-00002.safetensors"),
        "weights in 1 files, model-00001-of-00002.safetensors .* max_shard_size",
    ),
    (
        holds(lambda state: state.update({NORM: torch.zeros(2, 4)})),
        r"model.safetensors: ln_f.weight is \(2, 4\) in the checkpoint",
    ),
    (
        holds(lambda state: state.update(other=state.pop(NORM))),
        "model.safetensors: the checkpoint has no ln_f.weight",
    ),
    (
        holds(lambda state: state.update(score=torch.zeros(3))),
        "model.safetensors holds 4,179 numbers, but a model of the sizes in config",
    ),
    (
        holds(lambda state: state.update({NORM: state[NORM].to(torch.int8)})),
        "ln_f.weight in .*model.safetensors is of type I8, expected F32",
    ),
    (
        holds(lambda state: state[NORM][3].fill_(torch.nan)),
        "ln_f.weight in .*model.safetensors holds numbers that are not finite",
    ),
]


@pytest.mark.parametrize(("spoil", "words"), SPOILED)
def test_a_spoiled_folder_is_refused_in_one_line(theirs, spoil, words):
    spoil(theirs)
    with pytest.raises(PretrainedError, match=words) as caught:
        load(theirs)
    assert "\n" not in str(caught.value)


def swapped(folder: Path) -> None:
    """Two tokens of the vocabulary change their places."""
    lines = (folder / "vocabulary.txt").read_text().splitlines()
    (a, first), (b, second) = lines[288].split(), lines[289].split()
    lines[288:290] = [f"{b} {first}", f"{a} {second}"]
    (folder / "vocabulary.txt").write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (swapped, "was saved with another config.json or vocabulary .* save the model"),
        (says(n_head=4), "was saved with another config.json or vocabulary"),
        (says(layer_norm_epsilon=1e-6), "was saved with another config.json or vocab"),
        (
            has("vocabulary.txt", "YQ== x"),
            "line 1 of .*vocabulary.txt is no 'base64 ra",
        ),
        (has("vocabulary.txt", ""), "vocabulary.txt lacks the byte 0"),
        (
            has("vocabulary.txt", None),
            "has no vocabulary: put vocab.json and merges.txt",
        ),
    ],
)
def test_a_spoiled_folder_of_ours_is_refused_in_one_line(ours, spoil, words):
    spoil(ours)
    with pytest.raises(PretrainedError, match=words) as caught:
        load(ours)
    assert "\n" not in str(caught.value)


def test_what_no_weight_depends_on_may_be_changed(ours):
    says(
        attn_pdrop=0.1, initializer_range=0.5, activation_function="gelu_pytorch_tanh"
    )(ours)
    text = (ours / "vocabulary.txt").read_bytes()
    (ours / "vocabulary.txt").write_bytes(text.replace(b"\n", b"\r\n"))
    model, _ = load(ours)
    assert model.config == replace(SIZES, attn_pdrop=0.1, initializer_range=0.5)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (has("merges.txt", None), "has no vocabulary: put vocab.json and merges.txt"),
        (has("vocab.json", None), "has no vocabulary: put vocab.json and merges.txt"),
        (has("vocab.json", "[1]"), "vocab.json is no JSON table of tokens"),
        (has("merges.txt", "q q\n"), "merges.txt and .*vocab.json do not belong toget"),
        (has("merges.txt", ""), "'Ġt' in .*vocab.json is in no line of .*merges.txt"),
        (cut_short, "in .*vocab.json is in no line of .*merges.txt, and does not look"),
    ],
)
def test_a_spoiled_folder_of_theirs_is_refused_in_one_line(theirs, spoil, words):
    spoil(theirs)
    with pytest.raises(PretrainedError, match=words) as caught:
        load(theirs)
    assert "\n" not in str(caught.value)


def test_what_is_no_folder_is_refused_in_one_line(ours, monkeypatch):
    monkeypatch.setattr(huggingface_hub, "snapshot_download", None)
    missing = ours / "missing"
    monkeypatch.setattr(pretrained, "FOLDER", missing)
    for where, words in [
        (missing, "there is no folder '.*missing'; give a folder with a model"),
        (str(missing), "there is no folder '.*missing'; give a folder with a model"),
        ("a\nb", r"there is no folder 'a\\nb'; give a folder"),
        ("", "config.json is missing"),
        (ours / "config.json", "config.json is a file: give the folder"),
        (None, "the model of the course is not here: there is no folder .*missing"),
    ]:
        with pytest.raises(PretrainedError, match=words) as caught:
            load(where)
        assert "\n" not in str(caught.value)


def other_norms(norm) -> GPT:
    model = GPT(SIZES)
    swap_norms(model, LayerNorm, norm)
    return model


@pytest.mark.parametrize(
    ("model", "ranks", "words"),
    [
        (
            GPT(replace(SIZES, vocab_size=291)),
            RANKS,
            "has 290 tokens and the model 291",
        ),
        (
            other_norms(DyT),
            RANKS,
            "alpha is missing in this model, or no part of a GPT",
        ),
        (other_norms(nn.RMSNorm), RANKS, "bias is missing in this model, or no part"),
    ],
)
def test_what_cannot_be_saved_is_refused_and_leaves_the_folder(
    ours, model, ranks, words
):
    before = {path.name: path.read_bytes() for path in ours.iterdir()}
    with pytest.raises(PretrainedError, match=words) as caught:
        save(ours, model, ranks)
    assert "\n" not in str(caught.value)
    assert {path.name: path.read_bytes() for path in ours.iterdir()} == before
