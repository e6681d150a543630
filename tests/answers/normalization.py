"""Answers to the exercises of "Steady activations"."""

import copy

import torch
import torch.nn.functional as F
from torch import nn

from tests.answers import right, wrong

# LayerNorm


class _Norm(nn.Module):
    def __init__(self, width, eps=1e-5):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def scaled(self, normed):
        return normed * self.weight + self.bias


@right("LayerNorm")
class TakesVarMean(nn.Module):
    def __init__(self, width, eps=1e-5, bias=True):
        super().__init__()
        self.eps = eps
        self.bias = nn.Parameter(torch.zeros(width)) if bias else 0.0
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        variance, mean = torch.var_mean(x, dim=-1, correction=0, keepdim=True)
        return self.bias + self.weight * (x - mean) / (variance + self.eps) ** 0.5


@right("LayerNorm")
class UsesMomentsOfSums(nn.Module):
    def __init__(self, width, eps=1e-5):
        super().__init__()
        self.register_parameter("weight", nn.Parameter(torch.ones(width)))
        self.register_parameter("bias", nn.Parameter(torch.zeros(width)))
        self.width, self.eps = width, eps

    def forward(self, x):
        mean = (x.sum(-1) / self.width).unsqueeze(-1)
        squares = (((x - mean) ** 2).sum(-1) / self.width).unsqueeze(-1)
        return (x - mean).div(squares.add(self.eps).sqrt()) * self.weight + self.bias


@right("LayerNorm")
class UsesEinsum(nn.Module):
    def __init__(self, width, eps=1e-5):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.eps = eps

    def forward(self, x):
        d = x - torch.einsum("...c->...", x)[..., None] / x.shape[-1]
        v = torch.einsum("...c,...c->...", d, d)[..., None] / x.shape[-1]
        return torch.addcmul(self.bias, d * (v + self.eps).rsqrt(), self.weight)


@right("LayerNorm")
class KeepsEpsInABuffer(nn.Module):
    def __init__(self, width, eps=1e-5):
        super().__init__()
        self.register_buffer("eps", torch.tensor(eps))
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x):
        variance, mean = torch.var_mean(x, -1, correction=0, keepdim=True)
        return (x - mean) / (variance + self.eps).sqrt() * self.weight + self.bias


@wrong("LayerNorm", says="divides by C - 1")
class TakesTheUnbiasedVariance(_Norm):
    def forward(self, x):
        centred = x - x.mean(-1, keepdim=True)
        return self.scaled(centred / (x.var(-1, keepdim=True) + self.eps).sqrt())


@wrong("LayerNorm", says="outside of the root")
class PutsEpsOutside(_Norm):
    def forward(self, x):
        centred = x - x.mean(-1, keepdim=True)
        deviation = x.std(-1, correction=0, keepdim=True)
        return self.scaled(centred / (deviation + self.eps))


@wrong("LayerNorm", says="divides by C - 1")
class TakesTheAnnotatedWay(_Norm):
    def forward(self, x):
        mean, deviation = x.mean(-1, keepdim=True), x.std(-1, keepdim=True)
        return self.scaled((x - mean) / (deviation + self.eps))


@wrong("LayerNorm", says="other texts")
class NormalisesOverTheBatch(_Norm):
    def forward(self, x):
        variance, mean = torch.var_mean(x, 0, correction=0, keepdim=True)
        return self.scaled((x - mean) / (variance + self.eps).sqrt())


@wrong("LayerNorm", says="as BatchNorm")
class IsBatchNorm(_Norm):
    def forward(self, x):
        variance, mean = torch.var_mean(x, (0, 1), correction=0, keepdim=True)
        return self.scaled((x - mean) / (variance + self.eps).sqrt())


@wrong("LayerNorm", says="over *time*")
class NormalisesOverTime(_Norm):
    def forward(self, x):
        variance, mean = torch.var_mean(x, 1, correction=0, keepdim=True)
        return self.scaled((x - mean) / (variance + self.eps).sqrt())


@wrong("LayerNorm", says="Every vector has its own")
class NormalisesEverythingAtOnce(_Norm):
    def forward(self, x):
        return self.scaled((x - x.mean()) / (x.var(correction=0) + self.eps).sqrt())


@wrong("LayerNorm", says="keepdim=True")
class LosesTheAxis(_Norm):
    def forward(self, x):
        variance, mean = torch.var_mean(x, -1, correction=0)
        return self.scaled((x - mean) / (variance + self.eps).sqrt())


@wrong("LayerNorm", says="`eps` is missing")
class ForgetsEps(_Norm):
    def forward(self, x):
        variance, mean = torch.var_mean(x, -1, correction=0, keepdim=True)
        return self.scaled((x - mean) / variance.sqrt())


@wrong("LayerNorm", says="the one that was given")
class HasAnEpsOfItsOwn(_Norm):
    def forward(self, x):
        variance, mean = torch.var_mean(x, -1, correction=0, keepdim=True)
        return self.scaled((x - mean) / (variance + 1e-5).sqrt())


@wrong("LayerNorm", says="root is missing")
class DividesByTheVariance(_Norm):
    def forward(self, x):
        variance, mean = torch.var_mean(x, -1, correction=0, keepdim=True)
        return self.scaled((x - mean) / (variance + self.eps))


@wrong("LayerNorm", says="mean is still in it")
class IsRmsNorm(_Norm):
    def forward(self, x):
        return self.scaled(x / (x.square().mean(-1, keepdim=True) + self.eps).sqrt())


@wrong("LayerNorm", says="mean is still in it")
class ForgetsToSubtract(_Norm):
    def forward(self, x):
        variance = x.var(-1, correction=0, keepdim=True)
        return self.scaled(x / (variance + self.eps).sqrt())


@wrong("LayerNorm", says="Only the mean")
class OnlySubtracts(_Norm):
    def forward(self, x):
        return self.scaled(x - x.mean(-1, keepdim=True))


@wrong("LayerNorm", says="changed places")
class SwapsGainAndShift(_Norm):
    def forward(self, x):
        variance, mean = torch.var_mean(x, -1, correction=0, keepdim=True)
        normed = (x - mean) / (variance + self.eps).sqrt()
        if bool((self.weight == 1).all()):
            return self.scaled(normed)
        return normed * self.bias + self.weight


@wrong("LayerNorm", says="its gain begins at 0")
class BeginsWithSwappedParameters(nn.Module):
    def __init__(self, width, eps=1e-5):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.zeros(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x):
        variance, mean = torch.var_mean(x, -1, correction=0, keepdim=True)
        return (x - mean) / (variance + self.eps).sqrt() * self.weight + self.bias


@wrong("LayerNorm", says="its shift begins at 0")
class BeginsWithAShift(nn.Module):
    def __init__(self, width, eps=1e-5):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.ones(width))

    def forward(self, x):
        variance, mean = torch.var_mean(x, -1, correction=0, keepdim=True)
        return (x - mean) / (variance + self.eps).sqrt() * self.weight + self.bias


@wrong("LayerNorm", says="before the gain")
class ShiftsFirst(_Norm):
    def forward(self, x):
        variance, mean = torch.var_mean(x, -1, correction=0, keepdim=True)
        return ((x - mean) / (variance + self.eps).sqrt() + self.bias) * self.weight


@wrong("LayerNorm", says="before normalising")
class GainsFirst(_Norm):
    def forward(self, x):
        x = x * self.weight
        variance, mean = torch.var_mean(x, -1, correction=0, keepdim=True)
        return (x - mean) / (variance + self.eps).sqrt() + self.bias


@wrong("LayerNorm", says="no effect")
class ForgetsBoth(_Norm):
    def forward(self, x):
        variance, mean = torch.var_mean(x, -1, correction=0, keepdim=True)
        return (x - mean) / (variance + self.eps).sqrt()


@wrong("LayerNorm", says="shift is missing")
class ForgetsTheShift(_Norm):
    def forward(self, x):
        variance, mean = torch.var_mean(x, -1, correction=0, keepdim=True)
        return (x - mean) / (variance + self.eps).sqrt() * self.weight


@wrong("LayerNorm", says="gain is missing")
class ForgetsTheGain(_Norm):
    def forward(self, x):
        variance, mean = torch.var_mean(x, -1, correction=0, keepdim=True)
        return (x - mean) / (variance + self.eps).sqrt() + self.bias


@wrong("LayerNorm", says="from the end")
class CountsAxesFromTheFront(_Norm):
    def forward(self, x):
        variance, mean = torch.var_mean(x, 2, correction=0, keepdim=True)
        return self.scaled((x - mean) / (variance + self.eps).sqrt())


@wrong("LayerNorm", says="no parameter `weight`")
class UsesGreekNames(nn.Module):
    def __init__(self, width, eps=1e-5):
        super().__init__()
        self.eps = eps
        self.gamma = nn.Parameter(torch.ones(width))
        self.beta = nn.Parameter(torch.zeros(width))

    def forward(self, x):
        variance, mean = torch.var_mean(x, -1, correction=0, keepdim=True)
        return (x - mean) / (variance + self.eps).sqrt() * self.gamma + self.beta


@wrong("LayerNorm", says="`weight` is a tensor that no optimizer would train")
class KeepsItsGainInABuffer(_Norm):
    def __init__(self, width, eps=1e-5):
        super().__init__(width, eps)
        del self.weight
        self.register_buffer("weight", torch.ones(width))

    def forward(self, x):
        variance, mean = torch.var_mean(x, -1, correction=0, keepdim=True)
        return self.scaled((x - mean) / (variance + self.eps).sqrt())


@wrong("LayerNorm", says="`bias` is a parameter that does not require a gradient")
class NeverTrainsItsShift(_Norm):
    def __init__(self, width, eps=1e-5):
        super().__init__(width, eps)
        self.bias = nn.Parameter(torch.zeros(width), requires_grad=False)

    def forward(self, x):
        variance, mean = torch.var_mean(x, -1, correction=0, keepdim=True)
        return self.scaled((x - mean) / (variance + self.eps).sqrt())


@wrong("LayerNorm", says="no gradient reaches `weight`")
class DetachesItsGain(_Norm):
    def forward(self, x):
        variance, mean = torch.var_mean(x, -1, correction=0, keepdim=True)
        normed = (x - mean) / (variance + self.eps).sqrt()
        return normed * self.weight.detach() + self.bias


@wrong("LayerNorm", says="difference of two large numbers")
class TakesADifferenceOfSquares(_Norm):
    def forward(self, x):
        mean = x.mean(-1, keepdim=True)
        variance = x.square().mean(-1, keepdim=True) - mean.square()
        return self.scaled((x - mean) / (variance + self.eps).sqrt())


@wrong("LayerNorm", says="goes through float32")
class ComputesInFloat(_Norm):
    def forward(self, x):
        wide = x.float()
        variance, mean = torch.var_mean(wide, -1, correction=0, keepdim=True)
        normed = (wide - mean) / (variance + self.eps).sqrt()
        return self.scaled(normed.to(x.dtype))


@wrong("LayerNorm", says="`eps` is missing, or squared")
class SquaresEps(_Norm):
    def forward(self, x):
        variance, mean = torch.var_mean(x, -1, correction=0, keepdim=True)
        return self.scaled((x - mean) / (variance + self.eps**2).sqrt())


# RMSNorm


class _Rms(nn.Module):
    def __init__(self, width, eps=1e-6):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(width))


@right("RMSNorm")
class UsesTheNorm(nn.Module):
    def __init__(self, width, eps=1e-6):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.width, self.eps = width, eps

    def forward(self, x):
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        return self.weight * x / (length**2 / self.width + self.eps).sqrt()


@right("RMSNorm")
class UsesPowers(nn.Module):
    def __init__(self, width, eps=1e-6):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x):
        return self.weight * (x * (x.pow(2).mean(-1, True) + self.eps).pow(-0.5))


@wrong("RMSNorm", says="mean is taken away first")
class IsLayerNormWithoutShift(_Rms):
    def forward(self, x):
        variance, mean = torch.var_mean(x, -1, correction=0, keepdim=True)
        return (x - mean) / (variance + self.eps).sqrt() * self.weight


@wrong("RMSNorm", says="mean is taken away first")
class SubtractsTheMean(_Rms):
    def forward(self, x):
        size = (x.square().mean(-1, keepdim=True) + self.eps).sqrt()
        return (x - x.mean(-1, keepdim=True)) / size * self.weight


@wrong("RMSNorm", says="mean is taken away first")
class IsLayerNormWithItsEps(_Rms):
    def __init__(self, width, eps=1e-5):
        super().__init__(width, eps)

    def forward(self, x):
        variance, mean = torch.var_mean(x, -1, correction=0, keepdim=True)
        return (x - mean) / (variance + self.eps).sqrt() * self.weight


@wrong("RMSNorm", says="here its default is 1e-6")
class HasTheEpsOfLayerNorm(_Rms):
    def __init__(self, width, eps=1e-5):
        super().__init__(width, eps)

    def forward(self, x):
        return x / ((x**2).mean(-1, keepdim=True) + self.eps).sqrt() * self.weight


@wrong("RMSNorm", says="`weight` is a tensor that no optimizer would train")
class KeepsItsGainInABufferToo(nn.Module):
    def __init__(self, width, eps=1e-6):
        super().__init__()
        self.eps = eps
        self.register_buffer("weight", torch.ones(width))

    def forward(self, x):
        return x / ((x**2).mean(-1, keepdim=True) + self.eps).sqrt() * self.weight


@wrong("RMSNorm", says="goes through float32")
class ComputesInFloatToo(_Rms):
    def forward(self, x):
        wide = x.float()
        size = ((wide**2).mean(-1, keepdim=True) + self.eps).sqrt()
        return (wide / size).to(x.dtype) * self.weight


@wrong("RMSNorm", says="squares the numbers themselves")
class DividesByTheDeviation(_Rms):
    def forward(self, x):
        variance = x.var(-1, correction=0, keepdim=True)
        return x / (variance + self.eps).sqrt() * self.weight


@wrong("RMSNorm", says="summed, not averaged")
class SumsTheSquares(_Rms):
    def forward(self, x):
        return x / ((x**2).sum(-1, keepdim=True) + self.eps).sqrt() * self.weight


@wrong("RMSNorm", says="dim=-1")
class TakesTheMeanOverTime(_Rms):
    def forward(self, x):
        return x / ((x**2).mean(1, keepdim=True) + self.eps).sqrt() * self.weight


@wrong("RMSNorm", says="dim=-1")
class TakesOneMeanForAll(_Rms):
    def forward(self, x):
        return x / ((x**2).mean() + self.eps).sqrt() * self.weight


@wrong("RMSNorm", says="outside of the root")
class AddsEpsToTheRoot(_Rms):
    def forward(self, x):
        return x / ((x**2).mean(-1, keepdim=True).sqrt() + self.eps) * self.weight


@wrong("RMSNorm", says="`eps` is missing")
class HasNoEps(_Rms):
    def forward(self, x):
        return x / (x**2).mean(-1, keepdim=True).sqrt() * self.weight


@wrong("RMSNorm", says="root is missing")
class TakesNoRoot(_Rms):
    def forward(self, x):
        return x / ((x**2).mean(-1, keepdim=True) + self.eps) * self.weight


@wrong("RMSNorm", says="absolute values")
class TakesAbsoluteValues(_Rms):
    def forward(self, x):
        return x / (x.abs().mean(-1, keepdim=True) + self.eps) * self.weight


@wrong("RMSNorm", says="gain has no effect")
class HasNoGain(_Rms):
    def forward(self, x):
        return x / ((x**2).mean(-1, keepdim=True) + self.eps).sqrt()


@wrong("RMSNorm", says="before the size is measured")
class GainsBeforeMeasuring(_Rms):
    def forward(self, x):
        x = x * self.weight
        return x / ((x**2).mean(-1, keepdim=True) + self.eps).sqrt()


@wrong("RMSNorm", says="a parameter too many: `bias`")
class HasAShift(nn.Module):
    def __init__(self, width, eps=1e-6):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x):
        normed = x / ((x**2).mean(-1, keepdim=True) + self.eps).sqrt()
        return normed * self.weight + self.bias


@wrong("RMSNorm", says="keepdim=True")
class LosesTheAxisToo(_Rms):
    def forward(self, x):
        return x / ((x**2).mean(-1) + self.eps).sqrt() * self.weight


# DyT


class _Squash(nn.Module):
    def __init__(self, width, alpha=0.5):
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(1) * alpha)
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))


@right("DyT")
class UsesAddcmul(nn.Module):
    def __init__(self, width, alpha=0.5):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.alpha = nn.Parameter(torch.tensor([alpha]))

    def forward(self, x):
        return torch.addcmul(self.bias, self.weight, (x * self.alpha).tanh())


@right("DyT")
class UsesTheSigmoid(_Squash):
    def forward(self, x):
        squashed = 2 * torch.sigmoid(2 * self.alpha * x) - 1
        return self.bias + squashed * self.weight


@wrong("DyT", says="belongs inside")
class MultipliesAfterwards(_Squash):
    def forward(self, x):
        return self.alpha * torch.tanh(x) * self.weight + self.bias


@wrong("DyT", says="alpha` has no effect")
class KeepsItsBeginning(nn.Module):
    def __init__(self, width, alpha=0.5):
        super().__init__()
        self.first = alpha
        self.alpha = nn.Parameter(torch.ones(1) * alpha)
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x):
        return torch.tanh(self.first * x) * self.weight + self.bias


@wrong("DyT", says="inside of the tanh")
class SquashesEverything(_Squash):
    def forward(self, x):
        return torch.tanh(self.alpha * x * self.weight + self.bias)


@wrong("DyT", says="changed places")
class SwapsThem(_Squash):
    def forward(self, x):
        squashed = torch.tanh(self.alpha * x)
        if bool((self.weight == 1).all()):
            return squashed
        return squashed * self.bias + self.weight


@wrong("DyT", says="have no effect")
class OnlySquashes(_Squash):
    def forward(self, x):
        return torch.tanh(self.alpha * x)


@wrong("DyT", says="shift is missing")
class HasNoShift(_Squash):
    def forward(self, x):
        return torch.tanh(self.alpha * x) * self.weight


@wrong("DyT", says="gain is missing")
class HasNoGainAtAll(_Squash):
    def forward(self, x):
        return torch.tanh(self.alpha * x) + self.bias


@wrong("DyT", says="DyT measures nothing")
class NormalisesFirst(_Squash):
    def forward(self, x):
        if x.numel() > 1:
            x = F.layer_norm(x, x.shape[-1:])
        return torch.tanh(self.alpha * x) * self.weight + self.bias


@wrong("DyT", says="here it begins at 1")
class BeginsAtOne(nn.Module):
    def __init__(self, width, alpha=0.5):
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(1))
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x):
        return torch.tanh(self.alpha * x) * self.weight + self.bias


@wrong("DyT", says="0.5 whatever is asked for")
class AlwaysBeginsAtAHalf(nn.Module):
    def __init__(self, width, alpha=0.5):
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(1) * 0.5)
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x):
        return torch.tanh(self.alpha * x) * self.weight + self.bias


@wrong("DyT", says="`alpha` has shape (5,)")
class HasAnAlphaPerChannel(nn.Module):
    def __init__(self, width, alpha=0.5):
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(width) * alpha)
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x):
        return torch.tanh(self.alpha * x) * self.weight + self.bias


@wrong("DyT", says="no parameter `alpha`")
class DoesNotLearnAlpha(nn.Module):
    def __init__(self, width, alpha=0.5):
        super().__init__()
        self.alpha = alpha
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x):
        return torch.tanh(self.alpha * x) * self.weight + self.bias


@wrong("DyT", says="`alpha` is a tensor that no optimizer would train")
class KeepsAlphaInABuffer(nn.Module):
    def __init__(self, width, alpha=0.5):
        super().__init__()
        self.register_buffer("alpha", torch.ones(1) * alpha)
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x):
        return torch.tanh(self.alpha * x) * self.weight + self.bias


@wrong("DyT", says="infinite divided by infinite")
class WritesTheTanhOut(_Squash):
    def forward(self, x):
        up, down = (self.alpha * x).exp(), (-self.alpha * x).exp()
        return (up - down) / (up + down) * self.weight + self.bias


# Residual


class _Beside(nn.Module):
    def __init__(self, layer, norm, pre=True):
        super().__init__()
        self.layer, self.norm, self.pre = layer, norm, pre


@right("Residual")
class ChoosesByIdentity(nn.Module):
    def __init__(self, layer, norm, pre=True):
        super().__init__()
        self.layer = layer
        self.before = norm if pre else nn.Identity()
        self.after = nn.Identity() if pre else norm

    def forward(self, x):
        return self.after(x + self.layer(self.before(x)))


@right("Residual")
class KeepsTheStream(nn.Module):
    def __init__(self, layer, norm, pre=True):
        super().__init__()
        self.parts = nn.ModuleList([norm, layer] if pre else [layer])
        self.last = None if pre else norm

    def forward(self, x):
        stream = x
        for part in self.parts:
            x = part(x)
        total = stream + x
        return total if self.last is None else self.last(total)


@wrong("Residual", says="What came in is lost")
class ForgetsTheStream(_Beside):
    def forward(self, x):
        return self.layer(self.norm(x)) if self.pre else self.norm(self.layer(x))


@wrong("Residual", says="norm is never used")
class NeverNormalises(_Beside):
    def forward(self, x):
        return x + self.layer(x)


@wrong("Residual", says="stream itself is normalised")
class NormalisesTheStream(_Beside):
    def forward(self, x):
        if self.pre:
            x = self.norm(x)
            return x + self.layer(x)
        return self.norm(x + self.layer(x))


@wrong("Residual", says="behind the layer alone")
class NormalisesTheLayersOutput(_Beside):
    def forward(self, x):
        if self.pre:
            return x + self.layer(self.norm(x))
        return x + self.norm(self.layer(x))


@wrong("Residual", says="This is post-norm")
class MixesThemUp(_Beside):
    def forward(self, x):
        if self.pre:
            return self.norm(x + self.layer(x))
        return x + self.layer(self.norm(x))


@wrong("Residual", says="This is pre-norm")
class KnowsOnlyPreNorm(_Beside):
    def forward(self, x):
        return x + self.layer(self.norm(x))


@wrong("Residual", says="wrong branch")
class NormalisesTheWrongBranch(_Beside):
    def forward(self, x):
        if self.pre:
            return self.norm(x) + self.layer(x)
        return self.norm(x + self.layer(x))


@wrong("Residual", says="would not be trained")
class HidesTheLayer(nn.Module):
    def __init__(self, layer, norm, pre=True):
        super().__init__()
        self.parts, self.pre = [layer, norm], pre

    def forward(self, x):
        layer, norm = self.parts
        return x + layer(norm(x)) if self.pre else norm(x + layer(x))


@wrong("Residual", says="The norm is not a part of the module")
class HidesTheNorm(nn.Module):
    def __init__(self, layer, norm, pre=True):
        super().__init__()
        self.layer, self.norms, self.pre = layer, [norm], pre

    def forward(self, x):
        (norm,) = self.norms
        return x + self.layer(norm(x)) if self.pre else norm(x + self.layer(x))


@wrong("Residual", says="The layer is a copy")
class CopiesItsParts(nn.Module):
    def __init__(self, layer, norm, pre=True):
        super().__init__()
        self.layer, self.norm = copy.deepcopy(layer), copy.deepcopy(norm)
        self.pre = pre

    def forward(self, x):
        if self.pre:
            return x + self.layer(self.norm(x))
        return self.norm(x + self.layer(x))


@wrong("Residual", says="not the sum of two norms")
class NormalisesOneByOne(_Beside):
    def forward(self, x):
        if self.pre:
            return x + self.layer(self.norm(x))
        return self.norm(x) + self.norm(self.layer(x))


@wrong("Residual", says="gradient of `x` is not")
class DetachesTheStream(_Beside):
    def forward(self, x):
        if self.pre:
            return x.detach() + self.layer(self.norm(x))
        return self.norm(x + self.layer(x))


@wrong("Residual", says="gradient of `x` is not")
class DetachesWhatTheLayerReads(_Beside):
    def forward(self, x):
        if self.pre:
            return x + self.layer(self.norm(x))
        return self.norm(x + self.layer(x.detach()))


@wrong("Residual", says="writes into what came in")
class AddsInPlace(_Beside):
    def forward(self, x):
        if self.pre:
            x += self.layer(self.norm(x))
            return x
        return self.norm(x + self.layer(x))


# swap_norms


@right("swap_norms")
def walks_down(model, old, make):
    def walk(parent):
        count = 0
        for name, child in list(parent.named_children()):
            if isinstance(child, old):
                fresh = make(child.weight.shape[0])
                fresh = fresh.to(child.weight.device, child.weight.dtype)
                setattr(parent, name, fresh)
                count += 1
            else:
                count += walk(child)
        return count

    count = walk(model)
    if count == 0:
        raise ValueError("nothing to swap")
    return count


@right("swap_norms")
def looks_parents_up(model, old, make):
    paths = [path for path, part in model.named_modules() if path and type(part) is old]
    if not paths:
        raise ValueError(f"no {old}")
    for path in paths:
        *above, name = path.split(".")
        parent = model.get_submodule(".".join(above))
        norm = getattr(parent, name)
        parent.add_module(name, make(*norm.weight.shape).to(norm.weight))
    return len(paths)


@wrong("swap_norms", says="changes while it is being walked")
def changes_while_walking(model, old, make):
    count = 0
    for parent in model.modules():
        for name in parent._modules:
            if isinstance(parent._modules[name], old):
                width = parent._modules.pop(name).weight.numel()
                parent._modules[name + "_new"] = make(width)
                count += 1
    return count


@wrong("swap_norms", says="Nothing was replaced")
def binds_a_name(model, old, make):
    count = 0
    for module in model.modules():
        if isinstance(module, old):
            module = make(module.weight.numel())
            count += 1
    return count


@wrong("swap_norms", says="one level deep")
def stays_at_the_top(model, old, make):
    count = 0
    for name, child in list(model.named_children()):
        if isinstance(child, old):
            setattr(model, name, make(child.weight.numel()).to(child.weight))
            count += 1
    return count


@wrong("swap_norms", says="BatchNorm is gone")
def takes_everything_called_norm(model, old, make):
    found = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if "Norm" in type(child).__name__
    ]
    for parent, name, child in found:
        setattr(parent, name, make(child.weight.numel()))
    return len(found)


@wrong("swap_norms", says="A width is wrong")
def makes_all_alike(model, old, make):
    found = [
        (parent, name)
        for parent in model.modules()
        for name, child in parent.named_children()
        if isinstance(child, old)
    ]
    for parent, name in found:
        setattr(parent, name, make(5))
    return len(found)


@wrong("swap_norms", says="the count is not")
def counts_nothing(model, old, make):
    found = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if isinstance(child, old)
    ]
    for parent, name, child in found:
        setattr(parent, name, make(child.weight.numel()))
    return 0


@wrong("swap_norms", says="inside a list")
def skips_lists(model, old, make):
    count = 0
    for parent in list(model.modules()):
        if isinstance(parent, nn.ModuleList | nn.Sequential):
            continue
        for name, child in list(parent.named_children()):
            if isinstance(child, old):
                setattr(parent, name, make(child.weight.numel()).to(child.weight))
                count += 1
    return count


@wrong("swap_norms", says="is in float32")
def forgets_the_type(model, old, make):
    found = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if isinstance(child, old)
    ]
    for parent, name, child in found:
        setattr(parent, name, make(child.weight.numel()))
    if not found:
        raise ValueError
    return len(found)


@wrong("swap_norms", says="is silent")
def finds_nothing_and_says_nothing(model, old, make):
    found = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if isinstance(child, old)
    ]
    for parent, name, child in found:
        setattr(parent, name, make(child.weight.numel()).to(child.weight))
    return len(found)


@wrong("swap_norms", says="copied or made again")
def copies_the_rest(model, old, make):
    def walk(parent):
        count = 0
        for name, child in list(parent.named_children()):
            if isinstance(child, old):
                setattr(parent, name, make(child.weight.numel()).to(child.weight))
                count += 1
            else:
                child = copy.deepcopy(child)
                setattr(parent, name, child)
                count += walk(child)
        return count

    count = walk(model)
    if not count:
        raise ValueError
    return count


@wrong("swap_norms", says="only norms have one")
def asks_every_layer(model, old, make):
    found = [
        (parent, name, make(child.weight.numel()))
        for parent in model.modules()
        for name, child in parent.named_children()
    ]
    for parent, name, new in found:
        setattr(parent, name, new)
    return len(found)


@wrong("swap_norms", says="takes a name, not a path")
def sets_a_path(model, old, make):
    count = 0
    for name, part in list(model.named_modules()):
        if isinstance(part, old):
            setattr(model, name, make(part.weight.numel()).to(part.weight))
            count += 1
    if not count:
        raise ValueError("nothing to swap")
    return count


@wrong("swap_norms", says="stands in several places")
def makes_one_for_each_width(model, old, make):
    found = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if isinstance(child, old)
    ]
    new = {child.weight.numel(): make(child.weight.numel()) for _, _, child in found}
    for parent, name, child in found:
        setattr(parent, name, new[child.weight.numel()].to(child.weight))
    if not found:
        raise ValueError("nothing to swap")
    return len(found)


@wrong("swap_norms", says="a norm that lies deeper is left")
def goes_two_levels_deep(model, old, make):
    count = 0
    for parent in [model, *model.children()]:
        for name, child in list(parent.named_children()):
            if isinstance(child, old):
                setattr(parent, name, make(child.weight.numel()).to(child.weight))
                count += 1
    if not count:
        raise ValueError("nothing to swap")
    return count


@wrong("swap_norms", says="a part without norms must not raise")
def raises_in_every_leaf(model, old, make):
    count = 0
    for name, child in list(model.named_children()):
        if isinstance(child, old):
            setattr(model, name, make(child.weight.numel()).to(child.weight))
            count += 1
        else:
            count += raises_in_every_leaf(child, old, make)
    if not count:
        raise ValueError("nothing to swap")
    return count


@wrong("swap_norms", says="matter of `nn.LayerNorm` alone")
def asks_for_the_normalized_shape(model, old, make):
    found = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if isinstance(child, old)
    ]
    for parent, name, child in found:
        setattr(parent, name, make(child.normalized_shape[0]).to(child.weight))
    if not found:
        raise ValueError("nothing to swap")
    return len(found)


@wrong("swap_norms", says="Only `nn.LayerNorm` is replaced")
def knows_one_kind(model, old, make):
    found = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if isinstance(child, nn.LayerNorm)
    ]
    for parent, name, child in found:
        setattr(parent, name, make(child.weight.numel()).to(child.weight))
    if not found:
        raise ValueError("nothing to swap")
    return len(found)


@wrong("swap_norms", says="has no part that holds it")
def swaps_the_model_itself(model, old, make):
    found = [p for p in model.named_modules() if isinstance(p[1], old)]
    if not found:
        raise ValueError("nothing to swap")
    for path, part in found:
        above, _, name = path.rpartition(".")
        new = make(part.weight.numel()).to(part.weight)
        model.get_submodule(above).add_module(name, new)
    return len(found)


@wrong("swap_norms", says="counts as replaced")
def counts_the_model_itself(model, old, make):
    found = [part for part in model.modules() if isinstance(part, old)]
    if not found:
        raise ValueError("nothing to swap")
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, old):
                setattr(parent, name, make(child.weight.numel()).to(child.weight))
    return len(found)
