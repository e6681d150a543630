"""Ours against `nn.MultiheadAttention`: `python benchmarks/multi_head.py [THREADS]`.

Both compute the same causal attention with the same weights, in turn, in one run; the
medians of both are printed, and how many times as long ours takes. Torch's module is
asked for no weights and told that the mask is causal: its fastest way. Times vary by
machine and by what else it does; nothing in `tests/` depends on them.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from statistics import median

import torch
from torch import Tensor, nn

from solutions.multi_head import MultiHeadAttention

SIZES = ((16, 64, 64, 4), (8, 192, 128, 8), (4, 256, 256, 8), (2, 512, 256, 8))
ROUNDS = 20


def main() -> None:
    if len(sys.argv) > 1:
        torch.set_num_threads(int(sys.argv[1]))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    threads = torch.get_num_threads()
    print(f"torch {torch.__version__}, {device}, {threads} threads; medians in ms")
    print("   B     T     C   H            ours   torch   ratio   largest difference")
    for batch, length, width, heads in SIZES:
        ours, theirs = pair(width, heads, length, device)
        x = torch.randn(batch, length, width, device=device, requires_grad=True)
        difference = (ours(x) - theirs(x)).abs().max().item()
        for name, use in (("forward", forward), ("and back", and_back)):
            a, b = in_turn(lambda: use(ours, x), lambda: use(theirs, x))  # noqa: B023
            print(
                f"{batch:4} {length:5} {width:5} {heads:3}  {name:8} "
                f"{1000 * a:7.2f} {1000 * b:7.2f} {a / b:7.2f}   {difference:.1e}"
            )


def pair(
    width: int, heads: int, length: int, device: str
) -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
    """The two modules with equal weights, each as a function of x."""
    ours = MultiHeadAttention(width, heads, length).to(device)
    theirs = nn.MultiheadAttention(width, heads, batch_first=True, device=device)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(ours.qkv.weight)
        theirs.in_proj_bias.copy_(ours.qkv.bias)
        theirs.out_proj.weight.copy_(ours.projection.weight)
        theirs.out_proj.bias.copy_(ours.projection.bias)
    mask = nn.Transformer.generate_square_subsequent_mask(length, device=device)

    def torchs(x: Tensor) -> Tensor:
        options = {"attn_mask": mask, "is_causal": True, "need_weights": False}
        return theirs(x, x, x, **options)[0]

    return ours, torchs


def forward(attend: Callable[[Tensor], Tensor], x: Tensor) -> None:
    with torch.no_grad():
        attend(x)


def and_back(attend: Callable[[Tensor], Tensor], x: Tensor) -> None:
    attend(x).sum().backward()


def in_turn(*uses: Callable[[], None]) -> list[float]:
    """The median time of each, measured one after the other, round by round."""
    times = [[] for _ in uses]
    for number in range(ROUNDS + 3):
        for use, kept in zip(uses, times, strict=True):
            wait()
            start = time.perf_counter()
            use()
            wait()
            if number >= 3:  # the first ones warm up
                kept.append(time.perf_counter() - start)
    return [median(kept) for kept in times]


def wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
