"""What it costs to check files when they are first read: beside reading and using them.

python -m benchmarks.checksums --project FOLDER

FOLDER is a project where `dvc repro` has run; it is only read. Of the store, those batches are
checked that hold images of the test split; of all else, whole files.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from benchmarks.machine import machine
from components import files, tables
from components.embedding.embeddings import read_embeddings
from components.evaluation.encode import encode
from components.evaluation.evaluation import held_out_images
from components.images.store import ImageStore, read_shards
from components.registry import versions
from components.registry.package import NETWORK_FILE
from components.training.trained import WEIGHTS_FILE, read_trained_model
from pipelines.shell import options
from pipelines.shell.environment import tracking

NUM_ROUNDS = 3  # of which the fastest counts


def main() -> None:
    """Prints the time of each reading, that of the checksums, and their share of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--project", type=Path, default=Path())
    os.environ["PYTHONPATH"] = str(Path.cwd())
    os.chdir(parser.parse_args().project)
    print(f"{machine()}, {torch.get_num_threads()} threads, files in the page cache")
    print(f"{'reading':45} {'MB':>6} {'s':>8} {'checksums':>9} share")
    trained = read_trained_model(options.MODEL)
    store = ImageStore(options.STORE)
    images = held_out_images(tables.read_splits(options.SPLITS), "test")
    num_attributes = len(trained.schema.attributes)

    def embed_test() -> Any:
        cpu = torch.device("cpu")
        return encode(trained.embed, store, images, num_attributes=num_attributes, device=cpu)

    def check_batches() -> float:
        """Returns the seconds that reading images takes longer the first time than the second."""
        stores = iter([ImageStore(options.STORE) for _ in range(NUM_ROUNDS)])
        first_s = fastest(lambda: next(stores).gather(images))
        return first_s - fastest(lambda: store.gather(images))

    shards = [options.STORE / shard.file for shard in read_shards(options.STORE)]
    reading = f"store: `evaluate` embeds {len(images)} images"
    show(reading, embed_test, shards, checked_s=check_batches())
    show("the same, shards checked whole", embed_test, shards)
    model = options.MODEL
    show("weights into a network", lambda: read_trained_model(model), [model / WEIGHTS_FILE])
    package = versions.download(
        versions.read_registration(options.REGISTRATION), tracking=tracking()
    )
    show("graph of a package", package.load_network, [package.folder / NETWORK_FILE])
    embedded = read_embeddings(options.EMBEDDINGS)
    name = embedded.attributes[0]
    parts = [embedded.part_path(name, x.key) for x in embedded.parts if x.num_images]
    show(f"parts: `search --id`, {embedded.num_images} images", lambda: search(name), parts)
    show("parts, decoding alone", lambda: list(embedded.vectors(name)), parts)


def search(attribute: str) -> None:
    """Runs the command in a process of its own."""
    number = str(read_embeddings(options.EMBEDDINGS).items()["image"][0].as_py())
    command = [sys.executable, "-m", "pipelines", "search", "--id", number]
    with TemporaryDirectory() as folder:
        ends = ["--attribute", attribute, "--sheet", f"{folder}/sheet.png"]
        subprocess.run([*command, *ends], check=True, stdout=subprocess.DEVNULL)


def show(
    reading: str,
    read: Callable[[], Any],
    paths: Iterable[Path],
    *,
    checked_s: float | None = None,
) -> None:
    """Prints a line on a reading and the seconds of its checks: those of whole files, or others."""
    paths = list(paths)
    read_s = fastest(read)
    if checked_s is None:
        checked_s = fastest(lambda: [files.checksum(path) for path in paths])
    size = sum(path.stat().st_size for path in paths) / 1e6
    print(f"{reading:45} {size:6.1f} {read_s:8.3f} {checked_s:9.4f} {checked_s / read_s:.1%}")


def fastest(work: Callable[[], Any]) -> float:
    """Returns the seconds of the fastest of some rounds."""
    rounds = []
    for _ in range(NUM_ROUNDS):
        start = time.perf_counter()
        work()
        rounds.append(time.perf_counter() - start)
    return min(rounds)


if __name__ == "__main__":
    main()
