"""Images per second of a registered graph by PyTorch and by OpenVINO, on one core.

    python -m benchmarks.runtimes                                       # ResNet-18, 96 px
    python -m benchmarks.runtimes --backbone resnet50 --image-size-px 224

AG-MAN with 8 attributes; the ways take turns, each in a process of its own that keeps the memory
that it frees, as the actors of `embed` do, and each counts by its fastest time. Published is a
backbone pass for every attribute, all maps made in full, in float32; its process, and one of torch
in bf16, are as Python starts them. Weights are random: what 8-bit integers cost in MAP is measured
by the stage `evaluate`.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.embed_attributes import NUM_ATTRIBUTES, embed_as_published
from benchmarks.embed_images import pack
from benchmarks.machine import machine
from benchmarks.own_process import own_processes
from benchmarks.photographs import write_photographs
from components.freed_memory import keep_freed_memory
from components.images.decode import decode
from components.images.transforms import normalise
from components.models.ag_man import AGMAN
from components.models.build import build_model
from components.networks import IMAGENET_PIXELS
from components.registry.openvino_graph import quantise
from components.registry.package import Inference, Package, read_package

INFERENCES = (
    Inference("torch", "fp32"),
    Inference("torch", "bf16"),
    Inference("openvino", "fp32"),
    Inference("openvino", "bf16"),
    Inference("openvino", "int8"),
)


def main() -> None:
    """Prints images per second, and ratios to torch in bf16 and to the published way."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--image-size-px", type=int, default=96)
    parser.add_argument("--embedding-dim", type=int, default=512)
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    size_px = arguments.image_size_px
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = build_model(
        name="ag_man",
        num_values=[2] * NUM_ATTRIBUTES,
        backbone=arguments.backbone,
        weights="none",
        embedding_dim=arguments.embedding_dim,
        attention_dim=arguments.embedding_dim // 2,
        normalise_features=True,
    ).eval()
    assert isinstance(network, AGMAN)
    network = network.for_inference()
    with tempfile.TemporaryDirectory() as temporary, own_processes() as begin:
        folder = Path(temporary)
        listed = write_photographs(
            folder, num_images=arguments.images, num_pictures=64, side_px=size_px
        )
        pixels = np.stack(
            [
                decode((folder / path).read_bytes(), image_size_px=size_px)
                for path in listed["path"].to_pylist()
            ]
        )
        quantise(
            network, folder / "quantised", pixels_nSS3=pixels[:64], num_attributes=NUM_ATTRIBUTES
        )
        pack(network, folder / "package", image_size_px=size_px, quantised=folder / "quantised")
        package = read_package(folder / "package")
        batches = torch.from_numpy(pixels).split(arguments.batch_size)
        ways: dict[str, Callable[[], float]] = {
            "published": begin(published_speed, network, batches[0]),
            "torch bf16, as Python starts it": begin(
                speed_of, package.run_by(Inference("torch", "bf16")), batches, keeps=False
            ),
        }
        for inference in INFERENCES:
            ways[" ".join(inference)] = begin(speed_of, package.run_by(inference), batches)
        speeds = dict.fromkeys(ways, 0.0)
        for _ in range(arguments.rounds):
            for name, measure in ways.items():
                speeds[name] = max(speeds[name], measure())
    print(f"{machine()}; one thread, batches of {arguments.batch_size}")
    print(f"AG-MAN on {arguments.backbone}, {size_px} px, {NUM_ATTRIBUTES} attributes")
    for name, speed in speeds.items():
        of_bf16, of_published = (speed / speeds[each] for each in ("torch bf16", "published"))
        print(
            f"{name:31} {speed:8.1f} images/s {of_bf16:6.2f} x bf16 {of_published:6.1f} x published"
        )


def speed_of(
    package: Package, batches: tuple[Tensor, ...], *, keeps: bool = True
) -> Callable[[], float]:
    """Returns what gives the images per second of CPU time by a package's graph."""
    torch.set_num_threads(1)
    if keeps:
        keep_freed_memory()
    network = package.load_network()
    return partial(timed, partial(embed, network, batches), sum(map(len, batches)))


def published_speed(network: AGMAN, pixels: Tensor) -> Callable[[], float]:
    """Returns what gives the images per second of CPU time in the published way."""
    torch.set_num_threads(1)
    return partial(timed, partial(embed_published, network, pixels), len(pixels))


def timed(run: Callable[[], None], num_images: int) -> float:
    """Returns images per second of this process's CPU time."""
    start = time.process_time()
    run()
    return num_images / (time.process_time() - start)


@torch.inference_mode()
def embed(network: nn.Module, batches: tuple[Tensor, ...]) -> None:
    """Embeds pixels for all attributes."""
    for batch in batches:
        network(batch, torch.arange(NUM_ATTRIBUTES).expand(len(batch), -1))


@torch.inference_mode()
def embed_published(network: AGMAN, pixels: Tensor) -> None:
    """Embeds a batch of pixels for all attributes, one after the other."""
    images = normalise(pixels, IMAGENET_PIXELS).contiguous()
    for attribute in range(NUM_ATTRIBUTES):
        embed_as_published(network, images, torch.full((len(images), 1), attribute))


if __name__ == "__main__":
    main()
