"""Validation, and what it says of a network that does not learn."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from small_run import HERE, SCHEMA, write_inputs
from torch import Tensor, nn

from components import tables
from components.images.store import ImageStore
from components.networks import IMAGENET_PIXELS
from components.training.validation import trouble, validate


class Embedding(nn.Module):
    """A network that embeds images [B, 3, S, S] by a function, alike for every attribute."""

    pixel_statistics = IMAGENET_PIXELS

    def __init__(self, embed: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self._embed = embed

    def forward(self, images: Tensor, attributes_BK: Tensor) -> Tensor:
        vectors = nn.functional.normalize(self._embed(images), dim=-1)
        return vectors[:, None].expand(-1, attributes_BK.shape[1], -1)


def one_point(images: Tensor) -> Tensor:
    return torch.ones(len(images), 2)


def colour(images: Tensor) -> Tensor:
    """Red or blue, by which the pictures differ in their first attribute, and a little noise."""
    return images[:, [0, 2]].mean(dim=(2, 3))


def validated(folder: Path, embed: Callable[[Tensor], Tensor]) -> dict[str, float]:
    inputs = write_inputs(folder, num_epochs=1, steps_per_epoch=1)
    return validate(
        Embedding(embed),
        ImageStore(inputs.store.local()),
        tables.read_splits(inputs.splits),
        num_attributes=len(SCHEMA.attributes),
        asked=range(len(SCHEMA.attributes)),
        place=HERE,
        autocast=torch.autocast("cpu", enabled=False),
    )


def test_a_network_of_one_point_scores_as_random_and_has_collapsed(tmp_path: Path) -> None:
    found = validated(tmp_path, one_point)
    assert found["valid_mean_similarity"] == pytest.approx(1)
    assert found["valid_map"] == pytest.approx(found["valid_random_map"])
    assert found["valid_gain_low"] == 0
    # of 4 gallery items 2 are relevant: (1 + (1 + 1/3) / 2 + (1 + 2/3) / 3 + (1 + 1) / 4) / 4
    assert found["valid_random_map"] == pytest.approx(100 * (1 + 2 / 3 + 5 / 9 + 1 / 2) / 4)
    text = trouble(found | {"active_share": 1.0}, epoch=3, num_epochs=50)
    assert text.startswith("the embeddings have collapsed: after 3 epochs")
    assert "1.000" in text
    assert "train.learning_rate" in text


def test_a_network_that_tells_a_value_is_above_random(tmp_path: Path) -> None:
    found = validated(tmp_path, colour)
    assert found["valid_map"] > found["valid_random_map"] + 10
    assert found["valid_mean_similarity"] < 0.5


ROW = {
    "valid_map": 77.4,
    "valid_random_map": 75.1,
    "valid_gain_low": -0.5,
    "valid_mean_similarity": 0.2,
    "active_share": 0.98,
}


def test_no_better_than_random_is_said_with_its_numbers_and_remedies() -> None:
    text = trouble(ROW, epoch=7, num_epochs=50)
    assert text.startswith("no better than random after 7 epochs: validation MAP 77.40")
    for part in ("75.10", "98%", "train.learning_rate", "model.weights", "hemline describe"):
        assert part in text


@pytest.mark.parametrize(
    ("epoch", "num_epochs", "warns"), [(2, 9, False), (3, 9, True), (1, 1, True)]
)
def test_a_network_has_three_epochs_to_warm_up(epoch: int, num_epochs: int, warns: bool) -> None:
    assert (trouble(ROW, epoch=epoch, num_epochs=num_epochs) is not None) == warns


def test_a_network_that_learns_is_not_warned_of() -> None:
    assert trouble(ROW | {"valid_gain_low": 0.5}, epoch=9, num_epochs=9) is None
