"""Writes what training and evaluation will see: the files of the stage `triplets`."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from components import files, tables
from components.attributes import AttributeSchema
from components.errors import HemlineError
from components.params import SamplingParams
from components.sampling.batches import BatchSampler, plan_batches
from components.sampling.published_triplets import (
    as_epoch,
    plan_published,
    triplets_in_split,
)
from components.sampling.splits import SPLITS
from components.sampling.triplets import TripletSampler, plan_triplets

LeftOut = Mapping[str, list[str] | dict[str, int]]  # names, or numbers by name


def write_plans(
    splits: pa.Table,
    folder: Path,
    *,
    params: SamplingParams,
    schema: AttributeSchema,
    published: pa.Table | None = None,
) -> dict[str, LeftOut]:
    """Writes triplets of each split and, for method `batches`, the batches of all epochs.

    Returns what was left out, by split and kind: where triplets are drawn, the names of values of a
    single image and of attributes of a single value; where they are published, how many triplets
    of each attribute reach out of the split. The same is written to `left_out.json`.

    Args:
        splits: `tables.SPLITS`.
        folder: to write to.
        params: section `sampling`.
        schema: of the catalog.
        published: `tables.PUBLISHED_TRIPLETS` to take; without them, triplets are drawn.

    Raises:
        HemlineError: a split has no labels, or gives no triplet.
    """
    left_out = {}
    remedy = "label more images" if published is None else "or set sampling.triplets drawn"
    for number, split in enumerate(SPLITS):
        labels = splits.filter(pc.field("split") == split)
        if not labels.num_rows:
            raise HemlineError(f"the splits have no labels of split {split}: `dvc repro split`")
        try:
            plan, left_out[split] = _plan(
                labels,
                published,
                split=split,
                params=params,
                seed=params.seed + number,  # splits are not to repeat each other
                schema=schema,
            )
            files.write_row_groups(plan, folder / f"{split}.parquet", schema=tables.TRIPLETS)
        except HemlineError as error:
            raise HemlineError(f"split {split}: {error}; {remedy}") from error
    if params.method == "batches":
        _write_batches(splits, folder, params=params)
    files.write_json(left_out, folder / "left_out.json")
    return left_out


def _plan(
    labels: pa.Table,
    published: pa.Table | None,
    *,
    split: str,
    params: SamplingParams,
    seed: int,
    schema: AttributeSchema,
) -> tuple[Iterator[pa.Table], LeftOut]:
    """Returns the epochs of a split and what they leave out."""
    is_train = split == "train"
    if published is None:
        sampler = TripletSampler(labels)
        plan = plan_triplets(
            sampler,
            num_epochs=params.num_epochs if is_train else 1,
            triplets_per_epoch=(
                params.triplets_per_epoch if is_train else params.evaluation_triplets
            ),
            seed=seed,
        )
        return plan, _not_sampled(sampler, schema)
    listed = published.filter(pc.field("split") == split)
    taken, others = triplets_in_split(listed, labels)
    left_out = {"published_triplets_that_reach_out_of_the_split": _per_attribute(others, schema)}
    if not is_train:
        return iter([as_epoch(taken, 0)]), left_out
    plan = plan_published(
        taken,
        num_epochs=params.num_epochs,
        triplets_per_epoch=params.triplets_per_epoch,
        seed=seed,
    )
    return plan, left_out


def _not_sampled(sampler: TripletSampler, schema: AttributeSchema) -> LeftOut:
    attributes = schema.attributes
    return {
        "values_with_one_image": [
            f"{attributes[a].name}={attributes[a].values[v]}"
            for a, v in sampler.left_out.values_with_one_image
        ],
        "attributes_with_one_value": [
            attributes[a].name for a in sampler.left_out.attributes_with_one_value
        ],
    }


def _per_attribute(triplets: pa.Table, schema: AttributeSchema) -> dict[str, int]:
    counts = Counter(triplets["attribute"].to_pylist())
    return {schema.names[attribute]: counts[attribute] for attribute in sorted(counts)}


def _write_batches(splits: pa.Table, folder: Path, *, params: SamplingParams) -> None:
    batches = plan_batches(
        BatchSampler(
            splits.filter(pc.field("split") == "train"),
            attributes_per_batch=params.attributes_per_batch,
            values_per_attribute=params.values_per_attribute,
            images_per_value=params.images_per_value,
        ),
        num_epochs=params.num_epochs,
        batches_per_epoch=params.batches_per_epoch,
        seed=params.seed,
    )
    files.write_row_groups(batches, folder / "batches.parquet", schema=tables.BATCHES)
