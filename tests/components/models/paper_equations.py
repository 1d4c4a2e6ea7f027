"""AG-MAN's equations as the paper prints them: one image, one attribute, one position at a time.

The slow reading that the fast modules are compared with. Every function takes the module whose
weights it uses, materialises the attended map, and is differentiable. Batch normalisation is that
of evaluation. Shape letters: C channels, H W positions, E and D widths of attribute and embedding.
"""

import itertools

import torch
from torch import Tensor, nn

from components.models import attention
from components.models.ag_man import AGMAN, HierarchicalFeature


def relative_error(actual: Tensor, expected: Tensor) -> float:
    """Returns the largest deviation as a share of the largest expected magnitude."""
    assert actual.shape == expected.shape
    deviation = (actual - expected).detach().abs().max()
    return float(deviation / expected.detach().abs().max().clamp(min=1e-300))


def gradients(output: Tensor, module: nn.Module, *inputs: Tensor) -> dict[str, Tensor]:
    """Returns the gradients of a random projection of the output, by parameter and input."""
    projection = torch.randn(output.shape, generator=torch.Generator().manual_seed(5)).to(output)
    wanted = dict(module.named_parameters())
    wanted |= {f"input {i}": tensor for i, tensor in enumerate(inputs)}
    found = torch.autograd.grad((output * projection).sum(), [*wanted.values()], allow_unused=True)
    return {name: grad for name, grad in zip(wanted, found, strict=True) if grad is not None}


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
    return module


def positions(map_CHW: Tensor) -> list[tuple[int, int]]:
    return list(itertools.product(range(map_CHW.shape[1]), range(map_CHW.shape[2])))


def linear(layer: nn.Linear | nn.Conv2d, vector: Tensor) -> Tensor:
    """A linear layer, or a 1x1 convolution at one position."""
    return layer.weight.flatten(1) @ vector + layer.bias


def normalised(norm: nn.BatchNorm2d, vector: Tensor) -> Tensor:
    """Batch normalisation at one position, of evaluation."""
    centred = (vector - norm.running_mean) / torch.sqrt(norm.running_var + norm.eps)
    return centred * norm.weight + norm.bias


def encoded_attribute(encoder: attention.AttributeEncoder, attribute: int) -> Tensor:
    """Eq. 2 and 5: sigma(W a) * W a, a one-hot, W the embedding followed by the FC layer."""
    one_hot = torch.zeros(encoder.embedding.num_embeddings, dtype=torch.float64)
    one_hot[attribute] = 1
    transformed = linear(encoder.linear, encoder.embedding.weight.T @ one_hot)
    return torch.sigmoid(transformed) * transformed


def attribute_guided_spatial_attention(
    module: attention.AttributeGuidedSpatialAttention, image_CHW: Tensor, attribute: int
) -> Tensor:
    """Eq. 1-3: the attended map [C, H, W]."""
    convolution, norm = module.project[0], module.project[1]
    attribute_E = encoded_attribute(module.encode, attribute)
    exponentials = {}
    for y, x in positions(image_CHW):
        convolved = linear(convolution, image_CHW[:, y, x])
        image_E = torch.tanh(normalised(norm, convolved))  # Eq. 1
        exponentials[y, x] = torch.exp((image_E * attribute_E).sum() / len(attribute_E) ** 0.5)
    total = sum(exponentials.values())
    attended = [
        image_CHW[:, y, x] * module.scale * exponentials[y, x] / total
        for y, x in positions(image_CHW)
    ]
    return torch.stack(attended, dim=1).view_as(image_CHW)


def spatial_attention(module: attention.SpatialAttention, attended_CHW: Tensor) -> Tensor:
    """Eq. 4: the attended map, weighted again [C, H, W]."""
    size = module.conv.kernel_size[0]
    pooled = torch.stack([attended_CHW.mean(dim=0), attended_CHW.amax(dim=0)])
    padded = nn.functional.pad(pooled, [size // 2] * 4)
    weighted = [
        attended_CHW[:, y, x]
        * torch.sigmoid(
            (module.conv.weight[0] * padded[:, y : y + size, x : x + size]).sum()
            + module.conv.bias[0]
        )
        for y, x in positions(attended_CHW)
    ]
    return torch.stack(weighted, dim=1).view_as(attended_CHW)


def attribute_guided_channel_attention(
    module: attention.AttributeGuidedChannelAttention, vector_C: Tensor, attribute: int
) -> Tensor:
    """Eq. 5-6: the vector with its channels weighted [C]."""
    combined = encoded_attribute(module.encode, attribute) + vector_C
    hidden = torch.relu(linear(module.gate[0], combined))
    weights = torch.sigmoid(linear(module.gate[2], hidden))  # Eq. 6a
    return vector_C * module.scale * weights  # Eq. 6b


def channel_attention(module: attention.ChannelAttention, vector_C: Tensor) -> Tensor:
    """Fig. 3d: squeeze, LeakyReLU, expand, sigmoid, multiply [C]."""
    squeezed = linear(module.gate[0], vector_C)
    hidden = torch.where(squeezed > 0, squeezed, 0.01 * squeezed)
    return vector_C * torch.sigmoid(linear(module.gate[2], hidden))


def hierarchical_feature(module: HierarchicalFeature, mid: Tensor, features_CHW: Tensor) -> Tensor:
    """Section 2.2: F23 = F3 + projected F2 at half the resolution (3x3 maximum, stride 2)."""
    padded = nn.functional.pad(mid, [1] * 4, value=-torch.inf)
    added = [
        features_CHW[:, y, x]
        + linear(
            module.project, padded[:, 2 * y : 2 * y + 3, 2 * x : 2 * x + 3].flatten(1).amax(dim=1)
        )
        for y, x in positions(features_CHW)
    ]
    return torch.stack(added, dim=1).view_as(features_CHW)


def fused_features(network: AGMAN, image_3HW: Tensor) -> tuple[Tensor, Tensor]:
    """Section 2.2: the input of branch 2 [D, H, W] and of branch 1, F23 [C, H, W]."""
    mid, third = (stage[0] for stage in network.backbone(image_3HW[None]))  # torchvision's own
    hierarchical = hierarchical_feature(network.hierarchy, mid, third)
    both = torch.cat([hierarchical, third])
    convolution, norm = network.reduce
    reduced = [linear(convolution, both[:, y, x]) for y, x in positions(both)]
    if isinstance(norm, nn.BatchNorm2d):  # not in the paper
        reduced = [normalised(norm, vector) for vector in reduced]
    return torch.stack(reduced, dim=1).view(-1, *third.shape[1:]), hierarchical


def attended_map(network: AGMAN, features_DHW: Tensor, attribute: int) -> Tensor:
    """Eq. 1-4: the map after both spatial attentions [D, H, W]."""
    attended = attribute_guided_spatial_attention(network.asa, features_DHW, attribute)
    return spatial_attention(network.sa, attended)


def embedding(network: AGMAN, image_3HW: Tensor, attribute: int) -> Tensor:
    """Section 2.3: f(I, a) [D], of unit length."""
    features_DHW, _ = fused_features(network, image_3HW)
    attended = attended_map(network, features_DHW, attribute)
    vector_D = sum(attended[:, y, x] for y, x in positions(attended))
    vector_D = attribute_guided_channel_attention(network.aca, vector_D, attribute)
    vector_D = channel_attention(network.ca, vector_D)
    return vector_D / torch.sqrt((vector_D**2).sum())


def attribute_logits(network: AGMAN, image_3HW: Tensor) -> Tensor:
    """Section 2.2: branch 1, fourth stage, average over positions, FC layer [N]."""
    _, hierarchical = fused_features(network, image_3HW)
    last = network.classifier.last_stage(hierarchical[None])[0]
    return linear(network.classifier.linear, last.flatten(1).sum(dim=1) / last[0].numel())
