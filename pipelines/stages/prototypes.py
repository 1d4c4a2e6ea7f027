"""Stage `prototypes`: the trained network's embeddings → a vector for every value."""

import numpy as np
import torch

from components import tables
from components.evaluation.encode import encode
from components.evaluation.evaluation import held_out_images
from components.evaluation.manipulation_task import labelled_embeddings
from components.freed_memory import keep_freed_memory
from components.images.store import ImageStore
from components.prototypes.fitting import fit
from components.prototypes.listed import listed_part
from components.prototypes.making import make_prototypes, sampled_labels
from components.prototypes.prototypes import Prototypes, no_prototypes, write_prototypes
from components.training.trained import identity, read_trained_model
from pipelines.shell import options
from pipelines.shell.environment import store_location
from pipelines.shell.reporting import console, notes, progress

_IMAGES_PER_VALUE = 500  # a mean of more is the same to three digits
_HELD_OUT_IMAGES = 2000


def prototypes(
    *,
    model: options.Model,
    store: options.StoreAddress,
    splits: options.Splits,
    prototypes_file: options.PrototypesFile,
) -> None:
    """Make a vector for every value of every attribute: the mean of its training embeddings.

    Of each value 500 images are embedded, evenly spaced; one that no training image has gets no
    vector. A network that has learned such vectors (fashionsearchnet_v2) gives its own. On at most
    2,000 images of the validation split, the attributes' weights for searches with changed values
    are fitted, and what makes probabilities honest. Single products have no vectors.
    """
    keep_freed_memory()
    trained = read_trained_model(model)
    schema, table, places = listed_part(tables.read_splits(splits), trained.schema)
    if not places:
        write_prototypes(no_prototypes(identity(model)), prototypes_file)
        console.print("no attribute has listed values: there are no prototypes")
        return
    labels = table.select(["image", "attribute", "value", "split"]).to_pandas()
    training, in_valid = (labels[labels["split"] == name] for name in ("train", "valid"))
    sampled = sampled_labels(training, images_per_value=_IMAGES_PER_VALUE)
    valid = held_out_images(table, "valid")
    valid = valid[:: -(-len(valid) // _HELD_OUT_IMAGES) or 1]
    images = np.union1d(sampled["image"].to_numpy(), valid)
    pictures = ImageStore(store_location(store).local())
    pictures.check_crop(trained.crop, of=str(model))
    with progress("embedding images of all values", total=len(images)) as advance:
        embeddings = encode(
            trained.embed,
            pictures,
            images,
            num_attributes=len(trained.schema.attributes),
            device=torch.device("cpu"),
            on_progress=advance,
        )
    embeddings = np.take(embeddings, places, axis=1)
    learned = trained.network.prototypes()
    made = make_prototypes(
        training,
        schema,
        images,
        embeddings,
        learned=None if learned is None else [learned[x].detach().numpy() for x in places],
    )
    held_out = labelled_embeddings(
        in_valid,
        valid,
        num_values=schema.num_values,
        images=images,
        embeddings=embeddings,
    )
    weights, calibrations = fit(held_out, made)
    found = Prototypes(
        attributes=dict(zip(schema.names, made, strict=True)),
        weights=dict(zip(schema.names, weights, strict=True)),
        calibrations=dict(zip(schema.names, calibrations, strict=True)),
        model=identity(model),
    )
    write_prototypes(found, prototypes_file)
    num_values = sum(schema.num_values)
    num_missing = sum(map(len, found.missing.values()))
    console.print(f"{num_values - num_missing} of {num_values} values have a prototype")
    for name, values in found.missing.items():
        notes.print(f"no training image has {name}: {', '.join(values)}", markup=False)
