"""Small GPTs for tests, and `transformers`' GPT-2 with the same weights."""

from __future__ import annotations

import torch
from transformers import GPT2Config, GPT2LMHeadModel

from solutions.gpt_block import GPT, GPTConfig, to_gpt2


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@torch.no_grad()
def shaken(config: GPTConfig, size: float = 0.6, positions: float = 3.0) -> GPT:
    """With large weights, biases and gains, of which no two resemble each other.

    The last norm stays as it is, and positions differ most, so many times as much as
    the rest: or the model would go on with one token for ever.
    """
    model, generator = GPT(config).double().eval(), seeded(5)
    for name, parameter in model.named_parameters():
        if not name.startswith("norm."):
            large = positions * size if "position" in name else size
            parameter.normal_(0, large, generator=generator)
    return model


def theirs(ours: GPT) -> GPT2LMHeadModel:
    """Transformers' model with the same weights."""
    config = GPT2Config(
        **vars(ours.config),
        attn_implementation="eager",
        bos_token_id=None,
        eos_token_id=None,
    )
    model = GPT2LMHeadModel(config).to(ours.norm.weight.dtype).eval()
    missing, unexpected = model.load_state_dict(to_gpt2(ours), strict=False)
    assert (missing, unexpected) == (["lm_head.weight"], [])  # it is the token table
    return model
