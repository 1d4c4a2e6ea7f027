"""Search among a million embeddings: with the index and exactly, side by side.

    python -m benchmarks.search
    python -m benchmarks.search --quick

The vectors are random, of two kinds. "As measured" has the mean and the falling variances of the
embeddings of hemline's demo (256 numbers, eight attributes: their mean's squared length is 0.32,
the i-th greatest variance falls as (i + 5)^-2), in more dimensions. "Harder" has variances that
fall as (i + 5)^-1. Neither has clusters, which real images have and which make an index's work
easier. Queries are drawn like the items and are not among them. Every step runs in a process of its
own, whose peak memory counts the mapped files that it touched (Linux).
"""

import argparse
import math
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmarks.machine import machine
from components import files, tables
from components.embedding.embeddings import (
    ITEMS,
    LAYOUT,
    Embeddings,
    Part,
    part_path,
    read_embeddings,
    write_embeddings,
)
from components.search.conditions import parse_condition
from components.search.finder import Finder
from components.search.index import MIN_INDEXED, build_index
from components.search.index_paths import index_folder
from components.search.request import Found, SearchRequest
from components.search.vector_map import write_map

ATTRIBUTE = "attribute"
EMBEDDING_DIM = 512
NUM_ITEMS, NUM_HARDER = 1_000_000, 250_000
QUICK_NUM_ITEMS = 2 * MIN_INDEXED
ITEMS_PER_PART = 50_000
NUM_QUERIES, QUICK_NUM_QUERIES = 100, 20
MEAN_SQUARED = 0.32
FILTERS = {"one item in 5": "fifth=0", "one item in 100": "hundredth=0"}


def main() -> None:
    """Prints build times, memory, sizes, latencies and recall for both kinds of vectors."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the items, few queries")
    quick = parser.parse_args().quick
    print(machine())
    for name, exponent, num_items in (
        ("as measured", 2.0, QUICK_NUM_ITEMS if quick else NUM_ITEMS),
        ("harder", 1.0, QUICK_NUM_ITEMS if quick else NUM_HARDER),
    ):
        print(f"\n{num_items:,} x {EMBEDDING_DIM}, {name}")
        with tempfile.TemporaryDirectory() as folder:
            in_own_process(write_items, folder, num_items, exponent)
            for step in (map_vectors, build):
                print_step(*in_own_process(step, folder))
            num_queries = QUICK_NUM_QUERIES if quick else NUM_QUERIES
            print_step(*in_own_process(search, folder, exponent, num_queries))


def in_own_process(step: Callable[..., list[str]], *arguments: Any) -> tuple[list[str], float]:
    """Returns what a step tells, and the peak memory of its process in GiB."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        told = pool.submit(step, *arguments).result()
        return told, pool.submit(peak_memory).result()


def print_step(told: list[str], peak_gib: float) -> None:
    """Prints what a step tells."""
    print(*told, f"peak memory {peak_gib:.1f} GiB", sep="\n  ", flush=True)


def peak_memory() -> float:
    """Returns the most GiB that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def draw(count: int, exponent: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Returns unit vectors [count, D] whose variances fall with the exponent."""
    variance_D = (np.arange(EMBEDDING_DIM) + 5.0) ** -exponent
    spread_D = np.sqrt((1 - MEAN_SQUARED) * variance_D / variance_D.sum())
    vectors = rng.standard_normal((count, EMBEDDING_DIM), np.float32) * spread_D.astype(np.float32)
    vectors += math.sqrt(MEAN_SQUARED / EMBEDDING_DIM)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def write_items(folder: str, num_items: int, exponent: float) -> list[str]:
    """Writes embeddings."""
    rng = np.random.default_rng(0)
    write_vectors(
        Path(folder),
        num_items,
        lambda count: draw(count, exponent, rng),
        digest=f"{exponent} {num_items}",
    )
    return []


def write_vectors(
    folder: Path, num_items: int, drawn: Callable[[int], NDArray[np.float32]], *, digest: str
) -> None:
    """Writes embeddings of vectors that are drawn some at a time."""
    parts = []
    for start in range(0, num_items, ITEMS_PER_PART):
        part = Part(key=f"{start:09d}", num_images=min(ITEMS_PER_PART, num_items - start))
        parts.append(part)
        flat = pa.array(drawn(part.num_images).astype(np.float16).ravel())
        table = pa.table(
            {
                "image": np.arange(start, start + part.num_images),
                "embedding": pa.FixedSizeListArray.from_arrays(flat, EMBEDDING_DIM),
            }
        )
        path = part_path(folder, ATTRIBUTE, part.key)
        path.parent.mkdir(exist_ok=True)
        pq.write_table(table, path, compression="zstd")
    images = np.arange(num_items)
    paths = pa.array([f"{image:09d}.jpg" for image in range(num_items)])
    items = pa.table([images, paths, paths], schema=tables.EMBEDDED_ITEMS)
    for name, every in (("fifth", 5), ("hundredth", 100)):
        items = items.append_column(name, pa.array(images % every))
    files.write_table(items, folder / ITEMS, schema=items.schema)
    write_embeddings(
        Embeddings(
            folder=folder,
            model_name="random",
            model_version=1,
            model_sha256="",
            precision="fp32",
            attributes=(ATTRIBUTE,),
            embedding_dim=EMBEDDING_DIM,
            root="",
            digest=digest,
            num_quarantined=0,
            parts=tuple(parts),
            layout=LAYOUT,
        )
    )


def map_vectors(folder: str) -> list[str]:
    """Maps the vectors."""
    start = time.perf_counter()
    path = write_map(read_embeddings(Path(folder)), ATTRIBUTE)
    seconds = time.perf_counter() - start
    return [f"map: {seconds:.0f} s, {path.stat().st_size / 2**30:.2f} GiB"]


def build(folder: str) -> list[str]:
    """Builds the index."""
    embedded = read_embeddings(Path(folder))
    start = time.perf_counter()
    facts = build_index(embedded, ATTRIBUTE).facts
    seconds = time.perf_counter() - start
    size = sum(path.stat().st_size for path in index_folder(embedded, ATTRIBUTE).glob("lists-*"))
    return [
        f"index: {seconds:.0f} s, {size / 2**30:.2f} GiB; "
        f"{facts.num_probes} of {facts.num_lists} lists, recall@10 {facts.recall:.3f} when built"
    ]


def search(folder: str, exponent: float, num_queries: int) -> list[str]:
    """Searches exactly and with the index, without and with filters."""
    start = time.perf_counter()
    finder = Finder(read_embeddings(Path(folder)), None)
    queries = draw(num_queries, exponent, np.random.default_rng(1))
    told = [f"items read in {time.perf_counter() - start:.1f} s"]
    for name, condition in {"all items": None, **FILTERS}.items():
        for top_k in (10, 100) if condition is None else (10,):
            conditions = [parse_condition(condition)] if condition else []
            asked = {"top_k": top_k, "conditions": conditions}
            exact, exact_ms = timed(finder, queries, exact=True, **asked)
            found, found_ms = timed(finder, queries, **asked)
            told.append(
                f"{name}, top {top_k}: exact {percentiles(exact_ms)}, index "
                f"{percentiles(found_ms)}, ratio {np.median(exact_ms) / np.median(found_ms):.0f}, "
                f"recall {recall(found, exact):.3f}"
            )
    return told


def timed(
    finder: Finder, queries: NDArray[np.float32], **asked: Any
) -> tuple[list[Sequence[Found]], NDArray[np.float64]]:
    """Returns what was found for each query, and in how many milliseconds."""
    found, seconds = [], []
    request = SearchRequest(weights={ATTRIBUTE: 1.0}, all_items=True, **asked)
    asked_of = [finder.picture_query({ATTRIBUTE: query}, copies=[]) for query in queries]
    finder.find(asked_of[0], request)  # maps the files
    for query in asked_of:
        start = time.perf_counter()
        found.append(finder.find(query, request).found)
        seconds.append(time.perf_counter() - start)
    return found, 1000 * np.array(seconds)


def percentiles(times_ms: NDArray[np.float64]) -> str:
    """Returns median and 99th percentile as text."""
    return "p50 {:.1f} ms p99 {:.1f} ms".format(*np.percentile(times_ms, [50, 99]))


def recall(found: list[Sequence[Found]], exact: list[Sequence[Found]]) -> float:
    """Returns the share of the exactly nearest items that were found."""
    pairs = [
        ({item.image for item in ours}, {item.image for item in theirs})
        for ours, theirs in zip(found, exact, strict=True)
    ]
    return sum(len(ours & theirs) for ours, theirs in pairs) / sum(len(t) for _, t in pairs)


if __name__ == "__main__":
    main()
