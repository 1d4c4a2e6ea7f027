"""Operation `neighbours`: embeddings → every item's nearest items, as one table."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from typer import Option

from components.errors import HemlineError
from components.neighbours.folder import NEAREST
from components.neighbours.job import parts_here, parts_on_ray
from components.neighbours.making import Made, make_neighbours
from components.search.conditions import parse_condition
from components.search.finder import Finder
from components.search.request import SearchRequest
from pipelines.operations.search.command import given_weights
from pipelines.operations.search.embedded import embeddings_at
from pipelines.shell import options
from pipelines.shell.environment import ray_session
from pipelines.shell.reporting import console, notes, plain, print_json, progress

Attributes = Annotated[
    list[str] | None,
    Option(
        "--attribute",
        metavar="NAME[=WEIGHT]",
        help="Compare by this attribute alone; may be repeated. Without: by each of them.",
    ),
]
Together = Annotated[
    bool,
    Option("--together", help="Compare by the weighted sum of the attributes, not by each."),
]
TopK = Annotated[int, Option(min=1, max=1000, help="How many neighbours of an item.")]
Exact = Annotated[bool, Option("--exact", help="Compare with every item, however many.")]
Out = Annotated[Path, Option(help="Folder for the neighbours.")]
Workers = Annotated[
    int, Option(min=0, help="Ray tasks at a time, of one CPU each; 0: in this process, all cores.")
]


def neighbours(
    *,
    attribute: Attributes = None,
    together: Together = False,
    top_k: TopK = 20,
    where: options.Where = None,
    all_items: options.AllItems = False,
    exact: Exact = False,
    num_workers: Workers = 0,
    out: Out = options.NEIGHBOURS,
    output_format: options.Format = "table",
    catalog: options.Catalog = options.CATALOG,
    embeddings: options.EmbeddingsAddress = str(options.EMBEDDINGS),
) -> None:
    """Write the nearest items of every item, by each attribute or by several together.

    Lists that are right already are kept: run it again after a kill, or when items came.
    """
    embedded = embeddings_at(embeddings)
    given = given_weights(attribute or embedded.attributes, embedded)
    weights = {name: weight or 1.0 for name, weight in given.items()}
    if not together and {*weights.values()} != {1.0}:
        raise HemlineError(
            "a weight counts in a sum: add --together to compare by the weighted sum of the "
            "attributes, or leave weights out to compare by each of them"
        )
    if together and len(weights) == 1:
        raise HemlineError(
            "--together sums several attributes: name another one, or leave it out with the weight"
        )
    conditions = [parse_condition(text) for text in where or ()]
    requests = [
        SearchRequest(
            weights=each, top_k=top_k, conditions=conditions, all_items=all_items, exact=exact
        )
        for each in ([weights] if together else [{name: 1.0} for name in weights])
    ]
    made = make_neighbours(
        Finder.over(embedded, catalog=catalog),
        embedded,
        requests,
        out,
        run_parts=parts_on_ray(num_workers) if num_workers else parts_here,
        work=_working(num_workers, total=embedded.num_images * len(requests)),
        say=lambda text: notes.print(text, markup=False),
    )
    if output_format == "json":
        print_json(_content(made))
    else:
        for line in _lines(made):
            console.print(plain(line))


@contextmanager
def _working(num_workers: int, *, total: int) -> Iterator[Callable[[int], None]]:
    """Shows progress and has Ray, where it is asked for, while the block lasts."""
    with (
        ray_session(needed=num_workers > 0, num_cpus=num_workers),
        progress("neighbours", total=total, unit="lists") as on_progress,
    ):
        yield on_progress


def _content(made: Made) -> dict[str, object]:
    """Returns what was made, for programs."""
    return {
        "model": f"models:/{made.folder.model_name}/{made.folder.model_version}",
        "neighbours": str(made.folder.folder / NEAREST),
        "num_whole": made.num_whole,
        "num_merged": made.num_merged,
        "num_kept": made.num_kept,
        "comparisons": [
            {
                "name": each.name,
                "weights": each.weights,
                "top_k": each.top_k,
                "method": each.method,
                "recall": each.recall,
                "num_probes": each.num_probes,
                "num_items": sum(part.num_items for part in each.parts),
                "num_rows": sum(part.num_rows for part in each.parts),
            }
            for each in made.folder.comparisons
        ],
    }


def _lines(made: Made) -> Sequence[str]:
    """Returns what was made, for people."""
    lines = []
    for each in made.folder.comparisons:
        num_items, num_rows = (
            sum(getattr(part, number) for part in each.parts)
            for number in ("num_items", "num_rows")
        )
        how = "exact"
        if each.recall is not None:
            how = f"by the index, recall@{each.top_k} {each.recall:.3f} on a sample"
        lines.append(f"{each.name}: {num_rows} neighbours of {num_items} items, {how}")
    counts = {"made": made.num_whole, "merged with what changed": made.num_merged}
    counts["kept"] = made.num_kept
    lines.append("lists " + ", ".join(f"{what}: {number}" for what, number in counts.items()))
    lines.append(f"table: {made.folder.folder / NEAREST}")
    return lines
