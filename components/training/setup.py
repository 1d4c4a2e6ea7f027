"""From params and tables to everything that a training loop needs."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pyarrow.compute as pc
import torch

from components import files, tables
from components.attributes import AttributeSchema
from components.errors import HemlineError
from components.images.augmentation import Augmentation
from components.images.geometry import landmarks_in_square
from components.images.remote_store import StoreLocation
from components.images.store import ImageStore
from components.losses.combined import CombinedLoss, StagedLoss
from components.models.build import build_model
from components.models.initial_weights import weights_file
from components.models.network import EmbeddingNetwork
from components.params import CheckpointParams, ModelParams, TrainParams
from components.training.auxiliary import auxiliary_losses
from components.training.classification import Classification
from components.training.feed import Feed, Landmarks, mapped_pixels, resident_pixels
from components.training.loop import Run
from components.training.objectives import Objective, build_objective
from components.training.optimisation import build_optimizer, build_scheduler
from components.training.plan import BatchPlan, Place, Plan, TripletPlan
from components.training.state import TrainingState
from components.training.step import Learner


@dataclass(frozen=True, kw_only=True)
class TrainingInputs:
    """Where a run's inputs lie."""

    catalog: Path
    store: StoreLocation
    splits: Path
    triplets: Path


def build_run(
    inputs: TrainingInputs,
    *,
    model_params: ModelParams,
    train_params: TrainParams,
    checkpoint_params: CheckpointParams,
    state_folder: Path,
    place: Place,
    attributes: Sequence[str] = (),
) -> Run:
    """Returns a run at its first step; `attributes` are those asked, all where none is named.

    Raises:
        HemlineError: a table is missing, the batch cannot be shared out evenly, or the backbone's
            weights cannot be loaded.
    """
    schema = tables.read_schema(inputs.catalog)
    splits = tables.read_splits(inputs.splits)
    store = ImageStore(inputs.store.local())
    plan = read_plan(inputs.triplets, train_params)
    _check_shares(plan, train_params)
    asked = [schema.index(name) for name in attributes or schema.names]
    labels = splits.filter(pc.field("split") == "train")
    if train_params.store_residency == "device":
        gather = resident_pixels(store, labels["image"].to_numpy(), device=place.device)
    else:
        gather = mapped_pixels(store, device=place.device)
    feed = Feed(
        plan,
        gather,
        labels,
        schema=schema,
        device=place.device,
        asked=asked,
        landmarks=_landmarks(inputs.catalog, schema, store),
        sampled_items=train_params.sampled_classes,
    )
    torch.manual_seed(train_params.seed)
    network = build_network(model_params, schema)
    augmentation = Augmentation(
        flip_probability=train_params.flip_probability,
        crop_min_area=train_params.crop_min_area,
        colour_jitter=train_params.colour_jitter,
        erase_probability=train_params.erase_probability,
        erased_to=network.pixel_statistics.mean,
    )
    learner = Learner(
        network.to(memory_format=torch.channels_last),
        _objective(
            train_params,
            num_classes=[feed.num_classes[attribute] for attribute in asked],
            identity=asked.index(schema.identity) if schema.identity in asked else None,
            embedding_dim=model_params.embedding_dim,
        ),
        combine=_combination(model_params.name, train_params),
        augmentation=augmentation,
        auxiliary=auxiliary_losses(schema, augmentation),
        frozen_epochs=train_params.frozen_epochs,
        frozen_norms=train_params.frozen_norms,
    ).to(place.device)
    optimizer = build_optimizer(learner, train_params)
    state = TrainingState(
        learner,
        optimizer,
        build_scheduler(optimizer, train_params, plan),
        folder=state_folder,
        num_to_keep=checkpoint_params.num_to_keep,
        ema_decay=train_params.ema_decay,
    )
    return Run(
        plan=plan,
        feed=feed,
        state=state,
        store=store,
        splits=splits,
        num_attributes=len(schema.attributes),
        asked=asked,
        params=train_params,
        checkpoint=checkpoint_params,
    )


def initial_weights(params: ModelParams) -> Path | None:
    """Returns the file of the weights that the backbone starts from; None: it starts from none.

    Raises:
        HemlineError: it is a file of a Python package that is not installed, or has no such file.
    """
    return weights_file(params.weights)


def with_absolute_weights(params: ModelParams) -> ModelParams:
    """Returns the params with the path of their weights made absolute, if it is one of a file.

    Workers run in other folders.
    """
    path = Path(params.weights)
    is_file = params.weights != "none" and path.is_file()
    return replace(params, weights=str(path.absolute())) if is_file else params


def build_network(params: ModelParams, schema: AttributeSchema) -> EmbeddingNetwork:
    """Returns the network that params describe, with the weights that it starts from."""
    return build_model(
        num_values=schema.num_listed, num_landmarks=len(schema.landmarks), **asdict(params)
    )


def _objective(
    params: TrainParams, *, num_classes: Sequence[int], identity: int | None, embedding_dim: int
) -> Objective:
    """Returns the objective that params name; `Classification` says what the others are."""
    if params.objective != "classification":
        return build_objective(params)
    return Classification(
        num_classes, embedding_dim, identity=identity, temperature=params.temperature
    )


def _combination(name: str, params: TrainParams) -> CombinedLoss | StagedLoss:
    """Returns what makes one loss of several of the network of that name."""
    if name == "fashionsearchnet_v2":
        return StagedLoss(
            first=["map_values"],
            classification_epochs=params.classification_epochs,
            ranking_weight=params.ranking_weight,
        )
    if name == "ahbn":
        weights = {"values": params.attribute_weight, "landmarks": params.landmark_weight}
        return StagedLoss(
            first=[*weights], classification_epochs=params.classification_epochs, weights=weights
        )
    return CombinedLoss(weighting=params.loss_weighting)


def _landmarks(catalog: Path, schema: AttributeSchema, store: ImageStore) -> Landmarks | None:
    """Returns the landmarks of stored images, where the data set marks some."""
    if not schema.landmarks:
        return None
    return landmarks_in_square(
        tables.read_landmarks(catalog),
        files.read_table(catalog / tables.IMAGES_FILE, schema=tables.IMAGES),
        tables.read_boxes(catalog),
        schema.landmarks,
        crop=store.crop,
    )


def _check_shares(plan: Plan, params: TrainParams) -> None:
    least, most = params.workers
    for world_size in range(max(least, 1), most + 1):
        if plan.rows_per_step % world_size:
            raise HemlineError(
                f"a batch of {plan.rows_per_step} rows cannot be shared out evenly among "
                f"{world_size} workers (train.num_workers {params.num_workers})"
            )


def read_plan(folder: Path, params: TrainParams) -> Plan:
    """Returns what was planned for training in a folder of triplets and batches.

    Raises:
        HemlineError: it is missing, or an epoch has fewer triplets than a step.
    """
    if params.asks_triplets:
        path, per_batch = folder / "train.parquet", params.triplets_per_batch
        return TripletPlan(path, triplets_per_batch=per_batch, seed=params.seed)
    return BatchPlan(folder / tables.BATCHES_FILE, seed=params.seed)
