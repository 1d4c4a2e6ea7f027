"""Writes what training and evaluation will see, epoch by epoch: the files of stage `triplets`."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from components import files, tables
from components.attributes import AttributeSchema
from components.errors import HemlineError
from components.params import SamplingParams
from components.sampling.batches import BatchSampler, plan_batches
from components.sampling.splits import SPLITS
from components.sampling.triplets import TripletSampler, as_epoch, plan_triplets

_SLOTS = ("anchor", "positive", "negative")

LeftOut = Mapping[str, list[str] | dict[str, int]]  # names, or numbers by name


def write_epochs(
    splits: pa.Table,
    folder: Path,
    *,
    params: SamplingParams,
    schema: AttributeSchema,
    published: pa.Table | None = None,
) -> dict[str, LeftOut]:
    """Writes triplets of each split and, for method `batches`, the batches of all epochs.

    They are of `sampling.attributes` alone, where the params name some.

    Returns what was left out, by split and kind: where triplets are drawn, the names of values of a
    single image and of attributes of a single value, and the number of such items; where they are
    published, how many triplets of each attribute reach out of the split. The same is written to
    `left_out.json`.

    Args:
        splits: `tables.SPLITS`.
        folder: folder to write to.
        params: section `sampling`.
        schema: schema of the catalog.
        published: `tables.PUBLISHED_TRIPLETS` to take; without them, triplets are drawn.

    Raises:
        HemlineError: a split has no labels, or gives no triplet; or an attribute does not exist.
    """
    left_out = {}
    splits = of_attributes(splits, params.attributes, schema=schema)
    remedy = "label more images" if published is None else "or set sampling.triplets drawn"
    for number, split in enumerate(SPLITS):
        labels = splits.filter(pc.field("split") == split)
        if not labels.num_rows:
            of_which = f" of {', '.join(params.attributes)}" if params.attributes else ""
            raise HemlineError(
                f"the splits have no labels{of_which} of split {split}: `dvc repro split`"
            )
        try:
            epochs, left_out[split] = _epochs(
                labels,
                published,
                split=split,
                params=params,
                seed=params.seed + number,  # so that splits do not repeat each other
                schema=schema,
            )
            files.write_row_groups(epochs, folder / f"{split}.parquet", schema=tables.TRIPLETS)
        except HemlineError as error:
            raise HemlineError(f"split {split}: {error}; {remedy}") from error
    if params.method == "batches":
        _write_batches(splits, folder, params=params, identity=schema.identity)
    files.write_json(left_out, folder / "left_out.json")
    return left_out


def of_attributes(splits: pa.Table, names: Sequence[str], *, schema: AttributeSchema) -> pa.Table:
    """Returns the labels of some attributes, `sampling.attributes`; of all where none is named.

    Raises:
        HemlineError: an attribute does not exist.
    """
    if not names:
        return splits
    try:
        asked = [schema.index(name) for name in names]
    except HemlineError as error:
        raise HemlineError(f"sampling.attributes: {error}") from error
    return splits.filter(pc.field("attribute").isin(asked))


def _epochs(
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
    num_epochs = params.num_epochs if is_train else 1
    if published is None:
        sampler = TripletSampler(labels)
        number = params.triplets_per_epoch if is_train else params.evaluation_triplets
        epochs = plan_triplets(sampler, num_epochs=num_epochs, triplets_per_epoch=number, seed=seed)
        return epochs, _not_sampled(sampler, schema)
    asked = of_attributes(published, params.attributes, schema=schema)
    listed = asked.filter(pc.field("split") == split)
    taken, others = triplets_in_split(listed, labels)
    counts = Counter(
        schema.names[attribute] for attribute in sorted(others["attribute"].to_pylist())
    )
    left_out = {"published_triplets_that_reach_out_of_the_split": dict(counts)}
    if not is_train:
        return iter([as_epoch(taken, 0)]), left_out
    number = params.triplets_per_epoch
    epochs = plan_published(taken, num_epochs=num_epochs, triplets_per_epoch=number, seed=seed)
    return epochs, left_out


def _not_sampled(sampler: TripletSampler, schema: AttributeSchema) -> LeftOut:
    attributes, left_out = schema.attributes, sampler.left_out
    single = left_out.values_with_one_image
    items = Counter(attributes[a].name for a, _ in single if attributes[a].is_identity)
    return {
        "values_with_one_image": [
            f"{attributes[a].name}={attributes[a].values[v]}"
            for a, v in single
            if not attributes[a].is_identity
        ],
        **({"items_with_one_image": dict(items)} if items else {}),
        "attributes_with_one_value": [
            attributes[a].name for a in left_out.attributes_with_one_value
        ],
    }


def _write_batches(
    splits: pa.Table, folder: Path, *, params: SamplingParams, identity: int | None
) -> None:
    batches = plan_batches(
        BatchSampler(
            splits.filter(pc.field("split") == "train"),
            attributes_per_batch=params.attributes_per_batch,
            values_per_attribute=params.values_per_attribute,
            images_per_value=params.images_per_value,
            identity=identity,
        ),
        num_epochs=params.num_epochs,
        batches_per_epoch=params.batches_per_epoch,
        seed=params.seed,
    )
    files.write_row_groups(batches, folder / tables.BATCHES_FILE, schema=tables.BATCHES)


def triplets_in_split(published: pa.Table, labels: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Returns the published triplets of a split that stay in it, and the others, in their order.

    A triplet of `tables.PUBLISHED_TRIPLETS` stays where each of its images has a label of its
    attribute among the `tables.SPLITS` of the split.

    Raises:
        HemlineError: none stays in it.
    """
    labelled = _keys_of(labels, "image")
    stays = np.all([np.isin(_keys_of(published, slot), labelled) for slot in _SLOTS], axis=0)
    if not stays.any():
        raise HemlineError(
            f"each of {published.num_rows} published triplets has an image without a label of its "
            "attribute in this split"
            if published.num_rows
            else "the data set publishes no triplets"
        )
    return published.filter(stays), published.filter(~stays)


def plan_published(
    triplets: pa.Table, *, num_epochs: int, triplets_per_epoch: int, seed: int
) -> Iterator[pa.Table]:
    """Yields some of the triplets in random order for each epoch, as `tables.TRIPLETS`.

    An epoch has each triplet at most once and depends on (seed, epoch); it is all of the list where
    that has no more than triplets_per_epoch.
    """
    for epoch in range(num_epochs):
        shuffled = np.random.default_rng([seed, epoch]).permutation(triplets.num_rows)
        yield as_epoch(triplets.take(shuffled[:triplets_per_epoch]), epoch)


def _keys_of(table: pa.Table, image: str) -> NDArray[np.int64]:
    """Returns one number per row for its attribute and image; image numbers are below 2^48."""
    return (table["attribute"].to_numpy().astype(np.int64) << 48) + table[image].to_numpy()
