"""Average precision: ours against a loop over queries, and memory for a large gallery.

    python -m benchmarks.average_precision
    python -m benchmarks.average_precision --quick

The sizes are those of published test indexes; values are skewed as real ones are. Two loops: plain
numpy (the product of gallery and query, argsort, cumulative sums), and scikit-learn's
`average_precision_score` for each query. All get the same embeddings and as many threads, in turn
for each attribute, so that what else runs on the machine meets all of them; the best of some rounds
counts. The product of all queries and items by itself is what no exact way can do without. Peak
memory is that of a process of its own (Linux).
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from benchmarks.machine import machine
from components.evaluation.metrics import average_precision_of
from components.evaluation.ranking import Items, measure

Values = NDArray[np.int64] | NDArray[np.bool_]

EMBEDDING_DIM = 1024
FASHIONAI = (  # queries, gallery items and values of each attribute
    (422, 1703, 6),
    (623, 2383, 9),
    (535, 2088, 8),
    (422, 1722, 6),
    (341, 1401, 5),
    (289, 1269, 5),
    (703, 2734, 10),
    (265, 1100, 5),
)
DEEPFASHION = (
    (1008, 4271, 156),
    (1483, 5914, 218),
    (1097, 4364, 180),
    (1022, 4030, 216),
    (915, 3521, 230),
)
LARGE = (5_000, 450_000, 512)  # queries, gallery items, embedding
QUICK_LARGE = (500, 45_000, 512)

LARGE_JOB = """
import resource, sys, time
import numpy as np
from benchmarks.average_precision import average_precision, unit_vectors

num_queries, num_items, embedding_dim = map(int, sys.argv[1:])
rng = np.random.default_rng(0)
queries, gallery = (unit_vectors(n, embedding_dim, rng) for n in (num_queries, num_items))
asked, values = (rng.integers(20, size=n) for n in (num_queries, num_items))
start = time.perf_counter()
average_precision(queries, asked, gallery, values)
print(time.perf_counter() - start)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
"""


@dataclass(frozen=True, kw_only=True)
class Attribute:
    """Embeddings and values of an attribute's queries and gallery."""

    queries: NDArray[np.float32]
    asked: Values
    gallery: NDArray[np.float32]
    values: Values


def main() -> None:
    """Prints seconds and ratios for both data sets, then seconds and memory of the large one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="one round, and a hundredth of the large gallery"
    )
    quick = parser.parse_args().quick
    print(f"{machine()}, {torch.get_num_threads()} threads")
    for name, sizes, several in (
        ("FashionAI", FASHIONAI, False),
        ("DeepFashion, one value each", DEEPFASHION, False),
        ("DeepFashion, several values", DEEPFASHION, True),
    ):
        attributes = [synthetic(*size, several=several) for size in sizes]
        ours, product, *loops = seconds(
            average_precision,
            product_alone,
            numpy_loop,
            scikit_learn_loop,
            attributes=attributes,
            num_rounds=1 if quick else 3,
        )
        print(f"{name:28} ours {ours:6.2f} s, {ours / product:.2f} of the product alone")
        for label, looped in zip(("numpy", "scikit-learn"), loops, strict=True):
            print(f"  loop of {label:19} {looped:6.2f} s, ratio {looped / ours:.1f}")
    large = QUICK_LARGE if quick else LARGE
    large_s, large_gib = time_large(large)
    print("{:,} queries x {:,} items x {}: ".format(*large), end="")
    print(f"{large_s:.0f} s, {large_gib:.2f} GiB at most")


def seconds(
    *ways: Callable[..., NDArray[np.float64]], attributes: list[Attribute], num_rounds: int
) -> list[float]:
    """Returns the seconds of each way over all attributes, each in its best round."""
    best = np.full((len(ways), len(attributes)), np.inf)
    for _ in range(num_rounds):
        for column, each in enumerate(attributes):
            for row, score in enumerate(ways):
                start = time.perf_counter()
                score(each.queries, each.asked, each.gallery, each.values)
                best[row, column] = min(best[row, column], time.perf_counter() - start)
    return [float(total) for total in best.sum(axis=1)]


def average_precision(
    queries: NDArray[np.float32], asked: Values, gallery: NDArray[np.float32], values: Values
) -> NDArray[np.float64]:
    """Returns the average precision of each query, none of which is in the gallery."""
    numbers = np.arange(len(queries) + len(gallery))
    return measure(
        {"ap": average_precision_of},
        Items(embeddings_ND=queries, values_N=asked, images_N=numbers[: len(queries)]),
        Items(embeddings_ND=gallery, values_N=values, images_N=numbers[len(queries) :]),
    )["ap"]


def product_alone(
    queries: NDArray[np.float32],
    asked: Values,
    gallery: NDArray[np.float32],
    values: Values,
) -> NDArray[np.float64]:
    """Returns the similarities of all queries and items, as any exact way must."""
    return np.asarray(queries @ gallery.T)


def numpy_loop(
    queries: NDArray[np.float32],
    asked: Values,
    gallery: NDArray[np.float32],
    values: Values,
) -> NDArray[np.float64]:
    """Returns the average precision of each query, one query at a time."""
    ranks = np.arange(1, len(gallery) + 1)
    result = np.full(len(queries), np.nan)
    for number, (query, value) in enumerate(zip(queries, asked, strict=True)):
        order = np.argsort(-(gallery @ query), kind="stable")
        relevant = agreeing(values, value)[order]
        if relevant.any():
            precisions = relevant.cumsum() / ranks
            result[number] = precisions[relevant].mean()
    return result


def scikit_learn_loop(
    queries: NDArray[np.float32],
    asked: Values,
    gallery: NDArray[np.float32],
    values: Values,
) -> NDArray[np.float64]:
    """Returns the average precision of each query, one query at a time."""
    result = np.full(len(queries), np.nan)
    for number, (query, value) in enumerate(zip(queries, asked, strict=True)):
        relevant = agreeing(values, value)
        if relevant.any():
            result[number] = average_precision_score(relevant, gallery @ query)
    return result


def agreeing(values: Values, value: NDArray[np.bool_] | np.int64) -> NDArray[np.bool_]:
    """Returns which items share a value with a query [G]."""
    return np.asarray(values == value if values.ndim == 1 else (values & value).any(axis=1))


def synthetic(num_queries: int, num_items: int, num_values: int, *, several: bool) -> Attribute:
    """Returns random embeddings; values as numbers, or as a matrix with one to three for each."""
    rng = np.random.default_rng(0)
    asked, values = (
        as_matrix(drawn, num_values, rng) if several else drawn
        for count in (num_queries, num_items)
        for drawn in [drawn_values(count, num_values, rng)]
    )
    return Attribute(
        queries=unit_vectors(num_queries, EMBEDDING_DIM, rng),
        asked=asked,
        gallery=unit_vectors(num_items, EMBEDDING_DIM, rng),
        values=values,
    )


def drawn_values(count: int, num_values: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Returns a value of each image; small numbers are more frequent."""
    return (num_values * rng.random(count) ** 2).astype(np.int64)


def as_matrix(
    values: NDArray[np.int64], num_values: int, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Returns which values each image has: the given one and up to two more."""
    matrix = np.zeros((len(values), num_values), bool)
    matrix[np.arange(len(values)), values] = True
    for share in (0.4, 0.2):  # 1.6 values of an image, as in DeepFashion's labels
        more = np.flatnonzero(rng.random(len(values)) < share)
        matrix[more, drawn_values(len(more), num_values, rng)] = True
    return matrix


def unit_vectors(count: int, dim: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Returns random directions [count, dim], made in place."""
    vectors = rng.standard_normal((count, dim), dtype=np.float32)
    vectors /= np.sqrt(np.einsum("nd,nd->n", vectors, vectors))[:, None]
    return vectors


def time_large(sizes: tuple[int, int, int]) -> tuple[float, float]:
    """Returns seconds and peak GiB of a process that holds all embeddings."""
    command = [sys.executable, "-c", LARGE_JOB, *map(str, sizes)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    large_s, large_gib = map(float, printed.split())
    return large_s, large_gib


if __name__ == "__main__":
    main()
