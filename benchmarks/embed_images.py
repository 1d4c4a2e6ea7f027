"""Images per second of batch embedding against a bare loop and the published way; its memory.

    python -m benchmarks.embed_images             # AG-MAN on ResNet-50, 224 px, 8 attributes
    python -m benchmarks.embed_images --memory    # peaks for 2,000 and for 50,000 images

All start from JPEG files, but for the bare loop, which is given pixels: it calls the exported
graph batch after batch and throws the embeddings away. Published is a backbone pass for every
attribute, all maps made in full, in float32. Starting Ray and loading the network is not counted.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import ray
import torch
from torch import nn

from benchmarks.embed_attributes import NUM_ATTRIBUTES, ag_man, embed_as_published
from benchmarks.machine import machine, num_cores
from benchmarks.photographs import write_photographs
from benchmarks.preprocess_memory import peak_mib
from components import tables
from components.attributes import Attribute, AttributeSchema
from components.embedding.file_source import list_files
from components.embedding.job import write_on_ray
from components.embedding.making import make_parts, plan_parts
from components.embedding.part_files import Recipe
from components.images.decode import decode
from components.images.transforms import normalise
from components.models.ag_man import AGMAN
from components.models.build import build_model
from components.networks import IMAGENET_PIXELS
from components.params import EmbedParams, Precision
from components.registry.graph import write_package
from components.registry.package import read_package

BATCH_SIZE = 16
COUNTS = (2_000, 50_000)
SMALL_PX = 64


def main() -> None:
    """Prints speeds and their ratios, or peaks of memory."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1_000)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--job", type=Path, nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.job:
        images_per_s(*arguments.job, image_size_px=SMALL_PX, precision="bf16")
    elif arguments.memory:
        print_peaks()
    else:
        print_speeds(arguments.images)


def print_speeds(num_images: int) -> None:
    """Prints images per second of all ways, and ratios."""
    torch.manual_seed(0)
    network = ag_man().for_inference()
    with tempfile.TemporaryDirectory() as temporary:
        folder, package = Path(temporary) / "images", Path(temporary) / "package"
        listed = write_photographs(folder, num_images=num_images, num_pictures=64, side_px=256)
        files = [folder / path for path in listed["path"].to_pylist()]
        pack(network, package, image_size_px=224)
        rows = {"published, fp32": time_published(network, files[:16])}
        precisions: tuple[Precision, ...] = ("fp32", "bf16")
        for precision in precisions:
            loop = partial(time_loop, package, files[:256], precision)
            before = loop()
            rows[f"hemline embed, {precision}"] = images_per_s(
                folder, package, image_size_px=224, precision=precision
            )
            rows[f"bare loop, {precision}"] = max(before, loop())  # these machines are not steady
    print(f"{machine()}\n{num_images} JPEGs of 256 px to 224 px, {NUM_ATTRIBUTES} attributes")
    for name, speed in rows.items():
        of_loop = speed / rows.get(f"bare loop, {name.rpartition(' ')[2]}", speed)
        published = speed / rows["published, fp32"]
        print(f"{name:20} {speed:8.1f} images/s  {of_loop:5.2f} of the loop  {published:6.1f} x")


def pack(
    network: nn.Module, package: Path, *, image_size_px: int, quantised: Path | None = None
) -> None:
    """Exports a network as it is registered."""
    values = ("a", "b")
    names = [Attribute(name=f"attribute {n}", values=values) for n in range(NUM_ATTRIBUTES)]
    schema = AttributeSchema(dataset="benchmark", attributes=tuple(names))
    write_package(network, package, schema=schema, image_size_px=image_size_px, quantised=quantised)


def time_published(network: nn.Module, files: list[Path]) -> float:
    """Returns images per second of the published way, in one batch on all cores."""
    assert isinstance(network, AGMAN)

    def embed_all() -> None:
        pixels = [decode(file.read_bytes(), image_size_px=224) for file in files]
        images = normalise(torch.from_numpy(np.stack(pixels)), IMAGENET_PIXELS).contiguous()
        for attribute in range(NUM_ATTRIBUTES):
            embed_as_published(network, images, torch.full((len(images), 1), attribute))

    return speed_of(embed_all, len(files))


def time_loop(package: Path, files: list[Path], precision: str) -> float:
    """Returns images per second of the exported graph alone, on all cores."""
    network = read_package(package).load_network()
    pixels = np.stack([decode(file.read_bytes(), image_size_px=224) for file in files])
    asked = torch.arange(NUM_ATTRIBUTES)

    def embed_all() -> None:
        for batch in torch.from_numpy(pixels).split(BATCH_SIZE):
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                network(batch, asked.expand(len(batch), -1))

    return speed_of(embed_all, len(files))


@torch.inference_mode()
def speed_of(embed_all: Callable[[], None], num_images: int) -> float:
    """Returns images per second, after a first time that warms up."""
    embed_all()
    start = time.perf_counter()
    embed_all()
    return num_images / (time.perf_counter() - start)


def images_per_s(folder: Path, package: Path, *, image_size_px: int, precision: Precision) -> float:
    """Returns images per second of the job, from its first batch to the end of writing."""
    ray.init(
        address="local", num_cpus=num_cores() + 1, include_dashboard=False, log_to_driver=False
    )
    ray.data.DataContext.get_current().enable_progress_bars = False
    source = list_files(str(folder), numbered=tables.EMBEDDED_ITEMS.empty_table())
    recipe = Recipe(
        model_name="benchmark",
        model_version=1,
        model_sha256=precision,
        image_size_px=image_size_px,
        attributes={f"attribute {n}": n for n in range(NUM_ATTRIBUTES)},
        precision=precision,
    )
    params = EmbedParams(
        num_workers=num_cores(),
        cpus_per_worker=1,
        gpus_per_worker=0,
        batch_size_per_worker=BATCH_SIZE,
        num_readers=1,
        precision=precision,
        images_per_part=16_384,
    )
    ticks: list[tuple[float, int]] = []
    with tempfile.TemporaryDirectory() as out:
        make_parts(
            source,
            plan_parts(source, Path(out), recipe=recipe, images_per_part=params.images_per_part),
            Path(out),
            recipe=recipe,
            write=partial(
                write_on_ray, load_network=read_package(package).load_network, params=params
            ),
            batch_size=BATCH_SIZE,
            on_progress=lambda num_images: ticks.append((time.perf_counter(), num_images)),
        )
        end = time.perf_counter()
    ray.shutdown()
    (first, before), rest = ticks[1], ticks[2:]  # the first tick is of what was there already
    assert before
    return sum(num_images for _, num_images in rest) / (end - first)


def small_network() -> nn.Module:
    """Returns AG-MAN on ResNet-18."""
    return build_model(
        name="ag_man",
        num_values=[2] * NUM_ATTRIBUTES,
        backbone="resnet18",
        weights="none",
        embedding_dim=256,
        attention_dim=128,
        normalise_features=True,
    ).eval()


def print_peaks() -> None:
    """Prints the peak of all processes together for few and for many images."""
    with tempfile.TemporaryDirectory() as temporary:
        package = Path(temporary) / "package"
        torch.manual_seed(0)
        pack(small_network(), package, image_size_px=SMALL_PX)
        peaks = []
        for count in COUNTS:
            folder = Path(temporary) / f"{count}"
            write_photographs(folder, num_images=count, num_pictures=count // 10, side_px=80)
            command = ["-m", "benchmarks.embed_images", "--job"]
            peaks.append(peak_mib([*command, str(folder), str(package)]))
    print(machine())
    for count, peak in zip(COUNTS, peaks, strict=True):
        print(f"{count:6} images: {peak:6.0f} MiB at most")
    print(f"ratio {peaks[1] / peaks[0]:.2f}")


if __name__ == "__main__":
    main()
