"""What the optimiser does with which parameter, and how the learning rate runs."""

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

    The first group has `learning_rate` and `weight_decay` as they are.
    """
    return {"adam": Adam, "adamw": AdamW}[params.optimizer](
        parameter_groups(learner, params), lr=params.learning_rate, fused=True
    )


def parameter_groups(learner: Learner, params: TrainParams) -> list[dict[str, Any]]:
    """Returns the parameters by learning rate and weight decay, in the order of the learner's.

    With `decay_norms_and_biases` false, those of one dimension or none do not decay: norms, biases,
    scales and the weights of losses.
    """
    network = learner.network
    layers = zip(backbone_layers(network), backbone_rates(network, params), strict=True)
    rates = {id(parameter): rate for layer, rate in layers for parameter in layer}
    groups: dict[tuple[float, float], list[nn.Parameter]] = {
        (params.learning_rate, params.weight_decay): []
    }
    for parameter in learner.parameters():
        rate = rates.get(id(parameter), params.learning_rate)
        decays = params.decay_norms_and_biases or parameter.ndim > 1
        groups.setdefault((rate, params.weight_decay if decays else 0.0), []).append(parameter)
    return [
        {"params": parameters, "lr": rate, "weight_decay": decay}
        for (rate, decay), parameters in groups.items()
    ]


def backbone_rates(network: nn.Module, params: TrainParams) -> list[float]:
    """Returns the highest learning rate of each block of a network's backbone, from the image on.

    The last block has `backbone_rate` times `layer_decay` of the learning rate, each block before
    it `layer_decay` of the next one's (Clark et al., ELECTRA, ICLR 2020; Bao et al., BEiT, ICLR
    2022).
    """
    highest = params.learning_rate * params.backbone_rate
    depths = range(len(backbone_layers(network)), 0, -1)
    return [highest * params.layer_decay**depth for depth in depths]


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
