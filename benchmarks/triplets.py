"""Triplets per second: ours against the papers' rejection sampler written plainly in Python.

    python -m benchmarks.triplets
    python -m benchmarks.triplets --labels FashionAI/label_train.txt

Without --labels it draws from as many labels as FashionAI's published training list has.
"""

import argparse
import random
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks.machine import machine
from components import files, tables
from components.datasets.index_files import read_index
from components.sampling.triplets import TripletSampler, plan_triplets

NUM_LABELS = 144_335
VALUES_OF_ATTRIBUTE = (6, 9, 8, 6, 5, 5, 10, 5)  # of FashionAI
NUM_EPOCHS, TRIPLETS_PER_EPOCH = 50, 100_000
NUM_PLAIN = 20_000


def main() -> None:
    """Prints both speeds, their ratio, and the time for the papers' 50 epochs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--labels", type=Path, help="lines of image, attribute, value")
    path = parser.parse_args().labels
    labels = read_index(path) if path else synthetic_labels()

    drawn_s, written_s = time_planned(labels)
    ours = NUM_EPOCHS * TRIPLETS_PER_EPOCH / drawn_s
    plain = NUM_PLAIN / time_plain(labels)
    print(machine())
    print(f"{len(labels)} labels of {path or 'a synthetic list'}")
    print(
        f"{NUM_EPOCHS} epochs of {TRIPLETS_PER_EPOCH} triplets: {drawn_s:.2f} s to draw, "
        f"{written_s:.2f} s to write a row group each"
    )
    print(f"ours  {ours:12,.0f} triplets/s")
    print(f"plain {plain:12,.0f} triplets/s")
    print(f"ratio {ours / plain:12.0f}")


def synthetic_labels() -> NDArray[np.int64]:
    """Returns rows of image, attribute, value [n, 3]; values are skewed as real ones are."""
    rng = np.random.default_rng(0)
    attribute = rng.integers(len(VALUES_OF_ATTRIBUTE), size=NUM_LABELS)
    num_values = np.array(VALUES_OF_ATTRIBUTE)[attribute]
    value = (num_values * rng.random(NUM_LABELS) ** 2).astype(np.int64)
    return np.stack([np.arange(NUM_LABELS), attribute, value], axis=1)


def time_planned(labels: NDArray[np.int64]) -> tuple[float, float]:
    """Returns the seconds from labels to drawn epochs, and from those to a file."""
    start = time.perf_counter()
    sampler = TripletSampler(pa.table(list(labels.T), names=["image", "attribute", "value"]))
    plan = list(
        plan_triplets(sampler, num_epochs=NUM_EPOCHS, triplets_per_epoch=TRIPLETS_PER_EPOCH, seed=0)
    )
    drawn = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        files.write_row_groups(plan, Path(folder) / "train.parquet", schema=tables.TRIPLETS)
    return drawn - start, time.perf_counter() - drawn


def time_plain(labels: NDArray[np.int64]) -> float:
    """Returns the seconds of drawing by rejection: images at random until their value fits."""
    of_attribute: dict[int, list[tuple[int, int]]] = {}
    for image, attribute, value in labels.tolist():
        of_attribute.setdefault(attribute, []).append((image, value))
    values = {a: sorted({value for _, value in rows}) for a, rows in of_attribute.items()}
    rng = random.Random(0)
    start = time.perf_counter()
    for _ in range(NUM_PLAIN):
        attribute = rng.choice(list(of_attribute))
        rows, value = of_attribute[attribute], rng.choice(values[attribute])
        anchor = rng.choice(rows)
        while anchor[1] != value:
            anchor = rng.choice(rows)
        positive = rng.choice(rows)
        while positive[1] != value or positive[0] == anchor[0]:
            positive = rng.choice(rows)
        negative = rng.choice(rows)
        while negative[1] == value:
            negative = rng.choice(rows)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
