"""Writes what training and evaluation will see: the files of the stage `triplets`."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from components import files, tables
from components.attributes import AttributeSchema
from components.errors import HemlineError
from components.params import SamplingParams
from components.sampling.batches import BatchSampler, plan_batches
from components.sampling.splits import SPLITS
from components.sampling.triplets import TripletSampler, plan_triplets


def write_plans(
    splits: pa.Table, folder: Path, *, params: SamplingParams, schema: AttributeSchema
) -> dict[str, dict[str, list[str]]]:
    """Writes triplets of each split and, for method `batches`, the batches of all epochs.

    Returns what could not be sampled: per split, the names of values of a single image and of
    attributes of a single value. The same is written to `left_out.json`.
    """
    left_out = {}
    for number, split in enumerate(SPLITS):
        labels = splits.filter(pc.field("split") == split)
        if not labels.num_rows:
            continue
        try:
            sampler = TripletSampler(labels)
        except HemlineError as error:
            raise HemlineError(f"split {split}: {error}; label more images") from error
        is_train = split == "train"
        plan = plan_triplets(
            sampler,
            num_epochs=params.num_epochs if is_train else 1,
            triplets_per_epoch=(
                params.triplets_per_epoch if is_train else params.evaluation_triplets
            ),
            seed=params.seed + number,
        )
        files.write_row_groups(plan, folder / f"{split}.parquet", schema=tables.TRIPLETS)
        left_out[split] = _names(sampler, schema)
    if params.method == "batches":
        _write_batches(splits, folder, params=params)
    files.write_json(left_out, folder / "left_out.json")
    return left_out


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


def _names(sampler: TripletSampler, schema: AttributeSchema) -> dict[str, list[str]]:
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
