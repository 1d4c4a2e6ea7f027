"""Growing a network: attributes that it does not know are added, and nothing else is trained.

Where only values are new, of attributes that it knows, nothing is trained at all: the network is
taken as it is, and what is made of it anew, prototypes among it, knows the values.

Features of the training images by the frozen network are computed once, and each new attribute gets
a probe of them (`probes.py`): a ridge regression from features to values, whose predictions are the
embedding. Nothing is drawn at random: the same images, labels and network make the same probe.

The version to grow lies in a folder of the project, as `hemline grow` writes it: weights and
description of its network as those of a trained one, the package that it was registered with, and
its name.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray

from components import files, tables
from components.attributes import AttributeSchema
from components.errors import HemlineError, command_line
from components.evaluation.evaluation import takes_part
from components.images.store import ImageStore
from components.models.grown import GrownNetwork, LinearProbe, growable, grown_network
from components.models.network import EmbeddingNetwork
from components.params import ModelParams, TrainParams
from components.training.loop import Log
from components.training.plan import Place
from components.training.probes import (
    Features,
    Labels,
    Reading,
    fit_probe,
    map_features,
    reading_of,
    training_labels,
)
from components.training.setup import TrainingInputs
from components.training.state import BEST_WEIGHTS, EpochMetrics
from components.training.trained import (
    TrainedModel,
    read_description,
    read_trained_model,
    save_weights,
)
from components.training.validation import validate

MIN_LABELS = 50
"""Training images with a label that an attribute needs to be grown (docs/log.md)."""

# of the section `model`: what its weights were before it was trained has no part in growing
_NOT_COMPARED = ("weights", "pixel_mean", "pixel_std")


@dataclass(frozen=True, kw_only=True)
class Parent:
    """The version to grow: its name, the SHA-256 of its graph, and its network."""

    uri: str
    graph_sha256: str
    model: TrainedModel
    description: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Growth:
    """What is to be grown of a parent, so that it answers for the attributes of a schema.

    `mirrors` says whether a mirror image has the labels of its image.
    """

    parent: Parent
    schema: AttributeSchema
    splits: pa.Table
    store: ImageStore
    mirrors: bool

    @property
    def new(self) -> list[str]:
        """The attributes that the parent does not know."""
        return [name for name in self.schema.names if name not in self.parent.model.schema.names]

    @property
    def new_values(self) -> dict[str, dict[str, int]]:
        """The values that the parent does not know, of attributes that it does: `values_beyond`."""
        return values_beyond(self.parent.model.schema, self.schema, self.splits)

    @property
    def text(self) -> str:
        """What is to be done, for people."""
        counts = {name: len(self.labels(name).images_n) for name in self.new}
        counts |= {
            f"{name}={value}": number
            for name, values in self.new_values.items()
            for value, number in values.items()
        }
        added = ", ".join(f"{what} ({number} training images)" for what, number in counts.items())
        left_out = ", ".join(
            name for name in self.parent.model.schema.names if name not in self.schema.names
        )
        what = [f"adds {added}"] if added else []
        what += [f"leaves out {left_out}"] if left_out else []
        return f"{self.parent.uri} is grown, which {' and '.join(what) or 'changes nothing'}"

    @property
    def readings(self) -> dict[Reading, list[str]]:
        """The new attributes by how features are read for their labels."""
        readings: dict[Reading, list[str]] = {}
        for name in self.new:
            reading = reading_of(self.labels(name), mirrors=self.mirrors)
            readings.setdefault(reading, []).append(name)
        return readings

    @property
    def num_read(self) -> int:
        """How many images features are read of, mirror images among them."""
        return sum(
            len(self.images(names)) * (2 if reading.mirrors else 1)
            for reading, names in self.readings.items()
        )

    def images(self, names: Sequence[str]) -> NDArray[np.int64]:
        """Returns the numbers of the training images with a label of an attribute, ascending."""
        return np.unique(np.concatenate([self.labels(name).images_n for name in names]))

    def labels(self, name: str) -> Labels:
        """Returns an attribute's labels in the training split."""
        return training_labels(self.splits, self.schema.index(name))


def read_parent(folder: Path, graph_sha256: str) -> Parent:
    """Returns the version in a folder, which has the graph of that SHA-256.

    Raises:
        HemlineError: it is missing or damaged, or another version.
    """
    file = f"{folder}.dvc"
    checkout, pull = command_line("dvc", "checkout", file), command_line("dvc", "pull", file)
    remedy = (
        f"`{checkout}` or `{pull}` brings it, and so does `hemline grow` with that version; "
        "train.parent null trains the whole network"
    )
    if not (folder / tables.PARENT_VERSION).exists():
        raise HemlineError(f"train.parent names a version to grow, and {folder} has none: {remedy}")
    version = files.read_json(folder / tables.PARENT_VERSION)
    if version["graph_sha256"] != graph_sha256:
        raise HemlineError(
            f"{folder} holds {version['uri']}, whose graph is {version['graph_sha256'][:12]}, and "
            f"train.parent names {graph_sha256[:12]}: {remedy}"
        )
    return Parent(
        uri=version["uri"],
        graph_sha256=graph_sha256,
        model=read_trained_model(folder),
        description=read_description(folder),
    )


def values_beyond(
    known: AttributeSchema, schema: AttributeSchema, splits: pa.Table
) -> dict[str, dict[str, int]]:
    """Returns the values that a schema has beyond another, of attributes that are in both.

    By attribute, with the number of training images that have each; of none, a value counts for
    nothing. Single products are no such values.

    Args:
        known: what a version knows.
        schema: the catalog's.
        splits: `tables.SPLITS` of the catalog.
    """
    beyond = {}
    for number, attribute in enumerate(schema.attributes):
        if attribute.is_identity or attribute.name not in known.names:
            continue
        before = known.attributes[known.index(attribute.name)].values
        num_images = training_labels(splits, number).values_nV.sum(axis=0)
        counted = zip(attribute.values, num_images.tolist(), strict=False)  # up to the last seen
        found = {value: count for value, count in counted if count and value not in before}
        if found:
            beyond[attribute.name] = found
    return beyond


def plan_growth(
    parent: Parent,
    inputs: TrainingInputs,
    model_params: ModelParams,
    *,
    flip_probability: float,
) -> Growth:
    """Returns what is to be grown, after checking that it can be.

    `flip_probability` is that of the section `train`: 0 where a mirror image means something else.

    Raises:
        HemlineError: the parent's images are others than the store's, its network is of a kind that
            cannot be grown or another than the params', or a new attribute has too few labels.
    """
    growth = Growth(
        parent=parent,
        schema=tables.read_schema(inputs.catalog),
        splits=tables.read_splits(inputs.splits),
        store=ImageStore(inputs.store.local()),
        mirrors=flip_probability > 0,
    )
    _check_parent(parent, growth.store, model_params)
    check_labels(growth.splits, growth.schema, growth.new)
    return growth


def _check_parent(parent: Parent, store: ImageStore, model_params: ModelParams) -> None:
    model, uri = parent.model, parent.uri
    store.check_crop(model.crop, of=uri)
    if model.image_size_px != store.image_size_px:
        raise HemlineError(
            f"{uri} takes images of {model.image_size_px} px, and the store has "
            f"{store.image_size_px}: set preprocess.image_size_px {model.image_size_px}, or "
            "train.parent null, which trains the whole network"
        )
    asked, name = vars(model_params), parent.description["model"]["name"]
    for key, value in parent.description["model"].items():
        if key not in _NOT_COMPARED and asked.get(key, value) != value:
            raise HemlineError(
                f"model.{key} is {asked[key]}, and {uri} has {value}, which growing does not "
                f"change: set it to {value}, or train.parent null, which trains the whole network"
            )
    growable(_frozen(model), name=name)


def _frozen(model: TrainedModel) -> EmbeddingNetwork:
    """Returns the network that everything is grown from."""
    network = model.network
    return network.network if isinstance(network, GrownNetwork) else network


def check_labels(splits: pa.Table, schema: AttributeSchema, names: Sequence[str]) -> None:
    """Refuses attributes that cannot be grown, or whose growth could not be measured.

    Raises:
        HemlineError: their values are items; too few labels, or of one value only; no query of the
            test or validation split has an item to find.
    """
    for name in names:
        number = schema.index(name)
        if schema.attributes[number].is_identity:
            raise HemlineError(
                f"{name}: its values are single products, and a probe needs values that are listed "
                "and have several images each: train the whole network"
            )
        labels = training_labels(splits, number)
        num_labels, num_values = len(labels.images_n), int(labels.values_nV.any(axis=0).sum())
        if num_labels < MIN_LABELS:
            raise HemlineError(
                f"{name}: {num_labels} training images have a label, and growing needs "
                f"{MIN_LABELS}: label more (docs/grow.md says what how many give)"
            )
        if num_values < 2:
            raise HemlineError(
                f"{name}: all {num_labels} training images with a label have one value: label "
                "images of another value too"
            )
        of_attribute = splits.filter(pc.field("attribute") == number)
        for split in ("valid", "test"):
            rows = of_attribute.filter(pc.field("split") == split).to_pandas()
            if not _has_answer(rows):
                raise HemlineError(
                    f"{name}: no image that asks in the {split} split has another of its value to "
                    "find, so that nothing could be measured: label more of them as well"
                )


def _has_answer(labels: pd.DataFrame) -> bool:
    """Returns whether a query has an item to find, by one attribute's labels in a split."""
    groups = labels["exclusion_group"].fillna(labels["image"])
    asking, answering = (
        groups[takes_part(labels, role)].groupby(labels["value"]).agg(set)
        for role in ("query", "gallery")
    )
    both = asking.index.intersection(answering.index)
    return any(len(asking[value] | answering[value]) > 1 for value in both)


@dataclass(frozen=True, kw_only=True)
class Grown:
    """A network that was grown: what it can be built again from, and its row of the curve."""

    description: dict[str, Any]
    row: EpochMetrics


def grow(
    growth: Growth,
    params: TrainParams,
    *,
    folder: Path,
    log: Log,
    on_progress: Callable[[int], None] = lambda num_images: None,
) -> Grown:
    """Grows a network and leaves its weights in a folder, where a run that was killed goes on.

    Attributes that the parent knows are taken as they are, those that the schema lacks are left
    out, and the others are fitted to their labels in the training split. The row of the learning
    curve, which `log` gets too, has the new attributes on the validation split. `on_progress` is
    called with the number of images done since its last call.
    """
    device = torch.device("cuda" if params.use_gpu else "cpu")
    is_bf16 = params.precision == "bf16"
    autocast = torch.autocast(device.type, dtype=torch.bfloat16, enabled=is_bf16)
    parent, schema, splits = growth.parent, growth.schema, growth.splits
    section = parent.description.get("grown")
    # an attribute that the parent left out is grown by the labels that it has now
    known = [
        name if name in parent.model.schema.names else None
        for name in (section["known"] if section else parent.model.schema.names)
    ]
    network = growable(_frozen(parent.model), name=parent.description["model"]["name"])
    dim, size_px = parent.description["model"]["embedding_dim"], growth.store.image_size_px
    probes: dict[str, LinearProbe] = {}
    for reading, names in growth.readings.items():
        features = Features(
            folder / f"grid-{reading.grid_size}",
            growth.images(names),
            reading=reading,
            map_features=map_features(
                network.cpu(), image_size_px=size_px, grid_size=reading.grid_size
            ),
        )
        features.fill(
            network.to(device),
            growth.store,
            autocast=autocast,
            device=device,
            on_progress=on_progress,
        )
        for name in names:
            probes[name] = fit_probe(features, growth.labels(name), embedding_dim=dim)
    if isinstance(parent.model.network, GrownNetwork):
        probes |= parent.model.network.probes_by_name(parent.model.schema.names)
    grown = grown_network(
        network.cpu(),
        names=schema.names,
        known=known,
        probes={name: probe.shape for name, probe in probes.items()},
        embedding_dim=dim,
    ).eval()
    own = grown.probes_by_name(schema.names)
    for name, probe in own.items():
        probe.load_state_dict(probes[name].state_dict())
    save_weights(grown, folder / BEST_WEIGHTS)
    row: EpochMetrics = {"epoch": 0}
    if growth.new:
        row |= validate(
            grown.to(device),
            growth.store,
            splits,
            num_attributes=len(schema.attributes),
            asked=[schema.index(name) for name in growth.new],
            place=Place(rank=0, world_size=1, device=device),
            autocast=autocast,
        )
        log({name: row[name] for name in row if name != "epoch"}, step=0, kind="epoch")
    return Grown(
        description={
            "model": parent.description["model"],
            "grown": {
                "parent": parent.graph_sha256,
                "known": known,
                "probes": {name: probe.shape._asdict() for name, probe in own.items()},
            },
        },
        row=row,
    )
