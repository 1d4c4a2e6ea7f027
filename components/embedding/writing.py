"""Parts of embeddings, written as their batches come: in the command's process, or in a writer's.

A writer is given whole parts and returns of each what the manifest says of it, so the embeddings
themselves go no further than to the process that writes them.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from components.embedding.batches import Embed
from components.embedding.earlier import Earlier
from components.embedding.part_files import Recipe, WrittenPart
from components.embedding.part_in_making import PartInMaking
from components.embedding.source import Reader


@dataclass(frozen=True, kw_only=True)
class PlannedPart:
    """A part that the embeddings will have, and whether it is on disk already.

    `key` is the part's index and a hash of its images and of the recipe; `items` its images:
    `tables.EMBEDDED_ITEMS` and the `address` that the reader takes.
    """

    key: str
    items: pa.Table
    is_done: bool


@dataclass(frozen=True, kw_only=True)
class Work:
    """What all parts have in common.

    Attributes:
        out: folder of the embeddings.
        recipe: what embeddings are made from.
        reader: reads the images.
        batch_size: images that are embedded at once.
        earlier: where there may be embeddings already.
    """

    out: Path
    recipe: Recipe
    reader: Reader
    batch_size: int
    earlier: Sequence[Earlier]


class Done(NamedTuple):
    """How many images more are done; and a part that was written, by its key."""

    num_images: int
    key: str = ""
    part: WrittenPart | None = None


Write = Callable[[Sequence[PlannedPart], Work], Iterator[Done]]
"""Makes the parts and writes them, in any order; yields what is done, as it is."""


def write_parts(plans: Sequence[PlannedPart], work: Work, *, embed: Embed) -> Iterator[Done]:
    """Yields what is done while it embeds the images of parts and writes each that is complete.

    Raises:
        HemlineError: a file that is taken over is damaged.
    """
    making = {
        plan.key: PartInMaking(
            plan.key, plan.items, work.out, recipe=work.recipe, earlier=work.earlier
        )
        for plan in plans
    }
    batches = [batch for part in making.values() for batch in part.batches(work.batch_size)]
    if num_held := sum(len(plan.items) for plan in plans) - sum(map(len, batches)):
        yield Done(num_held)
    for key in [key for key, part in making.items() if not part.num_missing]:
        yield Done(0, key, making.pop(key).write())  # earlier parts hold all its images
    for batch in embed(batches, work.reader, work.recipe) if batches else ():
        key = batch["part"][0].as_py()
        making[key].add(batch)
        yield Done(len(batch))
        if not making[key].num_missing:
            yield Done(0, key, making.pop(key).write())
    assert not making, "every batch comes back"
