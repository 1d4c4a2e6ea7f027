"""Is what a module computes, and are its gradients, what slow reading of the equations gives?"""

from collections.abc import Collection

import torch
from torch import Tensor, nn

ROUNDING = 1e-9  # float64 through eighteen layers, summed in another order
NOTHING = 1e-12  # of the largest gradient: what rounding leaves of a gradient that is 0


def relative_error(actual: Tensor, expected: Tensor) -> float:
    """Returns the length of the deviation as a share of the expected length."""
    assert actual.shape == expected.shape
    deviation = (actual - expected).detach().norm()
    return float(deviation / expected.detach().norm().clamp(min=1e-300))


def gradients(output: Tensor, module: nn.Module, *inputs: Tensor) -> dict[str, Tensor]:
    """Returns the gradients of a random projection of the output, by parameter and input."""
    projection = torch.randn(output.shape, generator=torch.Generator().manual_seed(5)).to(output)
    wanted = {name: p for name, p in module.named_parameters() if p.requires_grad}
    wanted |= {f"input {i}": tensor for i, tensor in enumerate(inputs)}
    found = torch.autograd.grad((output * projection).sum(), [*wanted.values()], allow_unused=True)
    return {name: grad for name, grad in zip(wanted, found, strict=True) if grad is not None}


def assert_same(
    module: nn.Module,
    actual: Tensor,
    expected: Tensor,
    *inputs: Tensor,
    unused: tuple[str, ...] = (),
    without_effect: Collection[str] = (),
) -> None:
    """Compares values, and the gradients of every parameter and input.

    Args:
        module: whose parameters both sides use.
        actual: its output.
        expected: what the equations give.
        inputs: that have gradients too.
        unused: beginnings of the names of parameters that the output does not depend on.
        without_effect: parameters whose gradient is 0 whatever the input.
    """
    assert relative_error(actual, expected) < ROUNDING
    found, wanted = gradients(actual, module, *inputs), gradients(expected, module, *inputs)
    learned = {name for name, p in module.named_parameters() if p.requires_grad}
    used = {name for name in learned if not name.startswith(unused)}
    assert found.keys() == wanted.keys() == used | {f"input {i}" for i in range(len(inputs))}
    largest = max(float(gradient.norm()) for gradient in wanted.values())
    for name in wanted:
        if name in without_effect:
            assert max(found[name].norm(), wanted[name].norm()) < NOTHING * largest, name
        else:
            assert wanted[name].norm() > NOTHING * largest, name
            assert relative_error(found[name], wanted[name]) < ROUNDING, name


def randomise(module: nn.Module, *, seed: int = 0) -> nn.Module:
    """Returns the module in float64 and evaluation mode, with nothing left at 0 or 1."""
    generator = torch.Generator().manual_seed(seed)
    module.double().eval()
    for submodule in module.modules():
        if isinstance(submodule, nn.BatchNorm2d):
            for tensor in (submodule.running_mean, submodule.bias.data):
                tensor.copy_(torch.rand(tensor.shape, generator=generator) - 0.5)
            for tensor in (submodule.running_var, submodule.weight.data):
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
        if isinstance(scale := getattr(submodule, "scale", None), nn.Parameter):
            scale.data.copy_(torch.rand((), generator=generator) + 1)
        if isinstance(beta := getattr(submodule, "beta", None), nn.Parameter):
            beta.data.copy_(torch.rand(beta.shape, generator=generator) - 0.3)
    return module
