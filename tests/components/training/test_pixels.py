"""What a network sees of its pixels: the same in training, on disk and in the exported graph.

The oracle is an invariance: what was normalised is brought back with the statistics that it should
have been normalised with, and is whole numbers again, those of the image store.
"""

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_run import HERE, IMAGE_SIZE_PX, MODEL, NUM_IMAGES, SCHEMA, build, write_inputs
from torch import Tensor, nn

from components import files
from components.models.network import EmbeddingNetwork
from components.networks import IMAGENET_PIXELS, PixelStatistics
from components.registry.graph import write_package
from components.registry.package import PACKAGE_FILE, read_package
from components.training.estimate import estimate_memory
from components.training.global_ranking import rank_globally
from components.training.loop import Run, train
from components.training.setup import TrainingInputs
from components.training.state import BEST_WEIGHTS
from components.training.trained import (
    DESCRIPTION_FILE,
    TrainedModel,
    load_weights,
    read_trained_model,
    save_weights,
    write_trained_model,
)

torch.set_num_threads(1)

OWN = PixelStatistics(mean=(0.2, 0.5, 0.7), std=(0.1, 0.3, 0.9))
HALF = PixelStatistics(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
PARAMS = {"pixel_mean": list(OWN.mean), "pixel_std": list(OWN.std)}
ASKED = torch.tensor([[0, 1], [1, 0]])


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> TrainingInputs:
    return write_inputs(tmp_path_factory.mktemp("inputs"), num_epochs=1, steps_per_epoch=2)


@pytest.fixture
def pixels() -> Tensor:
    generator = torch.Generator().manual_seed(5)
    shape = (2, IMAGE_SIZE_PX, IMAGE_SIZE_PX, 3)
    return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)


def seen_by(network: nn.Module) -> list[Tensor]:
    """Returns a list that gets the images that a network's backbone is given from now on."""
    seen: list[Tensor] = []
    network.backbone.register_forward_pre_hook(lambda _, given: seen.append(given[0].detach()))
    return seen


def brought_back(images: Tensor, statistics: PixelStatistics) -> Tensor:
    """Returns the pixels [B, S, S, 3] in 0..255 of images that were normalised."""
    mean, std = (torch.tensor(colour) for colour in statistics)
    return (images.permute(0, 2, 3, 1) * std + mean) * 255


def assert_those_of_the_store(images: list[Tensor], run: Run, statistics: PixelStatistics) -> None:
    """Float32 rounding of a number below 256 that was divided by 0.1: some 1e-4."""
    stored = torch.from_numpy(run.store.gather(np.arange(NUM_IMAGES))).float()
    found = torch.cat([brought_back(each, statistics) for each in images])
    assert len(found)
    distances = torch.cdist(found.flatten(1), stored.flatten(1), p=torch.inf)
    assert distances.min(dim=1).values.max() < 1e-3
    assert set(distances.argmin(dim=1).tolist()) == set(range(NUM_IMAGES))


@pytest.mark.parametrize("ema_decay", [None, 0.5])
def test_training_and_validation_see_pixels_as_params_say(inputs, tmp_path, ema_decay):
    model = replace(MODEL, **PARAMS)
    changes = {"flip_probability": 0.0, "ema_decay": ema_decay}
    run = build(inputs, tmp_path, model=model, **changes)
    in_training, in_validation = seen_by(run.state.learner.network), seen_by(run.state.network)
    train(run, place=HERE, log=lambda *_, **__: None)
    assert_those_of_the_store(in_training, run, OWN)
    assert_those_of_the_store(in_validation, run, OWN)
    assert load_weights(tmp_path / BEST_WEIGHTS)[1] == OWN


def test_the_last_stage_and_the_estimate_see_them_too(inputs, tmp_path):
    model = replace(MODEL, name="fashionsearchnet_v2", **PARAMS)
    run = build(inputs, tmp_path, model=model, loss_weighting="fixed", global_ranking_epochs=1)
    save_weights(run.state.network, tmp_path / BEST_WEIGHTS)
    seen = seen_by(run.state.network)
    rank_globally(run, tmp_path / BEST_WEIGHTS, place=HERE, log=lambda *_, **__: None)
    assert_those_of_the_store(seen, run, OWN)
    seen.clear()
    estimate_memory(
        run.state.network,
        num_images=2,
        num_asked=2,
        image_size_px=IMAGE_SIZE_PX,
        bf16=False,
        averages=False,
    )
    assert all(brought_back(each, OWN).abs().max() < 1e-4 for each in seen)  # of black pictures


def test_what_is_erased_is_zero(inputs, tmp_path):
    model = replace(MODEL, **PARAMS)
    run = build(inputs, tmp_path, model=model, flip_probability=0.0, erase_probability=1.0)
    seen = seen_by(run.state.network)
    run.state.learner(next(run.feed.batches(first_step=0, rank=0, world_size=1)))
    (images,) = seen
    erased = (images == 0).all(dim=1).float().mean(dim=(1, 2))
    assert erased.min() > 0.01
    assert erased.max() < 0.4


def model_of(network: EmbeddingNetwork, folder: Path) -> TrainedModel:
    """Returns a network that was written and read; its params leave its pixels to its weights."""
    folder.mkdir()
    save_weights(network, folder / "best")
    write_trained_model(
        folder,
        folder / "best",
        description={"model": asdict(MODEL)},
        schema=SCHEMA,
        image_size_px=IMAGE_SIZE_PX,
    )
    return read_trained_model(folder)


def test_a_model_has_the_pixels_of_the_weights_that_it_began_with(inputs, tmp_path, pixels):
    """Which nobody asks when it is read: its own weights are all that it is built of."""
    network = build(inputs, tmp_path / "run").state.network.eval()
    network.pixel_statistics = HALF
    model = model_of(network, tmp_path / "model")
    described = files.read_json(tmp_path / "model" / DESCRIPTION_FILE)["model"]
    assert described["pixel_mean"] == described["pixel_std"] == [0.5, 0.5, 0.5]
    assert model.network.pixel_statistics == HALF
    seen = seen_by(model.network)
    with torch.inference_mode():
        model.embed(pixels, ASKED)
        model.attend(pixels, ASKED)
    assert len(seen) == 2
    for images in seen:
        torch.testing.assert_close(brought_back(images, HALF), pixels.float(), rtol=0, atol=1e-4)


def test_a_model_of_an_older_hemline_has_imagenets_pixels(inputs, tmp_path):
    network = build(inputs, tmp_path / "run").state.network
    network.pixel_statistics = HALF
    model_of(network, tmp_path / "model")
    path = tmp_path / "model" / DESCRIPTION_FILE
    description = files.read_json(path)
    for key in PARAMS:
        del description["model"][key]
    files.write_json(description, path)
    assert read_trained_model(tmp_path / "model").network.pixel_statistics == IMAGENET_PIXELS


def test_the_exported_graph_takes_pixels_as_they_are(inputs, tmp_path, pixels):
    """Without branch 1 too, which is a copy of the network."""
    model = replace(MODEL, **PARAMS)
    network = build(inputs, tmp_path / "run", model=model).state.network.eval()
    served = network.for_inference()
    assert served is not network
    write_package(served, tmp_path / "package", schema=SCHEMA, image_size_px=IMAGE_SIZE_PX)
    described = files.read_json(tmp_path / "package" / PACKAGE_FILE)["pixel_statistics"]
    assert described == {"mean": list(OWN.mean), "std": list(OWN.std)}
    mean, std = (torch.tensor(colour) for colour in OWN)
    images = ((pixels / 255 - mean) / std).permute(0, 3, 1, 2)
    with torch.inference_mode():
        found = read_package(tmp_path / "package").load_network()(pixels, ASKED)
        expected = network(images, ASKED)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    network.pixel_statistics = IMAGENET_PIXELS  # what was exported stays as it is
    with torch.inference_mode():
        again = read_package(tmp_path / "package").load_network()(pixels, ASKED)
    assert torch.equal(again, found)
