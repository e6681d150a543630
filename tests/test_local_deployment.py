"""The cache by transformers', int8 by torch's, text by Python's codecs and `re`."""

from __future__ import annotations

import codecs
import copy
import doctest
import itertools
import re

import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given
from hypothesis import strategies as st
from torch import nn
from torch.ao.quantization import PerChannelMinMaxObserver
from torch.testing import assert_close
from transformers import GPT2Config, GPT2LMHeadModel

import solutions.local_deployment as chapter
from solutions.gpt_block import GPT, PRESETS, GPTConfig, to_gpt2
from solutions.local_deployment import (
    QuantizedLinear,
    StopAt,
    StreamingDecoder,
    cached_attention,
    character_length,
    memory,
    quantize,
    quantized,
    read,
    write_cached,
)
from solutions.multi_head import MultiHeadAttention

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
TINY = GPTConfig(23, 17, n_embd=10, n_layer=3, n_head=5)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*sizes: int, seed: int = 0, dtype=torch.float64) -> torch.Tensor:
    return torch.randn(sizes, generator=seeded(seed), dtype=torch.float64).to(dtype)


def tokens(*sizes: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(TINY.vocab_size, sizes, generator=seeded(seed))


@pytest.fixture
def pair() -> tuple[GPT, GPT2LMHeadModel]:
    """Our GPT with large random weights, and transformers' with the same ones."""
    ours = GPT(TINY).double().eval()
    with torch.no_grad():
        for number, parameter in enumerate(ours.parameters()):
            parameter.copy_(0.4 * normal(*parameter.shape, seed=number))
    config = GPT2Config(**vars(TINY), bos_token_id=0, eos_token_id=None, pad_token_id=0)
    theirs = GPT2LMHeadModel(config).double().eval()
    missing, unexpected = theirs.load_state_dict(to_gpt2(ours), strict=False)
    assert (missing, unexpected) == (["lm_head.weight"], [])  # it is the token table
    return ours, theirs


# ---- the KV cache -------------------------------------------------------------------


@pytest.mark.parametrize("pieces", [(17,), (1,) * 17, (5, 1, 1, 7, 3), (1, 16)])
@torch.no_grad()
def test_logits_keys_and_values_are_transformers(pair, pieces):
    ours, theirs = pair
    ids = tokens(3, 17)
    past = their_past = None
    for piece in ids.split(pieces, dim=1):
        logits, past = read(ours, piece, past)
        reply = theirs(piece, past_key_values=their_past, use_cache=True)
        their_past = reply.past_key_values
        assert_close(logits, reply.logits)
        for (keys, values), layer in zip(past, their_past.layers, strict=True):
            assert_close(keys, layer.keys)
            assert_close(values, layer.values)


@pytest.mark.parametrize("device", DEVICES)
@torch.no_grad()
def test_cached_attention_is_that_of_the_whole_text(device):
    attention = MultiHeadAttention(14, 7, context=11).double()
    theirs = nn.MultiheadAttention(14, 7, batch_first=True).double()
    theirs.in_proj_weight.copy_(attention.qkv.weight)
    theirs.in_proj_bias.copy_(attention.qkv.bias.normal_(generator=seeded()))
    theirs.out_proj.load_state_dict(attention.projection.state_dict())
    attention.to(device)
    x = normal(2, 11, 14)
    future = torch.ones(11, 11, dtype=torch.bool).triu(1)
    expected, _ = theirs(x, x, x, attn_mask=future, need_weights=False)
    past, found = None, []
    for piece in x.to(device).split([4, 1, 5, 1], dim=1):
        before = [tensor.clone() for tensor in past or ()]
        output, new = cached_attention(attention, piece, past)
        assert all(map(torch.equal, past or (), before)), "the past was changed"
        found.append(output)
        past = new
    assert_close(torch.cat(found, dim=1), expected.to(device))
    assert past[0].shape == past[1].shape == (2, 7, 11, 2)


def test_greedy_text_is_transformers(pair):
    ours, theirs = pair
    prompt = tokens(2, 3)
    expected = theirs.generate(
        prompt, max_new_tokens=14, do_sample=False, attention_mask=prompt.new_ones(2, 3)
    )
    assert torch.equal(write_cached(ours, prompt, 14, temperature=0), expected)


def test_sampled_text_is_transformers(pair):
    ours, theirs = pair
    prompt = tokens(2, 3)
    torch.manual_seed(5)
    expected = theirs.generate(
        prompt,
        max_new_tokens=14,
        do_sample=True,
        temperature=3.0,
        top_k=0,
        attention_mask=prompt.new_ones(2, 3),
    )
    got = write_cached(ours, prompt, 14, temperature=3.0, generator=seeded(5))
    assert torch.equal(got, expected)
    other = write_cached(ours, prompt, 14, temperature=3.0, generator=seeded(6))
    assert not torch.equal(other, expected)


def test_each_token_is_read_once(pair):
    ours, _ = pair
    sizes = []
    ours.norm.register_forward_hook(lambda *call: sizes.append(call[1][0].shape[1]))
    write_cached(ours, tokens(1, 5), 6)
    assert sizes == [5, 1, 1, 1, 1, 1]


# ---- int8 ---------------------------------------------------------------------------


def weights(dtype=torch.float32) -> torch.Tensor:
    """(7, 30): rows of very different sizes, one of zeros, one all below zero."""
    sizes = torch.tensor([1e-4, 0.02, 1.0, 300.0, 0.0, 5.0, 1e-8])
    weight = sizes[:, None] * normal(7, 30, dtype=torch.float32)
    weight[5] = -weight[5].abs()
    return weight.to(dtype)


def by_torch(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The weight as torch rounds it (out, in), and the scales that it takes (out,)."""
    observer = PerChannelMinMaxObserver(
        dtype=torch.qint8,
        qscheme=torch.per_channel_symmetric,
        quant_min=-127,
        quant_max=127,
        eps=0.0,
    )
    observer(weight)
    scales, zeros = observer.calculate_qparams()
    scales = torch.where(scales == 0, 1.0, scales)
    rounded = torch.fake_quantize_per_channel_affine(
        weight, scales, zeros.int(), 0, -127, 127
    )
    return rounded, scales


def test_numbers_and_scales_are_torchs():
    steps, scale = quantize(weights())
    expected, scales = by_torch(weights())
    assert steps.dtype == torch.int8
    assert_close(scale, scales[:, None])
    assert_close(steps * scale, expected)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_no_number_is_off_by_more_than_half_a_scale(dtype, device):
    weight = weights(dtype).to(device)
    before = weight.clone()
    steps, scale = quantize(weight)
    assert torch.equal(weight, before)
    assert scale.dtype == dtype
    off = (weight.double() - steps.double() * scale.double()).abs()
    # Rounding the scale itself to the type moves 127 of them by 127 such errors.
    rounding = 127 * torch.finfo(dtype).eps
    assert (off <= (0.5 + rounding) * scale.double()).all()
    assert steps.min() >= -127
    assert (steps.abs().amax(dim=1)[scale[:, 0] != 1] >= 126).all()  # 127, but bfloat16


def test_half_precision_never_passes_127():
    # 127 / 127 is 1 in any type; other quotients round up in bfloat16.
    weight = torch.linspace(0.01, 3, 997).view(-1, 1).bfloat16()
    steps, _ = quantize(torch.cat([weight, -weight], dim=1))
    assert torch.equal(steps[:, 0], -steps[:, 1])
    assert steps.abs().max() <= 127


@pytest.mark.parametrize("bias", [True, False])
def test_a_quantized_layer_is_the_one_with_torchs_numbers(bias):
    linear = nn.Linear(30, 7, bias=bias)
    with torch.no_grad():
        linear.weight.copy_(weights())
    ours = QuantizedLinear(linear)
    x = normal(2, 3, 30, dtype=torch.float32)
    expected = F.linear(x, by_torch(weights())[0], linear.bias)
    assert_close(ours(x), expected)
    assert torch.equal(linear.weight, weights())
    assert not list(ours.parameters())
    kept = ours.state_dict()
    assert kept["weight"].dtype == torch.int8
    again = QuantizedLinear(nn.Linear(30, 7, bias=bias))
    again.load_state_dict(kept)
    assert torch.equal(again(x), ours(x))


@torch.no_grad()
def test_a_quantized_gpt_computes_with_torchs_numbers(pair):
    ours, theirs = pair
    ours, theirs = ours.float(), theirs.float()
    small = quantized(ours)
    for layer in small.modules():
        assert not isinstance(layer, nn.Linear)
    for name, parameter in theirs.named_parameters():
        if parameter.dim() == 2 and ".h." in name:  # stored as (in, out)
            parameter.copy_(by_torch(parameter.T.contiguous())[0].T)
    ids = tokens(2, 17)
    assert_close(small(ids), theirs(ids).logits)
    assert_close(read(small, ids)[0], theirs(ids).logits)
    assert small.embedding is not ours.embedding
    assert isinstance(ours.blocks[0].attention.qkv, nn.Linear)


def test_a_quantized_gpt_takes_the_bytes_that_were_promised():
    with torch.device("meta"):
        model = quantized_on_meta(PRESETS["gpt2"])
    tensors = [*model.parameters(), *model.buffers()]
    held = sum(tensor.nbytes for tensor in tensors)
    matrices = 12 * 12 * 768**2
    rows = 12 * (3 + 1 + 4 + 1) * 768  # a scale each
    assert held == 4 * (124_439_808 - matrices + rows) + matrices


def quantized_on_meta(config: GPTConfig) -> GPT:
    """Sizes alone: a layer of zeros on the CPU becomes one without numbers."""
    model = GPT(config)
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.Linear):
                zeros = copy.deepcopy(child).to_empty(device="cpu")
                nn.init.zeros_(zeros.weight)
                setattr(module, name, QuantizedLinear(zeros).to("meta"))
    return model


# ---- text ---------------------------------------------------------------------------

EDGES = [0x00, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF]
EDGES += [0xE0, 0xE1, 0xEC, 0xED, 0xEE, 0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xF8, 0xFF]
"""Bytes at which the rules of UTF-8 change."""

pieces_of_bytes = st.lists(
    st.one_of(
        st.binary(max_size=6),
        st.lists(st.sampled_from(EDGES), max_size=6).map(bytes),
    ),
    max_size=12,
)


@given(pieces_of_bytes)
@example([b"\xed", b"\xa0\x80", b"\xf4", b"\x90", b"\xe0", b"\x80", b"\xf0\x9f\x98"])
@example(["안".encode()[:1], "안".encode()[1:2], "안".encode()[2:], b""])
def test_a_decoder_says_at_every_byte_what_pythons_says(pieces):
    ours = StreamingDecoder()
    theirs = codecs.getincrementaldecoder("utf-8")(errors="replace")
    for piece in pieces:
        assert ours.push(piece) == theirs.decode(piece)
    assert ours.finish() == theirs.decode(b"", final=True)
    assert ours.push(b"a") == "a"  # a new text


def test_a_decoder_holds_back_what_pythons_holds_back():
    every_two = itertools.product(range(256), repeat=2)
    for codes in itertools.chain(every_two, itertools.product(EDGES, repeat=3)):
        ours = StreamingDecoder()
        theirs = codecs.getincrementaldecoder("utf-8")(errors="replace")
        assert ours.push(bytes(codes)) == theirs.decode(bytes(codes)), codes
        assert ours.held == theirs.getstate()[0]


@given(st.text(), st.integers(1, 5))
def test_text_comes_whole_and_at_once(text, size):
    data, decoder, shown = text.encode(), StreamingDecoder(), ""
    for start in range(0, len(data), size):
        shown += decoder.push(data[start : start + size])
        seen = data[: start + size]
        assert shown == seen.decode(errors="ignore")  # all that is whole, no more
    assert decoder.finish() == ""


def test_the_length_of_a_character_is_that_of_pythons_bytes():
    lengths = {first: 0 for first in range(256)}
    for code in [*range(0xD800), *range(0xE000, 0x110000)]:
        data = chr(code).encode()
        lengths[data[0]] = len(data)
    assert lengths == {first: character_length(first) for first in range(256)}


stop_strings = st.lists(st.text("ab", min_size=1, max_size=4), max_size=3)


def seen_by_regex(text: str, stops: list[str], final: bool) -> tuple[str, bool]:
    """What may be shown of a text so far, and whether it has stopped."""
    ways = [re.escape(stop) for stop in stops]
    if not final:
        ways += [f"{re.escape(s[:n])}\\Z" for s in stops for n in range(1, len(s))]
    found = re.search("|".join(ways), text) if ways else None
    if found is None:
        return text, False
    return text[: found.start()], any(text.startswith(s, found.start()) for s in stops)


@given(st.lists(st.text("abc", max_size=5), max_size=8), stop_strings)
@example(["ab", "c"], ["abd", "b"])
@example(["aab"], ["ab"])
@example(["a"], ["ab"])
def test_a_text_is_shown_up_to_the_stop_that_begins_first(pieces, stops):
    stop, shown, text = StopAt(stops), "", ""
    for piece in pieces:
        stopped = stop.stopped
        new = stop.push(piece)
        shown += new
        if stopped:
            assert new == ""
            continue
        text += piece
        assert (shown, stop.stopped) == seen_by_regex(text, stops, final=False)
    shown += stop.finish()
    whole = "".join(pieces)
    assert shown == whole[: min([whole.find(s) for s in stops if s in whole] or [None])]
    assert stop.stopped == any(s in whole for s in stops)
    assert stop.finish() == ""


# ---- memory -------------------------------------------------------------------------


def test_memory_by_hand():
    gpt2 = GPTConfig()
    assert memory(gpt2) == 4 * 124_439_808
    # 12 layers, a key and a value of 768 numbers each, 4 bytes: 73,728 per token.
    assert memory(gpt2, 1, 1_024) == 497_759_232 + 1_024 * 73_728
    assert memory(gpt2, 1, 1, bytes_per_weight=0.5) == 62_219_904 + 73_728
    assert memory(gpt2, 7, 3, 1, 2) == 124_439_808 + 21 * 36_864


def test_a_7b_model_has_the_cache_that_was_published():
    # Llama 2 7B: 32 layers of 4,096 channels; 2 GiB for 4,096 tokens in half precision.
    config = GPTConfig(32_000, 4_096, n_embd=4_096, n_layer=32, n_head=32)
    assert memory(config, 1, 4_096, 0, 2) == 2 * 2**30
    # OPT 13B: 800 KiB per token, and 1.6 GB for 2,048 (Kwon et al. 2023, section 3).
    config = GPTConfig(50_272, 2_048, n_embd=5_120, n_layer=40, n_head=40)
    assert memory(config, 1, 1, 0, 2) == 800 * 2**10


@torch.no_grad()
def test_memory_is_what_transformers_holds(pair):
    _, theirs = pair
    past = theirs(tokens(3, 11), use_cache=True).past_key_values
    cached = sum(layer.keys.nbytes + layer.values.nbytes for layer in past.layers)
    held = sum(parameter.nbytes for parameter in theirs.parameters())
    assert memory(TINY, 3, 11, 8, 8) == held + cached


def test_a_part_of_a_byte_counts_as_one():
    odd = GPTConfig(3, 1, n_embd=1, n_layer=1, n_head=1)  # 31 numbers
    assert memory(odd, bytes_per_weight=0.5) == 16


# ---- what cannot be -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda: read(GPT(TINY), tokens(1, 18)),
            "18 tokens after 0 do not fit the context of 17",
        ),
        (
            lambda: write_cached(GPT(TINY), tokens(1, 5), 14),
            "1 tokens after 17 do not fit the context of 17",
        ),
        (
            lambda: write_cached(GPT(TINY), tokens(1, 0), 1),
            r"expected ids \(B, T\) with T >= 1, got \(1, 0\)",
        ),
        (
            lambda: cached_attention(
                MultiHeadAttention(6, 2, 9),
                torch.zeros(3, 1, 6),
                (torch.zeros(2, 2, 4, 3), torch.zeros(2, 2, 4, 3)),
            ),
            r"the past is \(2, 2, 4, 3\) and the new tokens make \(3, 2, 1, 3\)",
        ),
        (
            lambda: quantize(torch.zeros(3)),
            r"expected a weight \(out, in\), got \(3,\)",
        ),
        (lambda: quantize(torch.tensor([[1.0, torch.nan]])), "not finite"),
        (
            lambda: StopAt("The End"),
            r"a list of strings, got 'The End': put it in \[\]",
        ),
        (lambda: StopAt(["a", ""]), "a stop string is empty"),
        (lambda: memory(TINY, -1), "-1 texts of 0 tokens, .* expected 0 or more"),
        (lambda: memory(TINY, 1, 18), "18 tokens do not fit the context of 17"),
    ],
)
def test_bad_input_gets_one_clear_line(call, words):
    with pytest.raises(ValueError, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_the_last_place_of_the_context_is_used():
    assert write_cached(GPT(TINY), tokens(1, 5), 13).shape == (1, 18)


def test_the_examples_in_the_docstrings_hold():
    results = doctest.testmod(chapter)
    assert results.attempted > 5
    assert results.failed == 0
