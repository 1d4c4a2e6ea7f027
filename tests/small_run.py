"""Eight small images with two attributes, and training runs on them.

The attributes cut the images across one another: two images alike in one differ in the other half
the time, so that no single embedding serves both.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from builders import splits_table

from components import files, tables
from components.attributes import Attribute, AttributeSchema
from components.images.remote_store import StoreLocation
from components.images.store import (
    Shard,
    StoredImages,
    shard_file,
    write_manifest,
    write_shard,
)
from components.params import CheckpointParams, ModelParams, TrainParams, resolved
from components.sampling.batches import BatchSampler, plan_batches
from components.sampling.triplets import TripletSampler, plan_triplets
from components.training.loop import Run
from components.training.plan import Place
from components.training.setup import TrainingInputs, build_run

NUM_IMAGES = 8
IMAGE_SIZE_PX = 32
SCHEMA = AttributeSchema(
    dataset="noise",
    attributes=(
        Attribute(name="length", values=("short", "long")),
        Attribute(name="collar", values=("none", "round")),
    ),
)
WITH_ITEMS = replace(
    SCHEMA,
    attributes=(*SCHEMA.attributes, Attribute(name="item", num_items=100)),
    landmarks=("left edge", "right edge", "middle"),
)
HERE = Place(rank=0, world_size=1, device=torch.device("cpu"))
_PARAMS = resolved(Path(__file__).parents[1] / "params.yaml")
MODEL = ModelParams(
    **_PARAMS["model"]
    | {"backbone": "tiny", "weights": "none", "embedding_dim": 16, "attention_dim": 8}
)
TRAIN = _PARAMS["train"] | {
    "objective": "supcon",
    "margin": 0.2,
    "temperature": 0.1,
    "positive_scale": 2.0,
    "negative_scale": 10.0,  # of 50, rounding in float32 would show
    "similarity_threshold": 0.5,
    "loss_weighting": "uncertainty",
    "triplets_per_batch": 8,
    "optimizer": "adam",
    "learning_rate": 0.003,
    "schedule": "one_cycle",
    "flip_probability": 0.5,
    "precision": "fp32",
    "log_every_steps": 1,
}
CHECKPOINT = CheckpointParams(every_steps=1000, num_to_keep=2)


def noise(num_images: int) -> np.ndarray:
    """Returns pixels that differ everywhere."""
    shape = (num_images, IMAGE_SIZE_PX, IMAGE_SIZE_PX, 3)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def _values(image: int) -> tuple[int, int]:
    return image % 2, image // 2 % 2


def _pictures() -> np.ndarray:
    """Returns noise, red or blue by the first attribute, dark above or below by the second."""
    pixels = noise(NUM_IMAGES)
    for image, picture in enumerate(pixels):
        colour, half = _values(image)
        picture[:, :, 2 * colour] = 255
        picture[half * IMAGE_SIZE_PX // 2 :][: IMAGE_SIZE_PX // 2] //= 4
    return pixels


def write_store(
    folder: Path,
    images: np.ndarray,
    pixels: np.ndarray,
    *,
    shards: int = 1,
    crop: str = "centre",
) -> None:
    """Writes the pixels of the given image numbers, shared out among a number of shards."""
    listed, size_px = [], pixels.shape[1]
    for index, rows in enumerate(np.array_split(np.arange(len(images)), shards)):
        batch = StoredImages(images[rows].tolist(), ["00" * 32] * len(rows), pixels[rows])
        path = folder / shard_file(index)
        write_shard(path, [batch], image_size_px=size_px, recipe="r")
        listed.append(Shard(file=shard_file(index), key="", num_images=len(rows), quarantined=()))
    write_manifest(folder, listed, image_size_px=size_px, crop=crop)


def _item(image: int) -> int:
    """Two images of each item, whose number is one of many."""
    return 20 * (image % (NUM_IMAGES // 2)) + 7


def _splits(schema: AttributeSchema) -> pa.Table:
    """The same images to train on and to validate with: half of them ask, half answer."""
    rows = []
    for image in range(NUM_IMAGES):
        values = (*_values(image), _item(image))[: len(schema.attributes)]
        for attribute, value in enumerate(values):
            role = "query" if image < NUM_IMAGES // 2 else "gallery"
            rows.append((image, attribute, value, "train", "train"))
            rows.append((image, attribute, value, "valid", role))
    return splits_table(rows)


def _write_places(catalog: Path) -> None:
    """Writes where landmarks are: in the last image, nowhere; of the others, the middle or not."""
    side = float(IMAGE_SIZE_PX)
    columns = {"path": "", "bytes": 1, "sha256": "", "width": int(side), "height": int(side)}
    images = [{"image": image, **columns} for image in range(NUM_IMAGES)]
    landmarks = [
        {
            "image": image,
            "landmark": landmark,
            "x": side * (landmark + 0.5) / 3 if is_seen else None,
            "y": side * (image + 0.5) / NUM_IMAGES if is_seen else None,
            "visibility": "visible" if is_seen else "absent",
        }
        for image in range(NUM_IMAGES - 1)
        for landmark in range(3)
        for is_seen in [landmark < 2 or image % 2 == 0]
    ]
    for name, rows, schema in (
        (tables.IMAGES_FILE, images, tables.IMAGES),
        (tables.LANDMARKS_FILE, landmarks, tables.LANDMARKS),
    ):
        files.write_table(pa.Table.from_pylist(rows, schema=schema), catalog / name, schema=schema)


def write_inputs(
    folder: Path,
    *,
    num_epochs: int,
    steps_per_epoch: int,
    attributes_per_batch: int = 2,
    images_per_value: int = 2,
    schema: AttributeSchema = SCHEMA,
) -> TrainingInputs:
    """Writes all that a training run reads; a batch has two values of each attribute in it.

    `schema` is `SCHEMA`, or `WITH_ITEMS`, which has landmarks too.
    """
    inputs = TrainingInputs(
        catalog=folder / "catalog",
        store=StoreLocation(address=str(folder / "store"), cache=folder / "cache"),
        splits=folder / "splits",
        triplets=folder / "triplets",
    )
    files.write_json(schema.as_dict(), inputs.catalog / "schema.json")
    if schema.landmarks:
        _write_places(inputs.catalog)
    write_store(inputs.store.local(), np.arange(NUM_IMAGES), _pictures())
    splits = _splits(schema)
    files.write_table(splits, inputs.splits / "splits.parquet", schema=tables.SPLITS)
    labels = splits.filter(pc.field("split") == "train")
    triplets = plan_triplets(
        TripletSampler(labels),
        num_epochs=num_epochs,
        triplets_per_epoch=steps_per_epoch * TRAIN["triplets_per_batch"],
        seed=1,
    )
    files.write_row_groups(triplets, inputs.triplets / "train.parquet", schema=tables.TRIPLETS)
    sampler = BatchSampler(
        labels,
        attributes_per_batch=attributes_per_batch,
        values_per_attribute=2,
        images_per_value=images_per_value,
    )
    batches = plan_batches(
        sampler, num_epochs=num_epochs, batches_per_epoch=steps_per_epoch, seed=1
    )
    files.write_row_groups(batches, inputs.triplets / "batches.parquet", schema=tables.BATCHES)
    return inputs


def build(
    inputs: TrainingInputs,
    state_folder: Path,
    *,
    place: Place = HERE,
    model: ModelParams = MODEL,
    checkpoint: CheckpointParams = CHECKPOINT,
    attributes: Sequence[str] = (),
    **changes,
) -> Run:
    """Returns a run with changed training params, its state taken up where one is saved."""
    run = build_run(
        inputs,
        model_params=model,
        train_params=TrainParams(**TRAIN | changes),
        checkpoint_params=checkpoint,
        state_folder=state_folder,
        place=place,
        attributes=attributes,
    )
    run.state.restore()
    return run
