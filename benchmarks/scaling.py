"""One worker and two: measured; 8, 64 and 512 GPUs: predicted from a step time and link speeds.

    python -m benchmarks.scaling
    python -m benchmarks.scaling --step-ms 100 --images-per-gpu 384

Measured: data-parallel training steps of AG-MAN on ResNet-18 at 96 px, one thread a worker, the
same global batch. Predicted: AG-MAN on ResNet-50 at 224 px, see `predicted_step_s`.
"""

import argparse
import math
import multiprocessing
import tempfile
import time
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from benchmarks.machine import machine
from components.images.augmentation import NUM_DRAWS, Augmentation
from components.losses.combined import CombinedLoss, attribute_classification_loss
from components.models.build import build_model
from components.params import TrainParams, load_section
from components.training.feed import Batch
from components.training.objectives import build_objective
from components.training.step import Learner

NUM_ATTRIBUTES, NUM_VALUES, GLOBAL_BATCH, SIZE_PX = 8, 5, 96, 96
WARMUP, STEPS = 3, 10
PARAMS = Path(__file__).parents[1] / "params.yaml"
EMBEDDING_DIM = 1024  # of the predicted network


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--step-ms", type=float, default=100, help="of one GPU by itself")
    parser.add_argument("--images-per-gpu", type=int, default=384)
    parser.add_argument("--node-gb-s", type=float, default=300, help="all-reduce within a node")
    parser.add_argument("--link-gb-s", type=float, default=50, help="per GPU between nodes")
    parser.add_argument("--latency-us", type=float, default=10, help="of a message between nodes")
    arguments = parser.parse_args()
    print(machine())
    one, two = (measure(world_size) for world_size in (1, 2))
    parameters = sum(p.numel() for p in learner("resnet18", embedding_dim=256).parameters())
    print(
        f"1 worker {one:.1f} images/s, 2 workers {two:.1f} images/s, efficiency {two / one / 2:.2f}"
    )
    print(f"gradients of a step: {4 * parameters / 1e6:.0f} MB, sent and received by each worker")
    print_predictions(arguments)


def measure(world_size: int) -> float:
    """Returns the images per second of so many workers."""
    with tempfile.TemporaryDirectory() as folder:
        context = multiprocessing.get_context("spawn")
        processes = [
            context.Process(target=_work, args=(rank, world_size, Path(folder)))
            for rank in range(world_size)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        return float((Path(folder) / "images_per_s").read_text())


def _work(rank: int, world_size: int, folder: Path) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder}/meet",
        rank=rank,
        world_size=world_size,
        timeout=timedelta(seconds=120),
    )
    module: nn.Module = learner("resnet18", embedding_dim=256)
    optimizer = torch.optim.Adam(module.parameters(), fused=True)
    if world_size > 1:
        module = DistributedDataParallel(module)
    batch = random_batch(GLOBAL_BATCH // world_size)
    for step in range(WARMUP + STEPS):
        if step == WARMUP:
            torch.distributed.barrier()
            start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16):
            loss = module(batch).total
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    torch.distributed.barrier()
    if rank == 0:
        rate = STEPS * GLOBAL_BATCH / (time.perf_counter() - start)
        (folder / "images_per_s").write_text(str(rate))
    torch.distributed.destroy_process_group()


def learner(backbone: str, *, embedding_dim: int) -> Learner:
    """Returns AG-MAN with the preset's objective."""
    torch.manual_seed(0)
    network = build_model(
        name="ag_man",
        num_values=[2] * NUM_ATTRIBUTES,
        backbone=backbone,
        weights="none",
        embedding_dim=embedding_dim,
        attention_dim=embedding_dim // 2,
        normalise_features=True,
    )
    return Learner(
        network.to(memory_format=torch.channels_last),
        build_objective(load_section(PARAMS, TrainParams)),
        combine=CombinedLoss(weighting="fixed"),
        augmentation=Augmentation(
            flip_probability=0.5, crop_min_area=1, colour_jitter=0, erase_probability=0
        ),
        auxiliary={"attributes": of_attributes},
    )


def of_attributes(logits: Tensor, batch: Batch) -> Tensor:
    """Returns the loss of AG-MAN's branch 1."""
    return attribute_classification_loss(logits, batch.labelled)


def random_batch(num_images: int) -> Batch:
    """Returns random images with one value of each attribute."""
    values = torch.randint(NUM_VALUES, (num_images, NUM_ATTRIBUTES))
    return Batch(
        pixels=torch.randint(256, (num_images, SIZE_PX, SIZE_PX, 3), dtype=torch.uint8),
        draws=torch.rand(num_images, NUM_DRAWS),
        attributes=torch.arange(NUM_ATTRIBUTES).expand(num_images, -1),
        labelled=torch.ones(num_images, NUM_ATTRIBUTES, dtype=torch.bool),
        values=nn.functional.one_hot(values, NUM_VALUES).bool(),
        listed=torch.empty(num_images, 0, dtype=torch.bool),
        known=torch.empty(num_images, 0, dtype=torch.bool),
        items=torch.full((num_images,), -1),
        candidates=torch.empty(0, dtype=torch.int64),
        landmarks=torch.empty(num_images, 0, 3),
    )


def predicted_step_s(
    num_gpus: int,
    *,
    compute_s: float,
    gradient_bytes: float,
    embedding_bytes: float,
    node_bytes_per_s: float,
    link_bytes_per_s: float,
    latency_s: float,
    gpus_per_node: int = 8,
) -> float:
    """Returns the predicted duration of a step on so many GPUs.

    Gradients go in rings, within nodes and then between them: each GPU sends and receives
    2 (n - 1) / n times their bytes, at the slower of the two speeds, and 2 (nodes - 1) messages
    one after another. That overlaps with the backward pass, two thirds of the compute. Embeddings
    of all GPUs are gathered between forward and backward pass, where nothing overlaps.

    Args:
        num_gpus: one worker each.
        compute_s: of a step on one GPU by itself.
        gradient_bytes: of the network, float32.
        embedding_bytes: of one worker's images.
        node_bytes_per_s: of an all-reduce within a node.
        link_bytes_per_s: of each GPU between nodes.
        latency_s: of a message between nodes.
        gpus_per_node: that share the fast links.
    """
    if num_gpus == 1:
        return compute_s
    num_nodes = math.ceil(num_gpus / gpus_per_node)
    speed = node_bytes_per_s if num_nodes == 1 else min(node_bytes_per_s, link_bytes_per_s)
    ring = 2 * (num_gpus - 1) / num_gpus * gradient_bytes / speed
    reduce_s = ring + 2 * (num_nodes - 1) * latency_s
    gather_s = (num_gpus - 1) * embedding_bytes / speed + (num_nodes - 1) * latency_s
    return compute_s + gather_s + max(0.0, reduce_s - compute_s * 2 / 3)


def print_predictions(arguments: argparse.Namespace) -> None:
    """Prints images per second and efficiency for numbers of GPUs.

    Pairs: one float32 matrix of all images of the batch against each other for every attribute,
    which each worker holds for the objectives over batches, a few times over.
    """
    parameters = sum(
        p.numel() for p in learner("resnet50", embedding_dim=EMBEDDING_DIM).parameters()
    )
    compute_s = arguments.step_ms / 1e3
    images = arguments.images_per_gpu
    table = Table("GPUs", "step, ms", "images/s", "efficiency", "batch", "pairs, GiB")
    for num_gpus in (1, 8, 64, 512):
        step_s = predicted_step_s(
            num_gpus,
            compute_s=compute_s,
            gradient_bytes=4 * parameters,
            embedding_bytes=4 * images * NUM_ATTRIBUTES * EMBEDDING_DIM,
            node_bytes_per_s=arguments.node_gb_s * 1e9,
            link_bytes_per_s=arguments.link_gb_s * 1e9,
            latency_s=arguments.latency_us / 1e6,
        )
        table.add_row(
            str(num_gpus),
            f"{step_s * 1e3:.1f}",
            f"{num_gpus * images / step_s:,.0f}",
            f"{compute_s / step_s:.3f}",
            f"{num_gpus * images:,}",
            f"{4 * NUM_ATTRIBUTES * (num_gpus * images) ** 2 / 2**30:,.1f}",
        )
    print(
        f"predicted, {images} images a GPU and step of {arguments.step_ms:g} ms, "
        f"{4 * parameters / 1e6:.0f} MB of gradients"
    )
    Console().print(table)


if __name__ == "__main__":
    main()
