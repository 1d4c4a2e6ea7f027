"""What every network promises: one backbone pass, rows that do not meet, no map per attribute."""

import copy
from functools import partial

import pytest
import torch
from comparison import ROUNDING, randomise, relative_error
from small_network import (
    ATTRIBUTES_BK,
    EMBEDDING_DIM,
    NAMES,
    NUM_ATTRIBUTES,
    NUM_HOURGLASSES,
    NUM_LANDMARKS,
    NUM_VALUES,
    THIRD_STAGE_WIDTH,
    build,
    random_images,
)
from torch.utils._python_dispatch import TorchDispatchMode

from components.models.backbones import Backbone
from components.models.network import AttentionNetwork, EmbeddingNetwork, unit_length

torch.set_num_threads(1)

ONE_SPACE = ("triplet_network", "ahbn")  # for all attributes
POOL_FIRST = (*ONE_SPACE, "csn")
OUTPUTS = {  # of a network, beside its embeddings, for two images of 32 x 48 pixels
    "ag_man": {"attributes": (2, NUM_ATTRIBUTES)},
    "ag_mlan": {"attributes": (2, NUM_ATTRIBUTES)},
    "ahbn": {
        "values": (2, sum(NUM_VALUES)),
        "landmarks": (2, NUM_HOURGLASSES, NUM_LANDMARKS, 8, 12),
    },
    "fashionsearchnet_v2": dict.fromkeys(["map_values", "branch_values"], (2, 3, max(NUM_VALUES))),
}
TRAINED_ONLY = {  # what only training needs
    "ag_man": "classifier.",
    "ag_mlan": "classifier.",
    "ahbn": ("values.", "hourglass.heads.1."),
    "fashionsearchnet_v2": ("branch_classifiers.", "representation."),
}
CUTS = "fashionsearchnet_v2"  # features out of boxes: see test_fashionsearchnet.py
# widths that make a map per attribute the largest tensor of all, by far
MANY, IMAGE_SIZE_PX = 64, 64
MAP_PER_ATTRIBUTE = 2 * MANY * THIRD_STAGE_WIDTH * (IMAGE_SIZE_PX // 16) ** 2


class LargestOutput(TorchDispatchMode):
    """Notes the number of elements of the largest tensor that an operation returns."""

    def __init__(self) -> None:
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        result = operation(*args, **kwargs or {})
        for tensor in torch.utils._pytree.tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self.numel = max(self.numel, tensor.numel())
        return result


@pytest.fixture(scope="module", params=NAMES)
def named(request) -> tuple[str, EmbeddingNetwork]:
    return request.param, randomise(build(request.param)).requires_grad_(False)


@pytest.fixture(scope="module")
def network(named) -> EmbeddingNetwork:
    return named[1]


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return random_images(2, 3, 32, 48)


def test_one_pass_for_all_attributes_equals_one_pass_each(named, images):
    name, network = named
    every_BN = torch.arange(NUM_ATTRIBUTES).expand(len(images), -1)
    together = network(images, every_BN)
    for attribute in range(NUM_ATTRIBUTES):
        alone = network(images, every_BN[:, attribute : attribute + 1])
        assert relative_error(together[:, attribute], alone[:, 0]) < ROUNDING
    for first in range(NUM_ATTRIBUTES - 1):
        differs = relative_error(together[:, first], together[:, first + 1]) > 1e-4
        assert differs == (name not in ONE_SPACE)


def test_rows_are_independent_of_one_another(network, images):
    together = network(images, ATTRIBUTES_BK)
    for row, image in enumerate(images):
        alone = network(image[None], ATTRIBUTES_BK[row : row + 1])
        assert relative_error(together[row], alone[0]) < ROUNDING
    assert relative_error(together[0], together[1]) > 1e-3  # or else nothing was told apart


@pytest.mark.parametrize("num_asked", [1, 9])
def test_the_backbone_runs_once_whatever_is_asked(network, images, num_asked):
    calls = []
    backbone = network.backbone
    hooks = [
        module.register_forward_hook(lambda *_: calls.append(1))
        for module in (backbone, backbone.to_second_stage, backbone.third_stage)
    ]
    network.forward_branches(images, torch.zeros(2, num_asked, dtype=torch.int64))
    for hook in hooks:
        hook.remove()
    assert len(calls) == 3


@pytest.mark.parametrize("height", [32, 64])
def test_shapes_and_unit_length(named, height):
    name, network = named
    images = random_images(2, 3, height, 96)
    embeddings = network(images, ATTRIBUTES_BK)
    width = THIRD_STAGE_WIDTH if name == "asen_v2" else EMBEDDING_DIM
    assert embeddings.shape == (2, 3, width)
    torch.testing.assert_close(embeddings.norm(dim=-1), torch.ones(2, 3, dtype=torch.float64))
    assert isinstance(network, AttentionNetwork) == (name not in POOL_FIRST)
    if isinstance(network, AttentionNetwork):
        maps = network.spatial_attention(images, ATTRIBUTES_BK)
        assert maps.shape == (2, 3, height // 16, 6)


def test_lengths_are_one_in_bf16_too(named):
    network = copy.deepcopy(named[1]).float()
    images = random_images(2, 3, 32, 32, dtype=torch.float32)
    exported = torch.export.export(network, (images, ATTRIBUTES_BK)).module()
    for made in (network, exported):
        plain = made(images, ATTRIBUTES_BK)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            embeddings = made(images, ATTRIBUTES_BK)
            trained = network.forward_branches(images, ATTRIBUTES_BK)[0]
        assert not torch.equal(embeddings, plain), "autocast was on"
        for each in (embeddings, trained):
            assert each.dtype == torch.float32
            lengths = each.double().norm(dim=-1)
            torch.testing.assert_close(lengths, torch.ones_like(lengths), rtol=0, atol=1e-6)


def test_lengths_in_float32_have_torchs_own_bits_forward_and_backward():
    vectors = torch.randn(64, 3, EMBEDDING_DIM, generator=torch.Generator().manual_seed(3))
    vectors[0] = 0
    slopes = torch.randn(vectors.shape, generator=torch.Generator().manual_seed(4))
    found = []
    for normalise in (unit_length, partial(torch.nn.functional.normalize, dim=-1)):
        leaf = vectors.clone().requires_grad_()
        unit = normalise(leaf)
        found.append((unit, *torch.autograd.grad(unit, leaf, slopes)))
    assert all(map(torch.equal, *found))


def test_maps_without_a_scale_sum_to_one(images):
    for name in ("asen", "asen_v2", "attn_fashion"):
        maps = randomise(build(name)).spatial_attention(images, ATTRIBUTES_BK)
        torch.testing.assert_close(maps.sum(dim=(2, 3)), torch.ones(2, 3, dtype=torch.float64))


def test_some_networks_classify(named, images):
    name, network = named
    embeddings, outputs = network.forward_branches(images, ATTRIBUTES_BK)
    assert torch.equal(embeddings, network(images, ATTRIBUTES_BK))
    assert {key: output.shape for key, output in outputs.items()} == OUTPUTS.get(name, {})


def test_no_stage_is_held_that_is_not_used(named):
    name, network = named
    backbone = next(module for module in network.modules() if isinstance(module, Backbone))
    held = list(backbone.last_stage.parameters())
    assert bool(held) == (name in POOL_FIRST)


@pytest.mark.parametrize("name", [name for name in NAMES if name != CUTS])
def test_no_map_is_made_per_attribute_forward_or_backward(name):
    network = build(name, embedding_dim=THIRD_STAGE_WIDTH, normalise_features=True)
    images = random_images(2, 3, IMAGE_SIZE_PX, IMAGE_SIZE_PX, dtype=torch.float32)
    attributes_BK = torch.arange(MANY).expand(2, -1) % NUM_ATTRIBUTES
    with LargestOutput() as largest:
        network(images, attributes_BK)
        features = network.features(images).detach().requires_grad_()
        network.embed(features, attributes_BK).sum().backward()
    assert largest.numel < MAP_PER_ATTRIBUTE / 2


def test_a_map_per_attribute_would_be_noticed():
    side = IMAGE_SIZE_PX // 16
    with LargestOutput() as largest:
        torch.ones(2, MANY, 1, side, side) * torch.ones(2, 1, THIRD_STAGE_WIDTH, side, side)
    assert largest.numel == MAP_PER_ATTRIBUTE
    vectors = torch.ones(2, MANY, THIRD_STAGE_WIDTH, 1, 1, requires_grad=True)
    attended = vectors.expand(-1, -1, -1, side, side).sum()
    with LargestOutput() as largest:
        attended.backward()
    assert largest.numel == MAP_PER_ATTRIBUTE


def test_for_inference_the_same_embeddings_without_what_training_needs(named, images):
    name, network = named
    network.eval()
    small = network.for_inference()
    assert torch.equal(small(images, ATTRIBUTES_BK), network(images, ATTRIBUTES_BK))
    names, small_names = ({key for key, _ in each.named_parameters()} for each in (network, small))
    left_out = TRAINED_ONLY.get(name, "nothing")
    assert small_names == {key for key in names if not key.startswith(left_out)}
    if name in TRAINED_ONLY:
        assert small_names < names
        assert network.forward_branches(images, ATTRIBUTES_BK)[1], "left as it was"
