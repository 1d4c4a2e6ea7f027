"""Stage `prototypes`: the trained network's training embeddings → a vector for every value."""

import numpy as np
import torch

from components import tables
from components.evaluation.encode import encode
from components.images.store import ImageStore
from components.prototypes.making import make_prototypes, sampled_labels
from components.prototypes.prototypes import Prototypes, write_prototypes
from components.training.trained import identity, read_trained_model
from pipelines.shell import options
from pipelines.shell.environment import store_location
from pipelines.shell.reporting import console, notes, progress

_IMAGES_PER_VALUE = 500  # a mean of more is the same to three digits


def prototypes(
    *,
    model: options.Model,
    store: options.StoreAddress,
    splits: options.Splits,
    prototypes_file: options.PrototypesFile,
) -> None:
    """Make a vector for every value of every attribute: the mean of its training embeddings.

    A value is made of at most 500 images, evenly spaced. A value that no training image has gets
    no vector.
    """
    trained = read_trained_model(model)
    labels = sampled_labels(tables.read_splits(splits), images_per_value=_IMAGES_PER_VALUE)
    images = np.unique(labels["image"].to_numpy())
    pictures = ImageStore(store_location(store).local())
    with progress("embedding training images", total=len(images)) as advance:
        embeddings = encode(
            trained.embed,
            pictures,
            images,
            num_attributes=len(trained.schema.attributes),
            device=torch.device("cpu"),
            on_progress=advance,
        )
    made = make_prototypes(labels, trained.schema, images, embeddings)
    found = Prototypes(
        attributes=dict(zip(trained.schema.names, made, strict=True)),
        weights=dict.fromkeys(trained.schema.names, 1.0),
        model=identity(model),
    )
    write_prototypes(found, prototypes_file)
    num_values = sum(len(attribute.values) for attribute in trained.schema.attributes)
    num_missing = sum(map(len, found.missing.values()))
    console.print(f"{num_values - num_missing} of {num_values} values have a prototype")
    for name, values in found.missing.items():
        notes.print(f"no training image has {name}: {', '.join(values)}", markup=False)
