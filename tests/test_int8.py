"""int8 by products in double precision, bounds on paper, and transformers' GPT-2."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close
from typer.testing import CliRunner

from course import generation, int8, pretrained
from course.cli import app
from course.generation import Cache, run, write
from course.int8 import INT8, linear, lookup, quantized
from course.layers import Layers
from course.small_model import bits_per_character
from solutions.gpt_block import GPT, GPTConfig
from solutions.tokens import to_tiktoken, train_bpe
from tests.gpt2 import seeded, shaken, theirs

CONFIG = GPTConfig(97, 24, n_embd=40, n_layer=3, n_head=5)
RANKS = train_bpe("the cat and the hat\n" * 3, 262)
TEXTS = GPTConfig(262, 16, n_embd=8, n_layer=2, n_head=2)


def normal(*sizes: int, seed: int = 0) -> Tensor:
    return torch.randn(sizes, generator=seeded(seed))


def steps(rows: Tensor) -> Tensor:
    """What one whole number stands for, in each row: (N, K) -> (N, 1)."""
    return rows.abs().amax(dim=1, keepdim=True).double() / 127


def bound(x: Tensor, weight: Tensor) -> Tensor:
    """How far a product can be from the right one: (B, K), (N, K) -> (B, N).

    Each number is off by half a step at most, r in x and s in the weight, so that

        |x w - p q r s| <= |x| s / 2 + |w| r / 2 + r s / 4
    """
    r, s = steps(x), steps(weight).T  # (B, 1), (1, N)
    per_x = x.abs().double().sum(dim=1, keepdim=True) * s / 2
    per_w = weight.abs().double().sum(dim=1) * r / 2
    return per_x + per_w + x.shape[1] * r * s / 4


# ---- one matrix ---------------------------------------------------------------------


def test_a_row_becomes_whole_numbers_and_a_scale():
    weight = torch.tensor([[254.0, -127.0, 3.1, 0.0], [0.0, 0.5, -1.0, 0.004]])
    whole, scale = quantized(weight)
    assert whole.dtype == torch.int8
    assert whole.tolist() == [[127, -64, 2, 0], [0, 64, -127, 1]]  # halves to even
    assert_close(scale, torch.tensor([2.0, 1 / 127]))


def test_a_large_matrix_is_made_whole_piece_by_piece(monkeypatch):
    weight = normal(11, 5)
    at_once = quantized(weight)
    monkeypatch.setattr(int8, "ROWS", 3)
    for piece, expected in zip(quantized(weight), at_once, strict=True):
        assert torch.equal(piece, expected)
    assert_close(at_once[0] * at_once[1][:, None], weight, rtol=0, atol=0.02)


@pytest.mark.parametrize("sizes", [(1, 7, 3), (2, 33, 65), (9, 64, 128), (40, 300, 17)])
def test_the_product_is_as_near_as_whole_numbers_can_be(sizes):
    rows, inside, outside = sizes
    x, weight, bias = (
        normal(rows, inside),
        normal(outside, inside, seed=1),
        normal(outside),
    )
    right = x.double() @ weight.double().T
    near = bound(x, weight) + 1e-5
    for added in None, bias:
        got = linear(weight, added)(x)
        assert got.dtype == torch.float32
        expected = right if added is None else right + added
        assert ((got - expected).abs() <= near).all()
    # Nor is it float32 in disguise.
    assert (got - expected).abs().max() > 1e-4


def test_rows_of_any_size_keep_their_own_scale():
    weight, x = normal(33, 64), normal(5, 64)
    weight[::2] *= 1e-6
    x[::2] *= 1e4
    error = (linear(weight, None)(x) - x.double() @ weight.double().T).abs()
    assert (error <= bound(x, weight) * 1.0001).all()


def test_the_largest_numbers_there_are_do_not_overflow():
    """Two products of 255 and 127 are more than 16 bits hold."""
    signs = torch.where(normal(6, 512) < 0, -1.0, 1.0)
    for x in (signs, torch.ones(6, 512), -torch.ones(6, 512)):
        got = linear(signs, None)(x)
        assert_close(got, x @ signs.T, rtol=0, atol=1e-3)


def test_nothing_stays_nothing():
    weight, bias = normal(5, 8), normal(5)
    weight[3] = 0
    assert (quantized(weight)[1] > 0).all()  # something to divide by
    x = normal(3, 8)
    x[1] = 0
    got = linear(weight, bias)(x)
    assert got.isfinite().all()
    assert_close(got[1], bias)
    assert_close(got[:, 3], bias[3].expand(3))


def test_a_row_does_not_depend_on_the_others():
    product, x = linear(normal(65, 96), normal(65)), normal(37, 96)
    together = product(x)
    for row in range(37):
        assert torch.equal(product(x[row : row + 1])[0], together[row])
    assert torch.equal(product(x.view(1, 37, 96))[0], together)


def test_rows_of_a_table_come_back():
    table = normal(31, 12)
    table[7] = 0
    ids = torch.randint(31, (3, 4), generator=seeded(2))
    found = lookup(table)(ids)
    assert found.shape == (3, 4, 12)
    near = (steps(table) / 2).float()[ids] * 1.001
    assert ((found - table[ids]).abs() <= near).all()
    assert (lookup(table)(torch.tensor([7])) == 0).all()


PROGRAM = """
import torch
from course.int8 import levels, linear
signs = torch.where(torch.randn(6, 512) < 0, -1.0, 1.0)
for x in signs, torch.ones(6, 512), -torch.ones(6, 512):
    torch.testing.assert_close(linear(signs, None)(x), x @ signs.T, rtol=0, atol=1e-3)
print(levels())
"""


def test_an_older_processor_takes_smaller_numbers():
    """oneDNN does as if this one had no instructions for int8, where it knows such."""
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.strip() in ("63", "127")


# ---- a model ------------------------------------------------------------------------


def tokens(*sizes: int) -> Tensor:
    return torch.randint(97, sizes, generator=seeded(4))


def test_logits_are_near_those_of_transformers():
    ours, ids = shaken(CONFIG, 0.2).float(), tokens(3, 24)
    expected = theirs(ours)(ids).logits.detach()  # (3, 24, V)
    cache = Cache(ours, 3, int8=True)
    got = [cache.read_all(ids[:, :9])]
    got += [cache.read(ids[:, t : t + 1]).unsqueeze(1) for t in range(9, 24)]
    error = (torch.cat(got, dim=1) - expected).norm() / expected.norm()
    assert 1e-4 < error < 0.02


def test_with_whole_weights_only_x_is_rounded():
    """transformers gets the weights that int8 stands for: then ours is nearer still."""
    ours, ids = shaken(CONFIG, 0.2).float(), tokens(3, 24)
    got = Cache(ours, 3, int8=True).read_all(ids)
    far = (got - theirs(ours)(ids).logits).norm()
    with torch.no_grad():
        for module in ours.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                weight = module.weight
                if weight is not ours.embedding.position_embedding.weight:
                    whole, scale = quantized(weight)
                    weight.copy_(whole * scale[:, None])
    near = (got - theirs(ours)(ids).logits).norm()
    assert near < 0.8 * far


def test_it_costs_the_shipped_model_next_to_nothing():
    model, encoding = pretrained.load()
    cache = Cache(model, 20, int8=True)
    context = model.config.n_positions
    bits = bits_per_character(cache.read_all, encoding, count=20, context=context)
    expected = bits_per_character(model, encoding, count=20, context=context)
    assert bits == pytest.approx(expected, abs=1e-3)


def test_the_matrices_of_the_model_can_be_let_go():
    kept, taken = (shaken(CONFIG).float() for _ in range(2))
    written = write(Layers(kept, INT8), tokens(2, 3), 9, temperature=0)
    layers = Layers(taken, INT8, take=True)
    assert torch.equal(write(layers, tokens(2, 3), 9, temperature=0), written)
    left = sum(each.numel() for each in taken.parameters())
    vectors = sum(each.numel() for each in kept.parameters() if each.dim() == 1)
    assert left == vectors + 24 * 40  # and the table of positions
    before = [each.clone() for each in kept.parameters()]
    Layers(kept, INT8)
    assert all(map(torch.equal, kept.parameters(), before))
    Layers(kept, take=True)  # in float32 they are in use
    assert all(map(torch.equal, kept.parameters(), before))


# ---- what cannot be -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m.to("meta"), "the model is on meta, and int8 is for the CPU alone"),
        (lambda m: m.bfloat16(), "is in torch.bfloat16, and int8 is made from float32"),
    ],
    ids=["device", "type"],
)
def test_other_models_are_refused_in_one_line(change, words):
    with pytest.raises(ValueError, match=words) as caught:
        Cache(change(GPT(CONFIG)), 1, int8=True)
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("model")
    pretrained.save(path, shaken(TEXTS).float(), RANKS)
    return path


def wrong(x, *_):
    return torch.zeros(*x.shape[:-1], 32)


def missing(*_):
    raise NotImplementedError("no oneDNN\nhere")


@pytest.mark.parametrize("kernel", [wrong, missing])
def test_without_the_kernel_it_says_so_in_one_line(monkeypatch, folder, kernel, capsys):
    monkeypatch.setattr(torch.ops.onednn, "qlinear_pointwise", kernel)
    int8.levels.cache_clear()
    try:
        with pytest.raises(
            SystemExit, match="torch's int8 kernel is missing or wr"
        ) as e:
            run("the cat", where=folder, int8=True)
        assert "\n" not in e.value.code
        assert capsys.readouterr() == ("", "")
    finally:
        int8.levels.cache_clear()


# ---- the command --------------------------------------------------------------------


def test_the_command_writes_with_int8(folder, capsys):
    run("the cat", where=folder, tokens=9, seed=4, count=2, int8=True)
    model, _ = pretrained.load(folder)
    texts = [
        "".join(
            generation.text(
                Layers(model, INT8), to_tiktoken(RANKS), "the cat", tokens=9, seed=seed
            )
        )
        for seed in (4, 5)
    ]
    assert capsys.readouterr().out == f"the cat{texts[0]}\n\nthe cat{texts[1]}\n"


def test_the_option_is_handed_on(folder, monkeypatch):
    asked = {}
    monkeypatch.setattr(generation, "run", lambda prompt, **all_: asked.update(all_))
    for options, expected in ([], False), (["--int8"], True):
        result = CliRunner().invoke(app, ["generate", "a", *options])
        assert result.exit_code == 0
        assert asked["int8"] is expected
