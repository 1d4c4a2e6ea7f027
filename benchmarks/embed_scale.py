"""What the process that embeds 10,000,000 images needs itself: CPU time per image, and memory.

    python -m benchmarks.embed_scale
    python -m benchmarks.embed_scale --images 500000 --dim 1024 --attributes 8 --batch-size 64

List of images, plan, keys of parts, writers, records and manifest are the real ones. Images are not
read, and the network computes nothing: all embeddings are the same few numbers. The process is
measured from the first look at the list to the end, once Ray runs; its memory is the peak of its
resident set, libraries and what it shares with Ray included.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import ray
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.machine import machine, num_cores
from components import tables
from components.embedding.file_source import list_files
from components.embedding.job import write_on_ray
from components.embedding.making import make_parts, plan_parts
from components.embedding.part_files import Recipe
from components.embedding.source import Pixels, Source
from components.params import EmbedParams

_ROWS_AT_ONCE = 1_000_000


def main() -> None:
    """Writes a list of images, and embeds it in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=10_000_000)
    parser.add_argument("--dim", type=int, default=8)
    parser.add_argument("--attributes", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=1024)
    parser.add_argument("--workers", type=int, default=num_cores())
    parser.add_argument("--job", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.job:
        embed(arguments.job, arguments)
        return
    with tempfile.TemporaryDirectory() as temporary:
        write_list(Path(temporary) / "list.parquet", arguments.images)
        command = [sys.executable, "-m", "benchmarks.embed_scale", *sys.argv[1:], "--job"]
        subprocess.run([*command, temporary], check=True)


def write_list(path: Path, num_images: int) -> None:
    """Writes a list of images that have URLs and versions, as a shop's export may."""
    schema = pa.schema([("path", pa.string()), ("content", pa.string())])
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, num_images, _ROWS_AT_ONCE):
            numbers = np.arange(start, min(start + _ROWS_AT_ONCE, num_images))
            names = pc.utf8_lpad(pa.array(numbers).cast(pa.string()), 9, "0")
            paths = pc.binary_join_element_wise("memory://shop/pictures/", names, ".jpg", "")
            contents = pc.binary_join_element_wise("version ", names, "")
            writer.write_table(pa.table([paths, contents], schema=schema))


@dataclass(frozen=True, kw_only=True)
class BlackReader:
    """Gives black pixels for every image."""

    num_cpus: float = 0.5

    def read(
        self,
        images_n: NDArray[np.int64],
        addresses: Sequence[str],
        *,
        image_size_px: int,
        crop: str,
    ) -> Iterable[Pixels]:
        """Yields pixels."""
        black = np.zeros((image_size_px, image_size_px, 3), np.uint8)
        return (black for _ in addresses)


class Constant(nn.Module):
    """Gives every image the same embedding."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self._vector_D = torch.full((dim,), dim**-0.5)

    def forward(self, pixels_nSS3: Tensor, attributes_nK: Tensor) -> Tensor:
        """Returns [n, K, D]."""
        return self._vector_D.expand(*attributes_nK.shape, -1)


def load_network(_: str, *, dim: int) -> nn.Module:
    """Returns the network as actors load it."""
    return Constant(dim)


def embed(folder: Path, arguments: argparse.Namespace) -> None:
    """Embeds a list of images and prints what it took."""
    ray.init(address="local", num_cpus=4, include_dashboard=False, log_to_driver=False)
    recipe = Recipe(
        model_name="benchmark",
        model_version=1,
        model_sha256="0" * 64,
        image_size_px=1,
        attributes={f"attribute {n}": n for n in range(arguments.attributes)},
        precision="fp32",
    )
    params = EmbedParams(
        num_workers=arguments.workers,
        batch_size_per_worker=arguments.batch_size,
        num_readers=2,
        precision="fp32",
    )
    out, start_s, start = folder / "out", cpu_s(), time.perf_counter()
    print(f"{machine()}, {arguments.images:,} images, {arguments.workers} workers")
    print(f"at the start{mib():24.0f} MiB")
    with measured("list", arguments.images):
        listed = list_files(
            str(folder / "list.parquet"), numbered=tables.EMBEDDED_ITEMS.empty_table()
        )
        source = Source(
            items=listed.items, addresses=listed.addresses, root=listed.root, reader=BlackReader()
        )
        del listed
    with measured("plan", arguments.images):
        plans = plan_parts(source, out, recipe=recipe, images_per_part=params.images_per_part)
    with measured("write and commit", arguments.images):
        embeddings = make_parts(
            source,
            plans,
            out,
            recipe=recipe,
            write=partial(
                write_on_ray,
                load_network=partial(load_network, dim=arguments.dim),
                params=params,
            ),
            batch_size=params.batch_size_per_worker,
            on_progress=lambda _: None,
        )
    assert embeddings.num_images == arguments.images
    of_image = 1e6 * (cpu_s() - start_s) / arguments.images
    print(f"together     {of_image:8.2f} µs an image, {mib():6.0f} MiB at most")
    print(f"{len(plans)} parts, {arguments.images / (time.perf_counter() - start):.0f} images/s")
    ray.shutdown()


@contextmanager
def measured(what: str, num_images: int) -> Iterator[None]:
    """Prints what a block took."""
    start_s = cpu_s()
    yield
    of_image = 1e6 * (cpu_s() - start_s) / num_images
    print(f"{what:17}{of_image:8.2f} µs an image, {mib():6.0f} MiB at most", flush=True)


def cpu_s() -> float:
    """Returns the CPU time of this process, all threads and the system's work for it."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def mib() -> float:
    """Returns the peak of this process's resident set so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


if __name__ == "__main__":
    main()
