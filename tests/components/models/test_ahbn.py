"""AHBN: what its branches are supervised by, what it leaves out, and what it refuses.

`test_equations.py` compares its descriptors.
"""

import pytest
import torch
from comparison import ROUNDING, randomise, relative_error
from paper_equations import average, linear
from small_network import (
    ATTRIBUTES_BK,
    NUM_HOURGLASSES,
    NUM_LANDMARKS,
    NUM_VALUES,
    build,
    random_images,
)

import components.models.ahbn as module
from components.errors import HemlineError
from components.models.ahbn import AHBN, signed_root
from components.models.build import build_model

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def network() -> AHBN:
    return randomise(build("ahbn"))


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return random_images(2, 3, 64, 64)


def test_values_are_named_from_the_mean_of_the_attribute_branch(network, images):
    _, outputs = network.forward_branches(images, ATTRIBUTES_BK)
    for image, logits in zip(images, outputs["values"], strict=True):
        _, third = network.backbone(image[None])
        expected = linear(network.values, average(network.backbone.last_stage(third)[0]))
        assert relative_error(logits, expected) < ROUNDING


def test_landmarks_are_found_by_every_block_and_read_from_the_last(network, images):
    _, outputs = network.forward_branches(images, ATTRIBUTES_BK)
    heat_maps = outputs["landmarks"]
    assert heat_maps.shape == (2, NUM_HOURGLASSES, NUM_LANDMARKS, 16, 16)
    highest = heat_maps[:, -1].flatten(2).argmax(dim=-1)
    expected = torch.stack([highest % 16, highest // 16], dim=-1)
    torch.testing.assert_close(network.find_landmarks(images), (expected + 0.5) / 16)


def test_permuting_the_places_leaves_the_descriptor(network):
    """It is a mean over places of what each of them is; the same for all images of a batch."""
    first, second = random_images(2, 40, 8, 8), random_images(2, 16, 8, 8).sin()
    order = torch.randperm(64, generator=torch.Generator().manual_seed(4))

    def permuted(map_BCHW):
        return map_BCHW.flatten(2)[:, :, order].view_as(map_BCHW)

    before = network._describe(first, second)
    assert relative_error(network._describe(permuted(first), permuted(second)), before) < ROUNDING
    others = network._describe(permuted(first), second)
    assert relative_error(others, before) > 1e-3  # places of one map belong to those of the other


def test_weighing_channels_before_pooling_is_weighing_them_after(network, images):
    """The paper's algorithm and its text differ in the order."""
    first, second, _ = network._look(images)
    weights = network.co_attention(first, second)
    before = [module._resample(a * x, 8) for a, x in zip(weights, (first, second), strict=True)]
    after = [a * module._resample(x, 8) for a, x in zip(weights, (first, second), strict=True)]
    for x, y in zip(before, after, strict=True):
        assert relative_error(x, y) < ROUNDING


def test_the_signed_root_keeps_signs_and_has_a_slope_at_nothing():
    numbers = torch.tensor([4.0, -9.0, 0.0], dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(
        signed_root(numbers), torch.tensor([2.0, -3, 0]).double(), atol=2e-3, rtol=0
    )
    (slopes,) = torch.autograd.grad(signed_root(numbers).sum(), numbers)
    assert slopes[2] == pytest.approx(0.5e3)  # 1 / (2 sqrt(e))
    small = torch.tensor([1e-5, -1e-7, 1e-3], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(signed_root, small, eps=1e-9, atol=1e-2)


def test_without_supervision_there_is_nothing_but_the_embedding(images):
    network = randomise(build("ahbn", attribute_supervision=False, landmark_supervision=False))
    assert network.forward_branches(images, ATTRIBUTES_BK)[1] == {}
    assert network.find_landmarks(images) is None
    assert not any("heads" in name for name in network.state_dict())


@pytest.mark.parametrize(
    ("branch", "absent"), [("attribute", "hourglass"), ("landmark", "backbone")]
)
def test_one_branch_has_no_part_of_the_other(branch, absent):
    network = build("ahbn", branches=branch)
    assert not any(
        name.startswith((absent, "co_attention", "fusion")) for name in network.state_dict()
    )


def test_heat_maps_that_are_fused_stay_for_inference(images):
    network = randomise(build("ahbn", landmark_maps="heat_maps"))
    served = network.for_inference()
    assert torch.equal(served(images, ATTRIBUTES_BK), network(images, ATTRIBUTES_BK))
    assert len(served.hourglass.heads) == NUM_HOURGLASSES


def test_an_image_of_any_size_has_the_same_grid():
    network = randomise(build("ahbn"))
    for size_px in (32, 48, 96, 160):
        assert network(random_images(1, 3, size_px, size_px), ATTRIBUTES_BK[:1]).shape == (1, 3, 12)


def test_data_without_landmarks_or_values_is_refused_with_the_remedy():
    numbers = {
        "name": "ahbn",
        "backbone": "tiny",
        "weights": "none",
        "embedding_dim": 8,
        "attention_dim": 8,
        "normalise_features": True,
    }
    with pytest.raises(
        HemlineError, match=r"landmark_supervision .* marks none .*branches attribute"
    ):
        build_model(num_values=[2], num_landmarks=0, **numbers)
    build_model(num_values=[2], num_landmarks=0, landmark_supervision=False, **numbers)
    build_model(num_values=[2], num_landmarks=0, branches="attribute", **numbers)
    with pytest.raises(HemlineError, match=r"attribute_supervision .* none but items: false"):
        build_model(num_values=[0], num_landmarks=2, **numbers)


def test_all_products_are_refused_where_they_are_too_many(monkeypatch):
    monkeypatch.setattr(module, "_MOST_WEIGHTS", 40 * 16 * 12 - 1)
    with pytest.raises(HemlineError, match=r"fusion bilinear: 640 products .*compact_bilinear"):
        build("ahbn", fusion="bilinear")
    build("ahbn")


def test_its_values_are_counted_without_items():
    network = build_model(
        name="ahbn",
        num_values=[2, 0, 3],
        num_landmarks=1,
        backbone="tiny",
        weights="none",
        embedding_dim=8,
        attention_dim=8,
        normalise_features=True,
    )
    assert network.values.out_features == 5
    assert sum(NUM_VALUES) == build("ahbn").values.out_features
