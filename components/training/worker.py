"""Distributed training with Ray Train: what each worker runs, and how the workers are started.

State lies in one folder that all workers see; the first worker writes it after every epoch. Ray
restarts workers that die, and a new driver with the same folder goes on where the last one
stopped: both find the state and skip what is done. The state is written here and not through
`ray.train.report`, because a reported checkpoint is durable only once the controller has polled
it, and because Ray's local mode keeps none.
"""

from functools import partial
from pathlib import Path

import ray.train
import torch
from ray.train import FailureConfig, RunConfig, ScalingConfig, WorkerGroupError
from ray.train.torch import TorchTrainer, get_device, prepare_model

from components.errors import HemlineError
from components.params import ModelParams, TrainParams
from components.training.loop import LogEpoch, Place, train
from components.training.setup import TrainingInputs, build_run


def run_training(
    inputs: TrainingInputs,
    *,
    model_params: ModelParams,
    train_params: TrainParams,
    state_folder: Path,
    log_epoch: LogEpoch,
) -> None:
    """Trains to the end of the plan; leaves state and best weights in `state_folder`.

    Args:
        inputs: absolute paths that all workers see, and the store, which may be a URL.
        model_params: the network.
        train_params: objective, optimiser, number and kind of workers; 0 workers train in this
            process, without Ray's processes.
        state_folder: absolute path that all workers see; a state in it is taken up.
        log_epoch: called by the first worker after every epoch; must be picklable.
    """
    trainer = TorchTrainer(
        partial(
            _train_on_worker,
            inputs=inputs,
            model_params=model_params,
            train_params=train_params,
            state_folder=state_folder,
            log_epoch=log_epoch,
        ),
        scaling_config=ScalingConfig(
            num_workers=train_params.num_workers,
            use_gpu=train_params.use_gpu,
            resources_per_worker={"CPU": train_params.cpus_per_worker},
        ),
        run_config=RunConfig(
            name=state_folder.name,
            storage_path=str(state_folder / "ray"),
            failure_config=FailureConfig(max_failures=train_params.max_failures),
        ),
    )
    try:
        trainer.fit()
    except WorkerGroupError as error:
        raise _expected(error) or error from error


def _expected(error: WorkerGroupError) -> HemlineError | None:
    """Returns the message for the user that a worker stopped with; None for any other failure."""
    for failure in error.worker_failures.values():
        cause = failure if isinstance(failure, HemlineError) else failure.__cause__
        if isinstance(cause, HemlineError):
            return cause
    return None


def _train_on_worker(
    *,
    inputs: TrainingInputs,
    model_params: ModelParams,
    train_params: TrainParams,
    state_folder: Path,
    log_epoch: LogEpoch,
) -> None:
    torch.set_num_threads(train_params.cpus_per_worker)
    context = ray.train.get_context()
    place = Place(
        rank=context.get_world_rank(), world_size=context.get_world_size(), device=get_device()
    )
    run = build_run(
        inputs,
        model_params=model_params,
        train_params=train_params,
        state_folder=state_folder,
        place=place,
    )
    # the wrapper shares the learner's parameters, which stay plain in the optimiser and the state
    forward = prepare_model(run.state.learner) if place.world_size > 1 else run.state.learner
    train(run, forward, place=place, log_epoch=log_epoch)
