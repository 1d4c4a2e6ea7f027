"""The head of a report speaks English: no names of Python or of params.yaml."""

import re
from dataclasses import asdict
from typing import get_args

import pytest

from components.evaluation.figures import landmarks_text
from components.networks import BACKBONES, NETWORK_PARTS, NetworkName
from components.params import ModelParams, SamplingParams, SplitParams, TrainParams
from components.report.words import (
    network_in_words,
    network_name,
    recipe_in_words,
    split_in_words,
)

PYTHON = re.compile(r"None|True|False|\w_\w|[{}\[\]]")


def choices(section: type, name: str) -> tuple[str, ...]:
    """Returns what a key of the params may be."""
    return get_args(section.__dataclass_fields__[name].type)


def test_the_defaults_in_words() -> None:
    model = asdict(ModelParams())
    assert network_in_words(model, num_parameters=11_600_000) == (
        "AG-MAN on a ResNet-18, trained from random weights; embeddings of 256 numbers; "
        "spatial attention of width 128; features normalised before the attentions; "
        "11.60 M parameters"
    )
    params = {f"train.{name}": str(value) for name, value in asdict(TrainParams()).items()}
    params |= {f"sampling.{name}": str(value) for name, value in asdict(SamplingParams()).items()}
    assert recipe_in_words(params, image_size_px=96) == (
        "multi-similarity loss on balanced batches; 7 epochs; Adam at a learning rate of 0.002 "
        "(schedule: one cycle); seed 3; pictures of 96 px"
    )


def test_ablations_in_words() -> None:
    switched = {"name": "ag_man", "asa": False, "aca": "none", "ca": True, "spatial_kernel_size": 7}
    assert network_in_words(switched, num_parameters=1_234_567) == (
        "AG-MAN; without attribute-guided spatial attention; "
        "without attribute-guided channel attention; with channel attention; "
        "a spatial kernel of side 7; 1.23 M parameters"
    )


def test_a_network_of_two_branches_in_words() -> None:
    ahbn = {"name": "ahbn", "fusion": "compact_bilinear", "num_hourglasses": 2, "grid_size": 16}
    ahbn |= {"landmark_maps": "heat_maps", "co_attention": "none", "landmark_supervision": False}
    assert network_in_words(ahbn, num_parameters=1_000_000) == (
        "AHBN; without supervision by landmarks; fusion of the branches: compact bilinear; without "
        "co-attention; branches fused on a grid of side 16; of the landmark branch: heat maps; "
        "stacked hourglasses: 2; 1.00 M parameters"
    )


@pytest.mark.parametrize("name", ["ahbn", "csn", "triplet_network"])
def test_networks_without_spatial_attention_have_no_width_of_it(name: str) -> None:
    described = network_in_words(asdict(ModelParams(name=name)), num_parameters=1)
    assert "spatial attention" not in described


def test_landmarks_stand_beside_their_mean_places() -> None:
    assert landmarks_text({"error": 0.0567, "mean_place_error": 0.154}) == (
        "5.7 % of the image's side from where they are; their mean places are 15.4 %"
    )


def test_what_was_trained_for_stands_in_the_recipe() -> None:
    params = {"train.objective": "classification", "sampling.attributes": "['item', 'neck line']"}
    assert recipe_in_words(params, image_size_px=96) == (
        "classification loss; trained for item, neck line; pictures of 96 px"
    )


def test_weights_of_others_in_words() -> None:
    assert "trained from ImageNet's weights (IMAGENET1K_V1)" in network_in_words(
        {"name": "csn", "backbone": "resnet50", "weights": "IMAGENET1K_V1", "masks": "fixed"},
        num_parameters=1,
    )


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ("none", "trained from random weights"),
        ("a1_in1k", "trained from timm's weights (a1_in1k)"),
        ("mine/resnet.pth", "trained from the weights in mine/resnet.pth"),
        ("package:some/resnet.pth", "trained from the weights in package:some/resnet.pth"),
    ],
)
def test_backbones_of_timm_in_words(weights: str, words: str) -> None:
    model = {"name": "csn", "backbone": "timm:resnet50d", "weights": weights}
    expected = f"CSN on timm's resnet50d, {words}; 1.00 M parameters"
    assert network_in_words(model, num_parameters=1_000_000) == expected


@pytest.mark.parametrize("name", get_args(NetworkName))
def test_every_choice_has_words(name: str) -> None:
    for backbone in BACKBONES:
        for part, values in NETWORK_PARTS[name].items():
            for value in values:
                model = {"name": name, "backbone": backbone, "weights": "none", part: value}
                text = network_in_words(model, num_parameters=1)
                assert not PYTHON.search(text.replace("32x4d", "")), text
    assert network_name(name) != name


def test_every_recipe_has_words() -> None:
    for objective in choices(TrainParams, "objective"):
        for optimizer in choices(TrainParams, "optimizer"):
            for schedule in choices(TrainParams, "schedule"):
                for method in choices(SamplingParams, "method"):
                    params = {
                        "train.objective": objective,
                        "train.optimizer": optimizer,
                        "train.schedule": schedule,
                        "sampling.method": method,
                    }
                    text = recipe_in_words(params, image_size_px=96)
                    assert not PYTHON.search(text), text
    for method in choices(SplitParams, "method"):
        assert split_in_words({"split.method": method})
        text = split_in_words({"split.method": method, "split.roles": "leave_one_out"})
        assert text.endswith("to which the data give no role ask all others")
    assert recipe_in_words({}, image_size_px=96) == "pictures of 96 px"
