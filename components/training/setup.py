"""From params and tables to everything that a training loop needs."""

from dataclasses import dataclass
from pathlib import Path

import pyarrow.compute as pc
import torch
from torch.optim import Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR, StepLR

from components import files, tables
from components.errors import HemlineError
from components.images.remote_store import StoreLocation
from components.images.store import ImageStore
from components.models.build import build_model
from components.params import ModelParams, TrainParams
from components.training.feed import Feed
from components.training.loop import Place, Run
from components.training.objectives import build_objective
from components.training.plan import BatchPlan, Plan, TripletPlan
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
    state_folder: Path,
    place: Place,
) -> Run:
    """Returns a run, its state taken up from `state_folder` where one is saved.

    Raises:
        HemlineError: a table is missing, the batch cannot be shared out evenly, the backbone's
            weights cannot be loaded, or the saved state does not fit.
    """
    schema = tables.read_schema(inputs.catalog / "schema.json")
    splits = files.read_table(inputs.splits / "splits.parquet", schema=tables.SPLITS)
    store = ImageStore(inputs.store.local())
    plan = _plan(inputs.triplets, train_params)
    if plan.rows_per_step % place.world_size:
        raise HemlineError(
            f"a batch of {plan.rows_per_step} rows cannot be shared out evenly among "
            f"train.num_workers {place.world_size}"
        )
    torch.manual_seed(train_params.seed)
    network = build_model(
        name=model_params.name,
        num_attributes=len(schema.attributes),
        backbone=model_params.backbone,
        weights=model_params.weights,
        embedding_dim=model_params.embedding_dim,
        attention_dim=model_params.attention_dim,
        normalise_features=model_params.normalise_features,
        **model_params.parts,
    )
    learner = Learner(
        network.to(memory_format=torch.channels_last),
        build_objective(train_params),
        loss_weighting=train_params.loss_weighting,
    ).to(place.device)
    optimizer = _optimizer(learner, train_params)
    scheduler = _scheduler(optimizer, train_params, plan)
    state = TrainingState(learner, optimizer, scheduler, folder=state_folder)
    state.restore()
    labels = splits.filter(pc.field("split") == "train")
    return Run(
        plan=plan,
        feed=Feed(plan, store, labels, schema=schema, device=place.device),
        state=state,
        store=store,
        splits=splits,
        num_attributes=len(schema.attributes),
        precision=torch.bfloat16 if train_params.precision == "bf16" else torch.float32,
    )


def _plan(folder: Path, params: TrainParams) -> Plan:
    if params.objective == "triplet":
        return TripletPlan(
            folder / "train.parquet",
            triplets_per_batch=params.triplets_per_batch,
            flip_probability=params.flip_probability,
            seed=params.seed,
        )
    return BatchPlan(
        folder / "batches.parquet",
        flip_probability=params.flip_probability,
        seed=params.seed,
    )


def _optimizer(learner: Learner, params: TrainParams) -> Optimizer:
    kind = {"adam": Adam, "adamw": AdamW}[params.optimizer]
    return kind(
        learner.parameters(), lr=params.learning_rate, weight_decay=params.weight_decay, fused=True
    )


def _scheduler(optimizer: Optimizer, params: TrainParams, plan: Plan) -> LRScheduler:
    """Returns a schedule that is stepped after every optimisation step."""
    if params.schedule == "step":
        return StepLR(
            optimizer, step_size=params.step_epochs * plan.num_steps, gamma=params.step_factor
        )
    return OneCycleLR(
        optimizer,
        max_lr=params.learning_rate,
        total_steps=plan.num_epochs * plan.num_steps,
        pct_start=params.warmup_share,
    )
