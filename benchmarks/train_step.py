"""A training step: the published way written plainly, and ours; the share of waiting for data.

    python -m benchmarks.train_step
    python -m benchmarks.train_step --device cuda --triplets 128

AG-MAN on ResNet-50 without trained weights, triplets of generated photographs of 256 px. As
published: three forward passes a step (anchors, positives, negatives) in float32 on contiguous
memory, images opened, resized and normalised one by one in a DataLoader. Ours: the training loop's
own feed and learner, one forward pass of all images. Each way has a process of its own, ours one
that keeps the memory that it frees, as workers do. They take turns, so that all meet the same load;
medians. On a GPU also the model's FLOP per second against those of a large bf16 matrix product on
the same card.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.optim import Adam
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode
from torchvision.transforms import v2

from benchmarks.machine import machine, num_cores
from benchmarks.own_process import own_processes
from benchmarks.photographs import write_photographs
from components import files, tables
from components.attributes import Attribute, AttributeSchema
from components.freed_memory import keep_freed_memory
from components.images.augmentation import Augmentation
from components.images.store import ImageStore, Shard, StoredImages, write_manifest, write_shard
from components.losses.combined import CombinedLoss, attribute_classification_loss
from components.losses.ranking import triplet_loss
from components.models.build import build_model
from components.models.network import EmbeddingNetwork
from components.networks import IMAGENET_PIXELS
from components.sampling.triplets import TripletSampler, plan_triplets
from components.training.auxiliary import auxiliary_losses
from components.training.feed import Feed, mapped_pixels, resident_pixels
from components.training.loop import Pace
from components.training.objectives import loss_of_triplets
from components.training.plan import TripletPlan
from components.training.step import Learner

SOURCE_PX, SIZE_PX, NUM_ATTRIBUTES, NUM_VALUES = 256, 224, 8, 5
NUM_IMAGES = 400
MARGIN, LEARNING_RATE = 0.2, 1e-4
_WARM_ROUNDS = 2  # until memory that was freed has found its next use
MATRIX = 8192  # side of the product that the card's rate is measured with

Step = Callable[[], None]


def main() -> None:
    """Prints images/s of each way, ratios, and the share of a step spent waiting for data."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--triplets", type=int, default=16, help="of a step")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-compile", action="store_true")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    num_images = 3 * arguments.triplets
    print(f"{machine()}, {_name(device)}")
    print(f"AG-MAN, resnet50, {SIZE_PX} px, {arguments.triplets} triplets a step")
    with tempfile.TemporaryDirectory() as folder, own_processes() as begin:
        data = Data(Path(folder), num_triplets=arguments.triplets)
        ways: dict[str, Step] = {"as published": begin(turn, published, data, device)}
        ways["fp32"] = begin(turn, ours, data, device, bf16=False)
        ways["bf16"] = begin(turn, ours, data, device, bf16=True)
        if not arguments.no_compile:
            ways["bf16, compiled"] = begin(turn, ours, data, device, bf16=True, compiled=True)
        if device.type == "cuda":
            on_device = begin(turn, ours, data, device, bf16=True, resident=True)
            ways["bf16, store on the device"] = on_device
        seconds = median_seconds(ways, rounds=arguments.rounds, device=device)
        for name, of_a_step in seconds.items():
            ratio = seconds["as published"] / of_a_step
            print(f"{name:28} {num_images / of_a_step:8.1f} images/s   {ratio:5.2f} x as published")
        for resident in {False, device.type == "cuda"}:
            share = data_wait(data, device, resident=resident)
            print(f"waiting for data, bf16, {'device' if resident else 'mapped'}: {share:.2%}")
        if device.type == "cuda":
            flop = flop_of_a_step(data, device)
            rate = matrix_rate(device)
            fastest = min(of_a_step for name, of_a_step in seconds.items() if "bf16" in name)
            print(f"bf16 matrix product: {rate / 1e12:.0f} TFLOP/s")
            print(f"model FLOP utilisation: {flop / fastest / rate:.1%}")


class Data:
    """Generated photographs on disk, their store, labels and planned triplets."""

    def __init__(self, folder: Path, *, num_triplets: int) -> None:
        rng = np.random.default_rng(0)
        self.num_triplets = num_triplets
        images = write_photographs(
            folder, num_images=NUM_IMAGES, num_pictures=NUM_IMAGES, side_px=SOURCE_PX
        )
        self.files = [folder / path for path in images["path"].to_pylist()]
        self._folder = folder
        self._write_store(folder)
        self.labels = self._labels(rng)
        self._plan = folder / "train.parquet"
        triplets = plan_triplets(
            TripletSampler(self.labels),
            num_epochs=1,
            triplets_per_epoch=50 * num_triplets,
            seed=0,
        )
        files.write_row_groups(triplets, self._plan, schema=tables.TRIPLETS)
        names = [f"attribute {number}" for number in range(NUM_ATTRIBUTES)]
        values = tuple(f"value {number}" for number in range(NUM_VALUES))
        self.schema = AttributeSchema(
            dataset="generated",
            attributes=tuple(Attribute(name=name, values=values) for name in names),
        )

    @property
    def store(self) -> ImageStore:
        """The photographs' pixels, mapped anew."""
        return ImageStore(self._folder)

    def plan(self) -> TripletPlan:
        """Returns the planned triplets."""
        return TripletPlan(self._plan, triplets_per_batch=self.num_triplets, seed=0)

    def _write_store(self, folder: Path) -> None:
        pictures = [Image.open(file).resize((SIZE_PX, SIZE_PX)) for file in self.files]
        stored = StoredImages(
            list(range(NUM_IMAGES)),
            ["00" * 32] * NUM_IMAGES,
            np.stack([np.asarray(picture) for picture in pictures]),
        )
        path = folder / "shard-00000.arrow"
        write_shard(path, [stored], image_size_px=SIZE_PX, recipe="")
        shard = Shard(file=path.name, key="", num_images=NUM_IMAGES, quarantined=())
        write_manifest(folder, [shard], image_size_px=SIZE_PX)

    def _labels(self, rng: np.random.Generator) -> pa.Table:
        images = np.arange(NUM_IMAGES)
        columns = {
            "image": images,
            "attribute": images % NUM_ATTRIBUTES,
            "value": rng.integers(NUM_VALUES, size=NUM_IMAGES),
        }
        return pa.table(columns).cast(
            pa.schema([(name, tables.SPLITS.field(name).type) for name in columns])
        )


class Opened(Dataset[tuple[Tensor, int]]):
    """Images opened, resized, mirrored and normalised one by one."""

    def __init__(self, data: Data, rows: NDArray[np.int64], attributes: NDArray[np.int64]) -> None:
        self._files = [data.files[image] for image in rows.ravel()]
        self._attributes = np.repeat(attributes, 3)
        self._prepare = v2.Compose(
            [
                v2.Resize((SIZE_PX, SIZE_PX)),
                v2.RandomHorizontalFlip(),
                v2.ToImage(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(*IMAGENET_PIXELS),
            ]
        )

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        with Image.open(self._files[index]) as image:
            return self._prepare(image.convert("RGB")), int(self._attributes[index])


def network() -> EmbeddingNetwork:
    """Returns the network of the paper."""
    torch.manual_seed(0)
    return build_model(
        name="ag_man",
        num_values=[2] * NUM_ATTRIBUTES,
        backbone="resnet50",
        weights="none",
        embedding_dim=1024,
        attention_dim=512,
        normalise_features=False,
    )


def turn(make: Callable[..., Step], data: Data, device: torch.device, **options: bool) -> Step:
    """Returns what takes the steps of a way's turn, to their end; `make` makes a step."""
    step = make(data, device, **options)

    def steps() -> None:
        for _ in range(steps_at_once(device)):
            step()
        if device.type == "cuda":
            torch.cuda.synchronize()

    return steps


def steps_at_once(device: torch.device) -> int:
    """Returns how many steps a way takes in its turn."""
    return 10 if device.type == "cuda" else 3


def published(data: Data, device: torch.device) -> Step:
    """Returns a step as the papers' codes write it: a loader of opened images, three passes."""
    plan = data.plan()
    steps = [plan.step(step, rank=0, world_size=1) for step in range(plan.num_steps)]
    rows = np.concatenate([step.images for step in steps])
    attributes = np.concatenate([step.attributes for step in steps if step.attributes is not None])
    loader = DataLoader(
        Opened(data, rows, attributes),
        batch_size=3 * data.num_triplets,
        num_workers=num_cores(),
        persistent_workers=True,
    )
    model = network().to(device).train()
    optimizer = Adam(model.parameters(), lr=LEARNING_RATE)

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            yield from loader

    source = batches()

    def step() -> None:
        images, asked = next(source)
        images, asked = images.to(device), asked.to(device)
        embeddings, classification = [], torch.zeros((), device=device)
        for slot in range(3):
            vectors, outputs = model.forward_branches(images[slot::3], asked[slot::3, None])
            embeddings.append(vectors[:, 0])
            labelled = nn.functional.one_hot(asked[slot::3], NUM_ATTRIBUTES).bool()
            classification = classification + attribute_classification_loss(
                outputs["attributes"], labelled
            )
        loss = 0.5 * triplet_loss(*embeddings, margin=MARGIN) + 0.5 * classification / 3
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()  # printed at every step

    return step


def ours(
    data: Data,
    device: torch.device,
    *,
    bf16: bool,
    compiled: bool = False,
    resident: bool = False,
) -> Step:
    """Returns a step of the training loop's own parts; this process keeps what memory it frees."""
    keep_freed_memory()
    learner = make_learner(data, device)
    if compiled:
        learner.compile()
    optimizer = Adam(learner.parameters(), lr=LEARNING_RATE, fused=True)
    source = batches(data, device, resident=resident)

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            loss = learner(next(source)).total
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def make_learner(data: Data, device: torch.device) -> Learner:
    """Returns the network with its losses, as training builds them."""
    augmentation = Augmentation(
        flip_probability=0.5, crop_min_area=1, colour_jitter=0, erase_probability=0
    )
    return Learner(
        network().to(memory_format=torch.channels_last),
        partial(loss_of_triplets, margin=MARGIN),
        combine=CombinedLoss(weighting="fixed"),
        augmentation=augmentation,
        auxiliary=auxiliary_losses(data.schema, augmentation),
    ).to(device)


def batches(data: Data, device: torch.device, *, resident: bool) -> Iterator[Any]:
    """Yields batches of the training loop's own feed, without end."""
    plan = data.plan()
    numbers = np.arange(NUM_IMAGES)
    pixels = (
        resident_pixels(data.store, numbers, device=device)
        if resident
        else mapped_pixels(data.store, device=device)
    )
    feed = Feed(plan, pixels, data.labels, schema=data.schema, device=device)
    while True:
        yield from feed.batches(first_step=0, rank=0, world_size=1)


def median_seconds(ways: dict[str, Step], *, rounds: int, device: torch.device) -> dict[str, float]:
    """Returns the median time of a step of each way; the first rounds warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for round_number in range(rounds + _WARM_ROUNDS):
        for name, step in ways.items():
            start = time.perf_counter()
            step()
            if round_number >= _WARM_ROUNDS:
                seconds[name].append((time.perf_counter() - start) / steps_at_once(device))
    return {name: statistics.median(measured) for name, measured in seconds.items()}


def data_wait(data: Data, device: torch.device, *, resident: bool) -> float:
    """Returns the share of time that a bf16 training waits for its batches."""
    learner = make_learner(data, device)
    optimizer = Adam(learner.parameters(), lr=LEARNING_RATE, fused=True)
    source = batches(data, device, resident=resident)
    pace = Pace(images_per_step=3 * data.num_triplets)
    num_warm, num_steps = 2, 30 if device.type == "cuda" else 5
    for number, batch in enumerate(pace.timed(source)):
        if number == num_warm:
            pace.look()
        with torch.autocast(device.type, torch.bfloat16):
            loss = learner(batch).total
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if number == num_warm + num_steps:
            break
    if device.type == "cuda":
        torch.cuda.synchronize()
    return pace.look()[1]


def flop_of_a_step(data: Data, device: torch.device) -> int:
    """Returns the floating-point operations of a step, forward and backward."""
    learner = make_learner(data, device)
    with FlopCounterMode(display=False) as counter:
        learner(next(batches(data, device, resident=False))).total.backward()
    return int(counter.get_total_flops())


def matrix_rate(device: torch.device) -> float:
    """Returns the floating-point operations per second of a large bf16 matrix product."""
    left, right = (
        torch.randn(MATRIX, MATRIX, device=device, dtype=torch.bfloat16) for _ in range(2)
    )
    for _ in range(5):
        left @ right
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(20):
        left @ right
    torch.cuda.synchronize()
    return 20 * 2 * MATRIX**3 / (time.perf_counter() - start)


def _name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{torch.get_num_threads()} threads"


if __name__ == "__main__":
    main()
