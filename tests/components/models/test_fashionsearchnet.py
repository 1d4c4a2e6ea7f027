"""FashionSearchNet-v2: its classifiers of values, its maps and boxes, and what it makes per image.

`test_equations.py` compares its embeddings.
"""

import fashionsearchnet_equations as paper
import pytest
import torch
from comparison import ROUNDING, assert_same, randomise, relative_error
from small_network import ATTRIBUTES_BK, NUM_ATTRIBUTES, NUM_VALUES, build, random_images

torch.set_num_threads(1)

NAME = "fashionsearchnet_v2"
PARTS = {"localisation": True, "feature_fusion": False, "normalise_features": False}


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return random_images(2, 3, 96, 64)


@pytest.fixture(scope="module")
def network(images):
    return paper.sharpened(randomise(build(NAME)), images)


def each_asked(images):
    """Yields image number, place among the attributes asked, image and attribute."""
    for image, attributes_K in enumerate(ATTRIBUTES_BK.tolist()):
        for k, attribute in enumerate(attributes_K):
            yield image, k, images[image], attribute


def in_cells(boxes: torch.Tensor) -> list[list[list[int]]]:
    """Returns boxes in cells of the images' maps, 4 across and 6 down."""
    return (boxes * torch.tensor([4, 6, 4, 6])).round().int().tolist()


def test_both_classifiers_are_those_of_the_equations(network):
    """Eq. 1 and 2, values and gradients."""
    images = random_images(2, 3, 32, 48)
    outputs = network.forward_branches(images, ATTRIBUTES_BK)[1]
    logits = torch.stack([outputs["map_values"], outputs["branch_values"]], dim=2)
    expected = torch.full_like(logits, -1e9)
    for image, k, pixels, attribute in each_asked(images):
        conv5 = paper.features(network, pixels, PARTS)
        for which, reading in enumerate((paper.map_logits, paper.branch_logits)):
            of_values = reading(network, conv5, attribute, PARTS)
            expected[image, k, which, : NUM_VALUES[attribute]] = of_values
    known = expected > -1e9
    assert_same(network, logits[known], expected[known])
    assert torch.equal(logits[~known], expected[~known])
    assert not logits.softmax(dim=-1)[~known].any()


def test_the_second_classifier_teaches_the_maps_nothing(network):
    outputs = network.forward_branches(random_images(2, 3, 32, 48), ATTRIBUTES_BK)[1]
    beyond = [*network.conv7.parameters(), *network.classifiers.parameters()]
    loss = outputs["branch_values"].sum()
    found = torch.autograd.grad(loss, beyond, allow_unused=True)
    assert all(gradient is None for gradient in found)


def test_the_maps_are_those_of_eq_3_where_they_speak_for_the_value(network, images):
    maps = network.spatial_attention(images, ATTRIBUTES_BK)
    assert torch.equal(network.forward_with_maps(images, ATTRIBUTES_BK)[1], maps)
    for image, k, pixels, attribute in each_asked(images):
        conv5 = paper.features(network, pixels, PARTS)
        expected = paper.activation_map(network, conv5, attribute, PARTS)
        if expected.max() > 0:
            assert relative_error(maps[image, k], expected.clamp(min=0)) < ROUNDING
        else:
            assert torch.equal(maps[image, k], torch.ones_like(expected))


def test_the_boxes_are_those_of_the_maps(network, images):
    boxes = in_cells(network.boxes(images, ATTRIBUTES_BK))
    found = set()
    for image, k, pixels, attribute in each_asked(images):
        conv5 = paper.features(network, pixels, PARTS)
        box = paper.box(paper.activation_map(network, conv5, attribute, PARTS))
        assert tuple(boxes[image][k]) == box
        found.add(box)
    assert len(found) > 1  # or else boxes of anything would do


def test_a_map_without_anything_positive_makes_a_box_of_all(images):
    network = randomise(build(NAME))
    for classifier in network.classifiers:
        classifier.weight.data.fill_(-1)  # of features that are 0 or above
    maps = network.spatial_attention(images, ATTRIBUTES_BK)
    assert torch.equal(maps, torch.ones(2, 3, 6, 4, dtype=torch.float64))
    assert network.boxes(images, ATTRIBUTES_BK).tolist() == [[[0, 0, 1, 1]] * 3] * 2


def test_without_localisation_the_box_is_the_whole_map(network, images):
    whole = randomise(build(NAME, localisation=False))
    whole.load_state_dict(network.state_dict())
    assert whole.boxes(images, ATTRIBUTES_BK).tolist() == [[[0, 0, 1, 1]] * 3] * 2
    assert relative_error(whole(images, ATTRIBUTES_BK), network(images, ATTRIBUTES_BK)) > 1e-3


def test_boxes_have_no_gradient(network):
    """So that what lies outside conv5 and the branches does not learn from embeddings."""
    embeddings = network(random_images(2, 3, 32, 48), ATTRIBUTES_BK)
    beyond = [*network.conv7.parameters(), *network.classifiers.parameters()]
    found = torch.autograd.grad(embeddings.sum(), beyond, allow_unused=True)
    assert all(gradient is None for gradient in found)


def test_dropout_is_on_in_training_only(network, images):
    def embedded() -> torch.Tensor:
        return network(images, ATTRIBUTES_BK)

    assert torch.equal(embedded(), embedded())
    network.train()
    first, second = embedded(), embedded()
    network.eval()
    assert not torch.equal(first, second)


def test_what_only_training_needs_is_left_out_for_inference(network, images):
    small = network.for_inference()
    assert torch.equal(small(images, ATTRIBUTES_BK), network(images, ATTRIBUTES_BK))
    assert small.forward_branches(images, ATTRIBUTES_BK)[1] == {}
    assert not any("branch_classifiers" in name for name in small.state_dict())
    assert network.forward_branches(images, ATTRIBUTES_BK)[1], "left as it was"


def test_the_attributes_asked_cost_no_cut_each(images):
    """Cuts are made for every attribute of the schema, however many are asked."""
    network = randomise(build(NAME))
    calls = []
    for branch in network.branches:
        branch.register_forward_hook(lambda _, given, made: calls.append(made.shape))
    network(images, torch.arange(64).expand(2, -1) % NUM_ATTRIBUTES)
    assert calls == [(2, 12)] * NUM_ATTRIBUTES
