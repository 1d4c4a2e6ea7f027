"""Images per second of the preprocessing job against a bare Pillow loop on the same cores.

    python -m benchmarks.preprocess                  # sources of 256 px
    python -m benchmarks.preprocess --side-px 1024   # where JPEG's scaled decoding helps

The loop opens, converts, resizes, crops and throws away; one process a core, all at once. The job
does that, hashes and writes the store. Starting Ray and the processes is not counted. Loop and job
take turns: the median of the ratios of their turns counts.
"""

import argparse
import shutil
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import numpy as np
import pyarrow as pa
import ray
from PIL import Image

from benchmarks.machine import machine, num_cores
from benchmarks.photographs import write_photographs
from components.images.preprocess import preprocess


def main() -> None:
    """Prints both speeds and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side-px", type=int, default=256)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--image-size-px", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    size = arguments.image_size_px
    with (
        tempfile.TemporaryDirectory() as temporary,
        ProcessPoolExecutor(num_cores(), mp_context=get_context("spawn")) as pool,
    ):
        folder = Path(temporary)
        images = write_photographs(
            folder, num_images=arguments.images, num_pictures=64, side_px=arguments.side_px
        )
        paths = [folder / path for path in images["path"].to_pylist()]
        start_ray()
        time_loop(paths[: 8 * num_cores()], size, pool)
        time_job(images.slice(0, 64), folder, size, images_per_shard=8)
        rounds = [
            (
                len(paths) / time_loop(paths, size, pool),
                len(paths) / time_job(images, folder, size, images_per_shard=1024),
            )
            for _ in range(arguments.rounds)
        ]
        ray.shutdown()
    loops, jobs = zip(*rounds, strict=True)
    ratios = [job / loop for loop, job in rounds]
    print(machine())
    print(f"{len(paths)} JPEGs of {arguments.side_px} px to {size} px on {num_cores()} cores")
    print(f"Pillow loop {median(loops):8,.0f} images/s")
    print(f"job         {median(jobs):8,.0f} images/s")
    print(f"ratio       {median(ratios):8.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


def time_loop(paths: list[Path], size: int, pool: ProcessPoolExecutor) -> float:
    """Returns the seconds of the Pillow loop, the files shared out over the cores."""
    num_processes = num_cores()
    start = time.perf_counter()
    shares = [paths[rank::num_processes] for rank in range(num_processes)]
    list(pool.map(decode_all, shares, [size] * num_processes))
    return time.perf_counter() - start


def decode_all(paths: list[Path], size: int) -> None:
    """Decodes, resizes and crops files one after the other."""
    for path in paths:
        image = Image.open(path).convert("RGB")
        scale = size / min(image.size)
        width, height = (round(side * scale) for side in image.size)
        left, top = (width - size) // 2, (height - size) // 2
        resized = image.resize((width, height), Image.Resampling.BILINEAR)
        np.asarray(resized.crop((left, top, left + size, top + size)))


def start_ray() -> None:
    """Starts Ray with a CPU a core, as quietly as it goes."""
    ray.init(address="local", num_cpus=num_cores(), include_dashboard=False, log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False


def time_job(images: pa.Table, root: Path, size: int, *, images_per_shard: int) -> float:
    """Returns the seconds of the pipeline's own job with a task a core."""
    store = root / "store"
    start = time.perf_counter()
    preprocess(
        images,
        root,
        store,
        image_size_px=size,
        images_per_shard=images_per_shard,
        num_workers=num_cores(),
        on_progress=lambda _: None,
    )
    seconds = time.perf_counter() - start
    shutil.rmtree(store)
    return seconds


if __name__ == "__main__":
    main()
