"""The four attentions against the paper's equations, read literally, in float64."""

import ag_man_equations as paper
import pytest
import torch
from comparison import assert_same, randomise

from components.models.attention import (
    AttributeEncoder,
    AttributeGuidedChannelAttention,
    AttributeGuidedSpatialAttention,
    ChannelAttention,
    SpatialAttention,
    UniformAttention,
)

NUM_ATTRIBUTES = 4
CHANNELS = 6
ATTRIBUTES_BK = torch.tensor([[0, 2, 2], [3, 1, 0]])


def random(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(len(shape))
    return torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)


def per_attribute(function, inputs_B):
    """Calls function(input, attribute) in a loop over images and their attributes."""
    rows = [
        torch.stack([function(given, int(a)) for a in attributes_K])
        for given, attributes_K in zip(inputs_B, ATTRIBUTES_BK, strict=True)
    ]
    return torch.stack(rows)


def test_attribute_encoder_is_eq_2():
    module = randomise(AttributeEncoder(NUM_ATTRIBUTES, 5))
    expected = per_attribute(lambda _, a: paper.encoded_attribute(module, a), ATTRIBUTES_BK)
    assert_same(module, module(ATTRIBUTES_BK), expected)


@pytest.mark.parametrize("scale", [1.3, -0.7])
def test_attribute_guided_spatial_attention_is_eq_1_to_3(scale):
    module = randomise(AttributeGuidedSpatialAttention(NUM_ATTRIBUTES, CHANNELS, 5))
    module.scale.data.fill_(scale)
    features = random(2, CHANNELS, 3, 4)
    maps = module(features, ATTRIBUTES_BK)
    expected = per_attribute(
        lambda image, a: paper.attribute_guided_spatial_attention(module, image, a), features
    )
    assert_same(module, maps[:, :, None] * features[:, None], expected, features)
    torch.testing.assert_close(maps.sum(dim=(2, 3)), torch.full_like(maps[:, :, 0, 0], scale))


@pytest.mark.parametrize("kernel_size", [1, 7])
@pytest.mark.parametrize("sign", [1, -1, 0], ids=["positive", "negative", "mixed"])
def test_spatial_attention_is_eq_4(kernel_size, sign):
    """Where a map value is negative, the attended maximum is the value times the minimum."""
    module = randomise(SpatialAttention(kernel_size))
    features = random(2, CHANNELS, 3, 4)
    drawn = random(2, 3, 3, 4)
    maps = (sign * drawn.abs() if sign else drawn).detach().requires_grad_()
    attended = maps[:, :, None] * features[:, None]  # what the module never makes
    expected = torch.stack(
        [
            torch.stack([paper.spatial_attention(module, map_CHW) for map_CHW in image])
            for image in attended
        ]
    )
    actual = module(features, maps)[:, :, None] * features[:, None]
    assert_same(module, actual, expected, features, maps)


@pytest.mark.parametrize("fusion", ["addition", "concatenation"])
def test_attribute_guided_channel_attention_is_eq_5_and_6(fusion):
    module = randomise(AttributeGuidedChannelAttention(NUM_ATTRIBUTES, CHANNELS, fusion=fusion))
    vectors = random(2, 3, CHANNELS)
    expected = [
        paper.attribute_guided_channel_attention(module, vector, int(a), fusion=fusion)
        for vectors_K, attributes_K in zip(vectors, ATTRIBUTES_BK, strict=True)
        for vector, a in zip(vectors_K, attributes_K, strict=True)
    ]
    actual = module(vectors, ATTRIBUTES_BK)
    assert_same(module, actual, torch.stack(expected).view_as(vectors), vectors)


def test_channel_attention_is_figure_3d():
    module = randomise(ChannelAttention(CHANNELS, reduction=2))
    vectors = random(2, 3, CHANNELS)
    expected = torch.stack([paper.channel_attention(module, v) for v in vectors.flatten(0, 1)])
    assert_same(module, module(vectors), expected.view_as(vectors), vectors)


def test_channel_attention_squeezes_by_16_to_one_at_least():
    assert ChannelAttention(1024).gate[0].out_features == 64
    assert ChannelAttention(8).gate[0].out_features == 1


def test_uniform_attention_averages():
    features = random(2, CHANNELS, 3, 4)
    maps = UniformAttention()(features, ATTRIBUTES_BK)
    assert maps.shape == (2, 3, 3, 4)
    assert maps.dtype == features.dtype
    assert maps.unique().tolist() == [1 / 12]
