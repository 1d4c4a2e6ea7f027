"""Attribute manipulation: seconds and memory, at the sizes of FashionSearchNet-v2's protocol.

    python -m benchmarks.manipulation
    python -m benchmarks.manipulation --quick

2,000 queries, 18,000 items and the twelve attributes with 151 values of Shopping100k. Embeddings
are random directions around one of each value, so that there is something to find; labels are
skewed as real ones are. The fewer attributes have labels, the more changes have an answer: with all
twelve few have one, with four nearly all. Peak memory is that of a process of its own (Linux).
"""

import argparse
import subprocess
import sys
import time

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import machine
from components.evaluation.manipulation import hit_rates, measure_changes
from components.evaluation.manipulation_task import LabelledEmbeddings, ManipulationTask

NUM_VALUES = (16, 17, 19, 14, 10, 15, 2, 11, 16, 7, 9, 15)
EMBEDDING_DIM = 340

JOB = """
import resource, sys
from benchmarks.manipulation import time_task
time_task(*map(int, sys.argv[1:]))
print(f"at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB in all")
"""


def main() -> None:
    """Prints seconds and memory for few and for many labels an image."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of queries and items")
    quick = parser.parse_args().quick
    print(machine())
    num_queries, num_items = (200, 1_800) if quick else (2_000, 18_000)
    for num_labelled in (4, 8, 12):
        sizes = map(str, (num_queries, num_items, num_labelled))
        subprocess.run([sys.executable, "-c", JOB, *sizes], check=True)


def time_task(num_queries: int, num_items: int, num_labelled: int) -> None:
    """Measures a data set whose images have labels of so many of the attributes, and prints it."""
    rng = np.random.default_rng(0)
    centres = [unit(rng.standard_normal((count, EMBEDDING_DIM))) for count in NUM_VALUES]
    queries, gallery = (
        labelled_embeddings(count, centres, num_labelled=num_labelled, rng=rng)
        for count in (num_queries, num_items)
    )
    weights = np.ones(len(NUM_VALUES))
    start = time.perf_counter()
    task = ManipulationTask(gallery, centres)
    scores = measure_changes(task, task.ask(queries), weights)
    took = time.perf_counter() - start
    few = LabelledEmbeddings(
        embeddings_nND=queries.embeddings_nND[::20],
        labels=[labels[::20] for labels in queries.labels],
        images_n=queries.images_n[::20],
    )
    asked = list(task.ask(few))
    start = time.perf_counter()
    hit_rates(task, asked, weights, k=20)
    fit = time.perf_counter() - start
    print(
        f"{num_queries:,} queries x {num_items:,} items, {num_labelled} of 12 attributes labelled: "
        f"{len(scores.value_C):,} changes in {took:.1f} s; hit@20 of {len(few)} queries for other "
        f"weights {fit:.2f} s; ",
        end="",
        flush=True,
    )


def labelled_embeddings(
    count: int,
    centres: list[NDArray[np.float32]],
    *,
    num_labelled: int,
    rng: np.random.Generator,
) -> LabelledEmbeddings:
    """Returns images with one value of each of the first attributes, and embeddings around it."""
    embeddings = np.empty((count, len(centres), EMBEDDING_DIM), np.float32)
    labels = []
    for attribute, vectors in enumerate(centres):
        shares = 1 / np.arange(1, len(vectors) + 1)
        values = rng.choice(len(vectors), count, p=shares / shares.sum())
        noise = rng.standard_normal((count, EMBEDDING_DIM), np.float32) / EMBEDDING_DIM**0.5
        embeddings[:, attribute] = unit(vectors[values] + noise)
        labels.append(np.eye(len(vectors), dtype=bool)[values] & (attribute < num_labelled))
    return LabelledEmbeddings(
        embeddings_nND=embeddings, labels=labels, images_n=rng.permutation(10**6)[:count]
    )


def unit(vectors: NDArray[np.floating]) -> NDArray[np.float32]:
    """Returns vectors at unit length, in float32."""
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


if __name__ == "__main__":
    main()
