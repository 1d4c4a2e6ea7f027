"""AG-MAN as a whole: against the paper's equations, and the promises of one backbone pass."""

import paper_equations as paper
import pytest
import torch
from safetensors.torch import load_file

from components.attributes import Attribute, AttributeSchema
from components.errors import HemlineError
from components.images.transforms import normalise
from components.models.ag_man import AGMAN
from components.models.backbones import build_backbone
from components.models.build import build_model
from components.tracking.package import read_package, write_package
from components.training.state import save_weights

torch.set_num_threads(1)

NUM_ATTRIBUTES = 5
ATTRIBUTES_BK = torch.tensor([[4, 0, 2], [1, 3, 3]])
ROUNDING = 1e-9  # float64 through eighteen layers, summed in another order


def build(*, spatial_kernel_size: int = 1, normalise_features: bool = False) -> AGMAN:
    torch.manual_seed(1)
    return AGMAN(
        build_backbone("resnet18", weights="none"),
        num_attributes=NUM_ATTRIBUTES,
        embedding_dim=12,
        attention_dim=8,
        normalise_features=normalise_features,
        spatial_kernel_size=spatial_kernel_size,
    )


def random_images(*shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(2), dtype=dtype)


@pytest.fixture(scope="module")
def network() -> AGMAN:
    return paper.randomise(build())


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return random_images(2, 3, 32, 48)


@pytest.mark.parametrize("kernel_size", [1, 7])
@pytest.mark.parametrize(("asa_scale", "normalised"), [(1.4, False), (-0.9, True)])
def test_embeddings_are_those_of_the_equations(kernel_size, asa_scale, normalised):
    network = paper.randomise(build(spatial_kernel_size=kernel_size, normalise_features=normalised))
    network.asa.scale.data.fill_(asa_scale)
    images = random_images(2, 3, 32, 48).requires_grad_()
    expected = torch.stack(
        [
            torch.stack([paper.embedding(network, image, int(a)) for a in attributes_K])
            for image, attributes_K in zip(images, ATTRIBUTES_BK, strict=True)
        ]
    )
    actual = network(images, ATTRIBUTES_BK)
    assert paper.relative_error(actual, expected) < ROUNDING

    found = paper.gradients(actual, network, images)
    wanted = paper.gradients(expected, network, images)
    used = {name for name, _ in network.named_parameters() if not name.startswith("classifier.")}
    assert found.keys() == wanted.keys() == used | {"input 0"}
    for name in wanted:
        assert paper.relative_error(found[name], wanted[name]) < ROUNDING, name


def test_branch_one_is_the_fourth_stage_pooled_and_classified(network, images):
    _, logits = network.forward_branches(images, ATTRIBUTES_BK)
    expected = torch.stack([paper.attribute_logits(network, image) for image in images])
    assert paper.relative_error(logits, expected) < ROUNDING
    found, wanted = (paper.gradients(output, network) for output in (logits, expected))
    assert found.keys() == wanted.keys()
    for name in wanted:
        assert paper.relative_error(found[name], wanted[name]) < ROUNDING, name


def test_forward_branches_embeds_as_forward_does(network, images):
    embeddings, logits = network.forward_branches(images, ATTRIBUTES_BK)
    assert torch.equal(embeddings, network(images, ATTRIBUTES_BK))
    assert logits.shape == (2, NUM_ATTRIBUTES)


def test_one_pass_for_all_attributes_equals_one_pass_each(network, images):
    every_BN = torch.arange(NUM_ATTRIBUTES).expand(len(images), -1)
    together = network(images, every_BN)
    for attribute in range(NUM_ATTRIBUTES):
        alone = network(images, every_BN[:, attribute : attribute + 1])
        assert paper.relative_error(together[:, attribute], alone[:, 0]) < ROUNDING
    for first in range(NUM_ATTRIBUTES - 1):  # or else the attribute would not matter
        assert not torch.allclose(together[:, first], together[:, first + 1], atol=1e-3)


@pytest.mark.parametrize("num_asked", [1, 5, 9])
def test_the_backbone_runs_once_whatever_is_asked(network, images, num_asked):
    calls = []
    hooks = [
        module.register_forward_hook(lambda *_: calls.append(1))
        for module in (network.backbone, network.backbone.stage3)
    ]
    network.forward_branches(images, torch.zeros(2, num_asked, dtype=torch.int64))
    for hook in hooks:
        hook.remove()
    assert len(calls) == 2


def test_branch_one_does_not_run_when_only_embeddings_are_asked(network, images):
    calls = []
    hook = network.classifier.register_forward_hook(lambda *_: calls.append(1))
    network(images, ATTRIBUTES_BK)
    network.spatial_attention(images, ATTRIBUTES_BK)
    hook.remove()
    assert not calls


@pytest.mark.parametrize("size", [(32, 32), (48, 64), (16, 80)])
def test_shapes_and_unit_length(network, size):
    height, width = size
    images = random_images(2, 3, height, width)
    embeddings = network(images, ATTRIBUTES_BK)
    assert embeddings.shape == (2, 3, 12)
    torch.testing.assert_close(embeddings.norm(dim=-1), torch.ones(2, 3, dtype=torch.float64))
    maps = network.spatial_attention(images, ATTRIBUTES_BK)
    assert maps.shape == (2, 3, height // 16, width // 16)


def test_spatial_attention_is_the_weight_of_the_attended_map(network, images):
    maps = network.spatial_attention(images, ATTRIBUTES_BK)
    for image, attributes_K, maps_K in zip(images, ATTRIBUTES_BK, maps, strict=True):
        features, _ = paper.fused_features(network, image)
        for attribute, map_HW in zip(attributes_K, maps_K, strict=True):
            expected = paper.attended_map(network, features, int(attribute))
            assert paper.relative_error(map_HW * features, expected) < ROUNDING


def test_weights_survive_safetensors(network, images, tmp_path):
    save_weights(network, tmp_path / "network.safetensors")
    other = build().double().eval()
    assert not torch.equal(other(images, ATTRIBUTES_BK), network(images, ATTRIBUTES_BK))
    other.load_state_dict(load_file(tmp_path / "network.safetensors"))
    assert torch.equal(other(images, ATTRIBUTES_BK), network(images, ATTRIBUTES_BK))


def test_the_exported_graph_gives_the_same_for_other_batches_and_attributes(tmp_path):
    network = build().eval()
    schema = AttributeSchema(
        dataset="made up", attributes=(Attribute(name="length", values=("short", "long")),)
    )
    write_package(network, tmp_path, schema=schema, image_size_px=32)
    package = read_package(tmp_path)
    assert (package.schema, package.image_size_px) == (schema, 32)
    exported = package.load_network()
    generator = torch.Generator().manual_seed(3)
    for num_images, num_asked in [(1, 1), (1, 4), (5, 1), (7, 3)]:
        pixels = torch.randint(0, 256, (num_images, 32, 32, 3), generator=generator).byte()
        attributes = torch.randint(0, NUM_ATTRIBUTES, (num_images, num_asked), generator=generator)
        expected = network(normalise(pixels), attributes)
        # float32; the graph may order its sums differently
        torch.testing.assert_close(exported(pixels, attributes), expected, rtol=1e-4, atol=1e-5)


def test_build_model_takes_its_numbers_and_refuses_other_names():
    numbers = {
        "num_attributes": 3,
        "embedding_dim": 24,
        "attention_dim": 8,
        "normalise_features": True,
    }
    network = build_model(name="ag_man", backbone="resnet18", weights="none", **numbers).eval()
    embeddings, logits = network.forward_branches(
        random_images(1, 3, 32, 32, dtype=torch.float32), torch.tensor([[0, 2]])
    )
    assert embeddings.shape == (1, 2, 24)
    assert logits.shape == (1, 3)
    with pytest.raises(HemlineError, match=r"model\.name: no network 'asen'"):
        build_model(name="asen", backbone="resnet18", weights="none", **numbers)
