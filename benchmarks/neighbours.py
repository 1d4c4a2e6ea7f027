"""Every item's twenty nearest: how long that takes, and how many of them are the right ones.

    python -m benchmarks.neighbours                      # 100,000 items, exactly
    python -m benchmarks.neighbours --items 1000000      # by the index
    python -m benchmarks.neighbours --items 1000000 --folder F    # a killed one resumes

The vectors (512 numbers in half precision) lie in clusters of all sizes, 500 on average: 0.8 times
a centre and 0.6 times noise, both as `benchmarks.search` draws what it calls "as measured". Recall
is that of a sample of items against exact search. Then items come, a thousandth of all, and lists
are brought up to date. CPU seconds stand beside the time that passed, where others use the machine.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmarks.machine import machine
from benchmarks.search import ATTRIBUTE, EMBEDDING_DIM, draw, write_vectors
from components.embedding.embeddings import MANIFEST, read_embeddings
from components.neighbours.folder import NEAREST
from components.neighbours.job import parts_here
from components.neighbours.making import Made, make_neighbours
from components.search.finder import Finder
from components.search.request import SearchRequest
from components.search.vector_map import write_map

TOP_K = 20
ITEMS_PER_CLUSTER = 500
NUM_SAMPLED = 200
SHARE_NEW = 0.001


def main() -> None:
    """Prints minutes, CPU minutes, recall on a sample, memory, and what an update takes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=100_000, help="how many items")
    parser.add_argument("--exact", action="store_true", help="do without an index")
    parser.add_argument("--folder", type=Path, help="keep embeddings and neighbours here")
    asked = parser.parse_args()
    print(machine())
    with nullcontext(asked.folder) if asked.folder else tempfile.TemporaryDirectory() as folder:
        for name, num_items in (
            ("all", asked.items),
            ("some came", round(asked.items * (1 + SHARE_NEW))),
        ):
            embeddings = Path(folder) / f"embeddings-{num_items}"
            if not (embeddings / MANIFEST).exists():
                write_items(embeddings, num_items, known=asked.items)
            made = timed(name, embeddings, Path(folder) / "neighbours", exact=asked.exact)
            print(f"  lists made {made.num_whole:,}, merged {made.num_merged:,}", flush=True)
            print(f"  recall@{TOP_K} on {NUM_SAMPLED} items {recall(embeddings, made):.4f}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak memory {peak:.1f} GiB")


def timed(name: str, embeddings: Path, out: Path, *, exact: bool) -> Made:
    """Returns the neighbours, and prints how long they took, an index included."""
    start, cpu = time.perf_counter(), time.process_time()
    embedded = read_embeddings(embeddings)
    made = make_neighbours(
        Finder(embedded, None),
        embedded,
        [SearchRequest(weights={ATTRIBUTE: 1.0}, top_k=TOP_K, exact=exact)],
        out,
        run_parts=parts_here,
        work=nullcontext(lambda number: None),
    )
    (comparison,) = made.folder.comparisons
    how = str(comparison.method)
    if comparison.recall is not None:
        how += f" ({comparison.num_probes} lists looked into, recall {comparison.recall:.4f})"
    minutes, cpu_minutes = (time.perf_counter() - start) / 60, (time.process_time() - cpu) / 60
    print(
        f"{name}: {embedded.num_images:,} x {EMBEDDING_DIM}, {how}: {minutes:.1f} min, "
        f"{cpu_minutes:.1f} min of CPU"
    )
    return made


def write_items(folder: Path, num_items: int, *, known: int) -> None:
    """Writes embeddings, whose first `known` vectors do not depend on how many there are."""
    folder.mkdir(parents=True)
    vectors = clustered(known)

    def drawn(count: int) -> NDArray[np.float32]:
        return next(vectors)[:count]

    write_vectors(folder, num_items, drawn, digest=str(num_items))


def clustered(num_items: int) -> Iterator[NDArray[np.float32]]:
    """Yields unit vectors in clusters [50,000, D], without end."""
    rng = np.random.default_rng(0)
    centres = draw(max(1, num_items // ITEMS_PER_CLUSTER), 2.0, rng)
    shares = rng.exponential(size=len(centres))
    while True:
        cluster_n = rng.choice(len(centres), 50_000, p=shares / shares.sum())
        vectors = 0.8 * centres[cluster_n] + 0.6 * draw(50_000, 2.0, rng)
        yield vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def recall(embeddings: Path, made: Made) -> float:
    """Returns the share of the exactly nearest that a sample's lists have."""
    embedded = read_embeddings(embeddings)
    finder = Finder(embedded, None)
    drawn = np.random.default_rng(1).choice(embedded.num_images, NUM_SAMPLED, replace=False)
    write_map(embedded, ATTRIBUTE)  # exact searches would decode all vectors each
    rows_of_sample = pc.field("item").isin(drawn)
    table = pq.read_table(made.folder.folder / NEAREST, filters=rows_of_sample).to_pandas()
    request = SearchRequest(weights={ATTRIBUTE: 1.0}, top_k=TOP_K, exact=True)
    shares = []
    for item, rows in table.groupby("item"):
        answer = finder.find(finder.item_query(int(item), [ATTRIBUTE]), request)
        right = {each.image for each in answer.found}
        shares.append(len(right & {*rows["neighbour"]}) / TOP_K)
    return float(np.mean(shares))


if __name__ == "__main__":
    main()
