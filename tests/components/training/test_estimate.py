"""The memory that a training step is expected to take, against what a real one keeps."""

import pytest
import torch

from components.images.transforms import normalise
from components.models.build import build_model
from components.networks import IMAGENET_PIXELS
from components.training.estimate import _kept_bytes, estimate_memory

pytestmark = pytest.mark.slow

SIZE_PX, NUM_ATTRIBUTES = 64, 3


def network(name: str = "ag_man"):
    return build_model(
        name=name,
        num_values=[2] * NUM_ATTRIBUTES,
        backbone="tiny",
        weights="none",
        embedding_dim=32,
        attention_dim=16,
        normalise_features=True,
    )


@pytest.mark.parametrize("bf16", [False, True], ids=["fp32", "bf16"])
@pytest.mark.parametrize("name", ["ag_man", "csn"])
def test_activations_are_those_of_a_batch_of_that_size(name, bf16):
    memory = estimate_memory(
        network(name),
        num_images=12,
        num_asked=NUM_ATTRIBUTES,
        image_size_px=SIZE_PX,
        bf16=bf16,
        averages=False,
    )
    images = normalise(torch.zeros((12, SIZE_PX, SIZE_PX, 3), dtype=torch.uint8), IMAGENET_PIXELS)
    asked = torch.zeros((12, NUM_ATTRIBUTES), dtype=torch.int64)
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        assert memory.activations == _kept_bytes(network(name).train(), images, asked)


def test_what_is_learned_is_held_four_times():
    model = network()
    learned = 4 * sum(parameter.numel() for parameter in model.parameters())
    sizes = {"num_images": 4, "num_asked": 1, "image_size_px": SIZE_PX, "bf16": False}
    memory = estimate_memory(model, **sizes, averages=True)
    assert (memory.gradients, memory.optimizer) == (learned, 2 * learned)
    statistics = sum(buffer.numel() * buffer.element_size() for buffer in model.buffers())
    assert memory.weights == learned + statistics
    assert memory.average == memory.weights
    without = estimate_memory(model, **sizes, averages=False)
    assert without.total == memory.total - memory.average
