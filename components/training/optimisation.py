"""What the optimiser does with which parameter, and how the learning rate runs."""

from collections.abc import Mapping
from typing import Any

from torch import nn
from torch.optim import Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    LinearLR,
    LRScheduler,
    OneCycleLR,
    SequentialLR,
    StepLR,
)

from components.models.backbones import backbone_layers
from components.params import TrainParams
from components.training.plan import Plan
from components.training.step import Learner


def build_optimizer(learner: Learner, params: TrainParams) -> Optimizer:
    """Returns the optimiser of all that is learned, whose groups have rate and decay of their own.

    The last block of the backbone learns with `backbone_rate` times `layer_decay` of the learning
    rate, each block before it with `layer_decay` of the next one's (Clark et al., ELECTRA, ICLR
    2020); the rest of the network with the whole of it.
    """
    return {"adam": Adam, "adamw": AdamW}[params.optimizer](
        parameter_groups(learner, params), lr=params.learning_rate, fused=True
    )


def parameter_groups(learner: Learner, params: TrainParams) -> list[dict[str, Any]]:
    """Returns the parameters by learning rate and weight decay, in the order of the learner's."""
    shares = _shares(learner.network, params)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for parameter in learner.parameters():
        is_norm_or_bias = parameter.ndim <= 1
        decays = params.decay_norms_and_biases or not is_norm_or_bias
        rate = params.learning_rate * shares.get(id(parameter), 1.0)
        groups.setdefault((rate, params.weight_decay if decays else 0.0), []).append(parameter)
    return [
        {"params": parameters, "lr": rate, "weight_decay": decay}
        for (rate, decay), parameters in groups.items()
    ]


def _shares(network: nn.Module, params: TrainParams) -> Mapping[int, float]:
    """Returns which share of the learning rate each parameter of the backbone has, by its id."""
    return {
        id(parameter): params.backbone_rate * params.layer_decay**depth
        for depth, layer in enumerate(reversed(backbone_layers(network)), start=1)
        for parameter in layer
    }


def build_scheduler(optimizer: Optimizer, params: TrainParams, plan: Plan) -> LRScheduler:
    """Returns a schedule that is stepped after every optimisation step."""
    num_steps = plan.num_epochs * plan.num_steps
    if params.schedule == "one_cycle":
        peaks = [group["lr"] for group in optimizer.param_groups]
        return OneCycleLR(
            optimizer, max_lr=peaks, total_steps=num_steps, pct_start=params.warmup_share
        )
    num_warmup = round(params.warmup_share * num_steps)
    after: LRScheduler
    if params.schedule == "cosine":
        after = CosineAnnealingLR(optimizer, T_max=num_steps - num_warmup)
    else:
        step_size = params.step_epochs * plan.num_steps
        after = StepLR(optimizer, step_size=step_size, gamma=params.step_factor)
    if not num_warmup:
        return after
    warmup = LinearLR(optimizer, start_factor=1 / num_warmup, total_iters=num_warmup)
    return SequentialLR(optimizer, [warmup, after], milestones=[num_warmup])
