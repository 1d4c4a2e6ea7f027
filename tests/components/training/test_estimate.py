"""The memory that a training step is expected to take, against what a real one keeps."""

from dataclasses import replace

import pytest
import torch
from small_run import MODEL, build, write_inputs
from torch.autograd.graph import saved_tensors_hooks

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


@pytest.mark.parametrize("frozen_epochs", [0, 1])
@pytest.mark.parametrize("name", ["ag_man", "asen", "fashionsearchnet_v2"])
def test_a_step_of_a_run_keeps_no_more(tmp_path, name, frozen_epochs):
    """What all branches keep counts, and of a backbone that never learns what lies behind others.

    Statistics of batches, which a frozen norm does not keep, are a few numbers a channel.
    """
    inputs = write_inputs(tmp_path, num_epochs=1, steps_per_epoch=1)
    model = replace(MODEL, name=name, embedding_dim=32)
    changes = {"loss_weighting": "fixed", "frozen_epochs": frozen_epochs}
    run = build(inputs, tmp_path / "state", model=model, **changes)
    learner = run.state.learner.train()
    network = learner.network
    learned = sum(parameter.nbytes for parameter in network.parameters() if parameter.requires_grad)
    weights = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}
    kept = {}

    def note(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage
        return tensor

    with saved_tensors_hooks(note, lambda tensor: tensor):
        learner.outputs(next(run.feed.batches(first_step=0, rank=0, world_size=1)))
    memory = estimate_memory(
        network,
        num_images=8,
        num_asked=2,
        image_size_px=32,
        bf16=False,
        averages=False,
        freezes=bool(frozen_epochs),
    )
    in_step = sum(storage.nbytes() for storage in kept.values())
    assert in_step <= memory.activations < 1.01 * in_step
    assert (memory.gradients, memory.optimizer) == (learned, 2 * learned)
