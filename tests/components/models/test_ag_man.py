"""AG-MAN: its first branch, and where its second one looks."""

import ag_man_equations as paper
import pytest
import torch
from comparison import ROUNDING, assert_same, randomise, relative_error
from small_network import ATTRIBUTES_BK, NUM_ATTRIBUTES, build, random_images

from components.models.ag_man import AGMAN

torch.set_num_threads(1)

PARTS = {"hierarchical": True, "asa": True, "sa": True, "normalise_features": False}


@pytest.fixture(scope="module")
def network() -> AGMAN:
    return randomise(build("ag_man"))


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return random_images(2, 3, 32, 48)


@pytest.mark.parametrize("name", ["ag_man", "ag_mlan"])
@pytest.mark.parametrize("hierarchical", [True, False])
def test_branch_one_is_the_fourth_stage_pooled_and_classified(images, name, hierarchical):
    network = randomise(build(name, hierarchical=hierarchical))
    embeddings, outputs = network.forward_branches(images, ATTRIBUTES_BK)
    assert torch.equal(embeddings, network(images, ATTRIBUTES_BK))
    parts = PARTS | {"hierarchical": hierarchical}
    expected = torch.stack([paper.attribute_logits(network, image, parts) for image in images])
    of_branch_two = ("reduce.", "asa.", "sa.", "aca.", "ca.", "masks.")
    assert_same(network, outputs["attributes"], expected, unused=of_branch_two)


def test_without_classification_there_is_no_fourth_stage(images):
    network = randomise(build("ag_man", backbone="resnet18", classification=False))
    assert network.forward_branches(images, ATTRIBUTES_BK)[1] == {}
    held = sum(parameter.numel() for parameter in network.parameters())
    whole = build("ag_man", backbone="resnet18")
    of_branch_one = sum(p.numel() for p in whole.classifier.parameters())
    assert of_branch_one > 8_000_000  # the fourth stage of resnet18
    assert held == sum(p.numel() for p in whole.parameters()) - of_branch_one


def test_branch_one_does_not_run_when_only_embeddings_are_asked(network, images):
    calls = []
    hook = network.classifier.register_forward_hook(lambda *_: calls.append(1))
    network(images, ATTRIBUTES_BK)
    network.spatial_attention(images, ATTRIBUTES_BK)
    assert not calls
    network.forward_branches(images, ATTRIBUTES_BK)
    hook.remove()
    assert len(calls) == 1


@pytest.mark.parametrize("changes", [{}, {"asa": False}, {"sa": False}], ids=str)
@pytest.mark.parametrize("scale", [1.4, -0.9])
def test_spatial_attention_is_the_weight_of_the_attended_map(images, changes, scale):
    network = randomise(build("ag_man", **changes))
    if "asa" not in changes:
        network.asa.scale.data.fill_(scale)
    maps = network.spatial_attention(images, ATTRIBUTES_BK)
    for image, attributes_K, maps_K in zip(images, ATTRIBUTES_BK, maps, strict=True):
        features = paper.features(network, image, PARTS)
        for attribute, map_HW in zip(attributes_K, maps_K, strict=True):
            expected = paper.attended_map(network, features, int(attribute), PARTS | changes)
            assert relative_error(map_HW * features, expected) < ROUNDING


@pytest.mark.parametrize(("backbone", "width"), [("tiny", 32), ("resnet18", 256)])
def test_widths_follow_the_backbone(backbone, width):
    network = build("ag_man", backbone=backbone, hierarchical=False)
    assert network.reduce[0].in_channels == width
    assert build("ag_man", backbone=backbone).reduce[0].in_channels == 2 * width  # [F23; F3]
    assert network.classifier.linear.out_features == NUM_ATTRIBUTES
