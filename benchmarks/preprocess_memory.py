"""Peak memory of the preprocessing job for 2,000 and for 20,000 images: it must stay flat.

    python -m benchmarks.preprocess_memory

Counted is the proportional set size (Linux) of the driver and of all processes of Ray under it,
read five times a second; each job runs in a process of its own.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import pyarrow.parquet as pq

from benchmarks.machine import machine
from benchmarks.photographs import write_photographs

COUNTS = (2_000, 20_000)

JOB = """
import sys
from pathlib import Path
import pyarrow.parquet as pq
import ray
from components.images.preprocess import preprocess

folder, num_images = Path(sys.argv[1]), int(sys.argv[2])
ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
ray.data.DataContext.get_current().enable_progress_bars = False
preprocess(
    pq.read_table(folder / "images.parquet").slice(0, num_images), folder,
    folder / f"store of {num_images}", image_size_px=112, images_per_shard=512, num_workers=2,
    on_progress=lambda _: None,
)
"""


def main() -> None:
    """Prints both peaks and their ratio."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        images = write_photographs(
            folder, num_images=max(COUNTS), num_pictures=max(COUNTS) // 10, side_px=128
        )
        pq.write_table(images, folder / "images.parquet")
        peaks = [peak_mib(["-c", JOB, str(folder), str(count)]) for count in COUNTS]
    print(machine())
    for num_images, peak in zip(COUNTS, peaks, strict=True):
        print(f"{num_images:6} images: {peak:6.0f} MiB at most")
    print(f"ratio {peaks[1] / peaks[0]:.2f}")


def peak_mib(command: Sequence[str]) -> float:
    """Returns the largest sum that was seen while a Python program ran."""
    job = subprocess.Popen([sys.executable, *command])
    peak = 0
    while job.poll() is None:
        peak = max(peak, proportional_set_size(psutil.Process(job.pid)))
        time.sleep(0.2)
    if job.returncode:
        sys.exit(f"{command[-2:]} failed")
    return peak / 2**20


def proportional_set_size(process: psutil.Process) -> int:
    """Returns the bytes of a process and all under it, shared pages counted once."""
    total = 0
    for each in [process, *process.children(recursive=True)]:
        try:
            total += each.memory_full_info().pss
        except psutil.Error:  # it ended meanwhile
            continue
    return total


if __name__ == "__main__":
    main()
