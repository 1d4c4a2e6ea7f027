"""Attribute manipulation: seconds and memory, at the sizes of FashionSearchNet-v2's protocol.

    python -m benchmarks.manipulation
    python -m benchmarks.manipulation --quick

2,000 queries, 18,000 items and the twelve attributes with 151 values of Shopping100k. Embeddings
are random directions around one of each value. Labels: `sparse`, of four attributes, independent;
`looks`, of all twelve, queries are 100 looks, and every item is one of them with one value changed,
so that most changes have an answer: about as many as there can be. Peak memory is that of a process
of its own (Linux).
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
time_task(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
print(f"at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB in all")
"""


def main() -> None:
    """Prints seconds and memory for few and for many labels an image."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of queries and items")
    quick = parser.parse_args().quick
    print(machine())
    num_queries, num_items = (200, 1_800) if quick else (2_000, 18_000)
    for kind in ("sparse", "looks"):
        arguments = (str(num_queries), str(num_items), kind)
        subprocess.run([sys.executable, "-c", JOB, *arguments], check=True)


def time_task(num_queries: int, num_items: int, kind: str) -> None:
    """Measures a data set with labels of a kind, and prints it."""
    rng = np.random.default_rng(0)
    centres = [unit(rng.standard_normal((count, EMBEDDING_DIM))) for count in NUM_VALUES]
    queries, gallery = (
        labelled_embeddings(values, centres, rng=rng)
        for values in VALUES_OF[kind](num_queries, num_items, rng)
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
        f"{num_queries:,} queries x {num_items:,} items, labels {kind}: "
        f"{len(scores.value_C):,} changes in {took:.1f} s; hit@20 of {len(few)} queries for other "
        f"weights {fit:.2f} s; ",
        end="",
        flush=True,
    )


def sparse_values(
    num_queries: int, num_items: int, rng: np.random.Generator
) -> list[NDArray[np.int64]]:
    """Returns values [images, attributes] of the first four attributes, else -1; skewed."""
    values = np.full((num_queries + num_items, len(NUM_VALUES)), -1)
    for attribute, number in enumerate(NUM_VALUES[:4]):
        shares = 1 / np.arange(1, number + 1)
        values[:, attribute] = rng.choice(number, len(values), p=shares / shares.sum())
    return [values[:num_queries], values[num_queries:]]


def values_of_looks(
    num_queries: int, num_items: int, rng: np.random.Generator
) -> list[NDArray[np.int64]]:
    """Returns values [images, attributes]: queries are looks, items have one value changed."""
    looks = rng.integers(0, NUM_VALUES, (100, len(NUM_VALUES)))
    queries, items = (looks[rng.integers(100, size=count)] for count in (num_queries, num_items))
    changed = rng.choice(len(NUM_VALUES), num_items, p=np.array(NUM_VALUES) / sum(NUM_VALUES))
    items[np.arange(num_items), changed] = rng.integers(0, np.array(NUM_VALUES)[changed])
    return [queries, items]


VALUES_OF = {"sparse": sparse_values, "looks": values_of_looks}


def labelled_embeddings(
    values: NDArray[np.int64], centres: list[NDArray[np.float32]], *, rng: np.random.Generator
) -> LabelledEmbeddings:
    """Returns images of these values, none where -1, and embeddings around those of the values."""
    embeddings = np.empty((*values.shape, EMBEDDING_DIM), np.float32)
    labels = []
    for attribute, vectors in enumerate(centres):
        its = values[:, attribute]
        noise = rng.standard_normal((len(values), EMBEDDING_DIM), np.float32) / EMBEDDING_DIM**0.5
        embeddings[:, attribute] = unit(vectors[its] + noise)
        labels.append(its[:, None] == np.arange(len(vectors)))
    numbers = rng.permutation(10**6)[: len(values)]
    return LabelledEmbeddings(embeddings_nND=embeddings, labels=labels, images_n=numbers)


def unit(vectors: NDArray[np.floating]) -> NDArray[np.float32]:
    """Returns vectors at unit length, in float32."""
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


if __name__ == "__main__":
    main()
