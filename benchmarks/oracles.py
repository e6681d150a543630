"""How far each part is from its oracle: `python -m benchmarks.oracles`.

Every part gets the weights of an independent implementation, in float64, and the same
random input. Printed are the largest differences of the outputs and of the gradients
that reach the input, over 20 draws. A float64 has about 16 digits, so 1e-15 is all that
rounding allows. The tests assert less than these figures show.
"""

from __future__ import annotations

import platform
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from solutions.attention import scaled_dot_product_attention, softmax
from solutions.causal_masking import CausalHead
from solutions.multi_head import MultiHeadAttention
from solutions.normalization import LayerNorm, RMSNorm

Function = Callable[[Tensor], Tensor]

B, T, C, H = 3, 11, 20, 4
DRAWS = 20


def main() -> None:
    print(f"torch {torch.__version__}, {platform.machine()}, float64, {DRAWS} draws")
    print(f"{'part':22} {'oracle':38} outputs  gradients")
    for part, oracle, pair in PAIRS:
        outputs = gradients = 0.0
        for seed in range(DRAWS):
            torch.manual_seed(seed)
            ours, theirs = pair()
            x = torch.randn(B, T, C, dtype=torch.float64, requires_grad=True)
            y, z = ours(x), theirs(x)
            upstream = torch.randn_like(y)
            (dy,) = torch.autograd.grad(y, x, upstream)
            (dz,) = torch.autograd.grad(z, x, upstream)
            outputs = max(outputs, (y - z).abs().max().item())
            gradients = max(gradients, (dy - dz).abs().max().item())
        print(f"{part:22} {oracle:38} {outputs:7.0e} {gradients:10.0e}")


def softmaxes() -> tuple[Function, Function]:
    return softmax, lambda x: torch.softmax(x, dim=-1)


def attentions() -> tuple[Function, Function]:
    return (
        lambda x: scaled_dot_product_attention(x, x.flip(1), x.square()),
        lambda x: F.scaled_dot_product_attention(x, x.flip(1), x.square()),
    )


def causal_heads() -> tuple[Function, Function]:
    head = CausalHead(C, 7, context=T + 5).double()

    def theirs(x: Tensor) -> Tensor:
        parts = head.query(x), head.key(x), head.value(x)  # (B, T, D) each
        return F.scaled_dot_product_attention(*parts, is_causal=True)

    return head, theirs


def multi_heads() -> tuple[Function, Function]:
    ours = MultiHeadAttention(C, H, context=T).double()
    torchs = nn.MultiheadAttention(C, H, batch_first=True).double()
    ours.qkv.load_state_dict(
        {"weight": torchs.in_proj_weight, "bias": nn.init.normal_(torchs.in_proj_bias)}
    )
    ours.projection.load_state_dict(torchs.out_proj.state_dict())
    future = torch.ones(T, T, dtype=torch.bool).triu(1)
    return ours, lambda x: torchs(x, x, x, attn_mask=future, need_weights=False)[0]


def norms(mine: type[nn.Module], torchs: type[nn.Module]) -> tuple[Function, Function]:
    theirs = torchs(C, eps=1e-5).double()
    for parameter in theirs.parameters():
        nn.init.normal_(parameter)
    ours = mine(C, eps=1e-5).double()
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


PAIRS = (
    ("softmax", "torch.softmax", softmaxes),
    ("attention", "F.scaled_dot_product_attention", attentions),
    ("CausalHead", "F.scaled_dot_product_attention, causal", causal_heads),
    ("MultiHeadAttention", "nn.MultiheadAttention, masked", multi_heads),
    ("LayerNorm", "nn.LayerNorm", lambda: norms(LayerNorm, nn.LayerNorm)),
    ("RMSNorm", "nn.RMSNorm", lambda: norms(RMSNorm, nn.RMSNorm)),
)


if __name__ == "__main__":
    main()
