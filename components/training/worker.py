"""Distributed training with Ray Train: what each worker runs, and how the workers are started.

State lies in one folder that all workers see; the first worker writes it after every epoch. Ray
restarts workers that die, and a new driver with the same folder resumes where the last one stopped.

The state is not written through `ray.train.report`. All workers have to take part in every report;
a reported checkpoint counts once the controller has polled it from them, for which one would have
to wait each time (`get_all_reported_checkpoints` with CheckpointConsistencyMode.COMMITTED, an alpha
API); and Ray's local mode, which trains without workers, keeps it in memory only.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import ray.train
import torch
from ray.exceptions import RayActorError
from ray.train import (
    ControllerError,
    FailureConfig,
    RunConfig,
    ScalingConfig,
    WorkerGroupError,
)
from ray.train.torch import TorchTrainer, get_device, prepare_model
from torch import nn

from components.errors import HemlineError
from components.freed_memory import ENVIRONMENT
from components.models.timm_backbones import synchronise_norms
from components.params import CheckpointParams, ModelParams, TrainParams
from components.training.global_ranking import rank_globally
from components.training.loop import Log, Run, train
from components.training.plan import Place
from components.training.setup import TrainingInputs, build_run
from components.training.state import BEST_WEIGHTS
from components.training.step import take_gradients


def run_training(
    inputs: TrainingInputs,
    *,
    model_params: ModelParams,
    train_params: TrainParams,
    checkpoint_params: CheckpointParams,
    state_folder: Path,
    log: Log,
    attributes: Sequence[str] = (),
) -> None:
    """Trains to the end of the plan; leaves state and best weights in `state_folder`.

    A checkpoint in `state_folder` is resumed. 0 workers train in this process, without Ray's. All
    paths are absolute, and all workers see them; the store may be a URL. `attributes` are those
    asked, all where none is named. `log` is called by the
    first worker and must be picklable; a resumed run may repeat rows.
    """
    least, most = train_params.workers
    build = partial(
        build_run,
        inputs,
        model_params=model_params,
        train_params=train_params,
        checkpoint_params=checkpoint_params,
        state_folder=state_folder,
        attributes=attributes,
    )
    trainer = TorchTrainer(
        partial(
            _train_on_worker,
            build,
            state_folder,
            num_threads=train_params.cpus_per_worker,
            log=log,
        ),
        scaling_config=ScalingConfig(
            num_workers=least if least == most else (least, most),
            use_gpu=train_params.use_gpu,
            resources_per_worker={"CPU": train_params.cpus_per_worker},
        ),
        run_config=RunConfig(
            name=state_folder.name,
            storage_path=str(state_folder / "ray"),
            failure_config=FailureConfig(max_failures=train_params.max_failures),
            worker_runtime_env={"env_vars": {} if train_params.use_gpu else {**ENVIRONMENT}},
        ),
    )
    for failures_left in reversed(range(train_params.max_failures + 1)):
        try:
            _fit(trainer)
            break
        except ControllerError as error:
            if not failures_left or not isinstance(error.controller_failure, RayActorError):
                raise


def _fit(trainer: TorchTrainer) -> None:
    """Trains; what hemline itself raised on a worker is raised here.

    Ray replaces a worker that dies while it trains. Where one dies while Ray starts or stops the
    others, as on a busy machine, Ray 2.60 gives the run up with a ControllerError instead.
    """
    try:
        trainer.fit()
    except WorkerGroupError as error:
        failures = error.worker_failures.values()
        causes = [cause for failure in failures for cause in (failure, failure.__cause__)]
        expected = [cause for cause in causes if isinstance(cause, HemlineError)]
        raise expected[0] if expected else error from error


def _train_on_worker(
    build: Callable[..., Run], state_folder: Path, *, num_threads: int, log: Log
) -> None:
    torch.set_num_threads(num_threads)
    context = ray.train.get_context()
    place = Place(
        rank=context.get_world_rank(), world_size=context.get_world_size(), device=get_device()
    )
    run = build(place=place)
    run.state.restore()
    wrap = None
    if place.world_size > 1:
        wrap = partial(_data_parallel, run, place)
        if run.params.sync_batchnorm:
            synchronise_norms(run.state.learner)
    if run.params.compile:
        run.state.learner.compile()
    try:
        train(run, place=place, log=log, wrap=wrap)
        if run.params.global_ranking_epochs and place.is_first:
            rank_globally(run, state_folder / BEST_WEIGHTS, place=place, log=log)
    except torch.OutOfMemoryError as error:
        share = run.plan.images_per_step // place.world_size
        raise HemlineError(
            f"{place.device} is out of memory: {share} images of {run.store.image_size_px} px a "
            "step. Set train.images_at_once, train on more workers, or make the batch smaller "
            "(train.triplets_per_batch, or sampling.attributes_per_batch, values_per_attribute, "
            "images_per_value) or the images (preprocess.image_size_px), or train.precision bf16"
        ) from error


def _data_parallel(run: Run, place: Place) -> nn.Module:
    """Returns a wrapper of the learner that adds up the gradients of all workers.

    The wrapper shares the learner's parameters, which stay plain in the optimiser and the state.
    After its first backward pass it lays gradients out again, in the order in which they came, and
    sums over workers are not associative: a pass ahead of training makes the first step after a
    checkpoint the same to the bit as the same step of a run that was not interrupted.
    """
    learner = run.state.learner
    wrapped: nn.Module = prepare_model(learner)
    before = {name: tensor.clone() for name, tensor in learner.state_dict().items()}
    rows = run.feed.batches(first_step=0, rank=place.rank, world_size=place.world_size)
    take_gradients(
        wrapped.train(),
        learner,
        next(iter(rows)),
        images_at_once=run.params.images_at_once,
        autocast=run.autocast(place.device),
        seed_part=torch.manual_seed,
    )
    learner.load_state_dict(before)
    run.state.optimizer.zero_grad()
    return wrapped
