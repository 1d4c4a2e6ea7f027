"""What a training would be, without training: `hemline train --dry-run`."""

from collections.abc import Sequence

import pyarrow.compute as pc
from rich.table import Table

from components import tables
from components.images.store import ImageStore
from components.params import ModelParams, TrainParams
from components.training.estimate import estimate_memory
from components.training.optimisation import backbone_rates
from components.training.setup import TrainingInputs, build_network, read_plan
from pipelines.shell.reporting import console


def describe_training(
    inputs: TrainingInputs,
    *,
    model_params: ModelParams,
    train_params: TrainParams,
    attributes: Sequence[str],
) -> None:
    """Prints images, steps, parameters and the memory that a worker is expected to need.

    `attributes` are those asked of an image, all where none is named.
    """
    schema = tables.read_schema(inputs.catalog)
    splits = tables.read_splits(inputs.splits)
    labels = splits.filter(pc.field("split") == "train")
    num_images = pc.count_distinct(labels["image"]).as_py()
    size = ImageStore(inputs.store.local()).image_size_px
    plan = read_plan(inputs.triplets, train_params)
    num_steps = plan.num_epochs * plan.num_steps
    network = build_network(model_params, schema)
    least, _ = train_params.workers
    share = plan.images_per_step // max(least, 1)
    asks_one = train_params.asks_triplets
    memory = estimate_memory(
        network,
        num_images=min(share, train_params.images_at_once or share),
        num_asked=1 if asks_one else len(attributes or schema.attributes),
        image_size_px=size,
        bf16=train_params.precision == "bf16",
        averages=train_params.ema_decay is not None,
        freezes=train_params.frozen_epochs >= plan.num_epochs,
    )
    kind = "triplets" if asks_one else "images"
    num_parameters = sum(parameter.numel() for parameter in network.parameters())
    rows = {
        "network": f"{model_params.name} on {model_params.backbone}, "
        f"{num_parameters / 1e6:.2f} M parameters",
        "training split": f"{num_images} images of {size} px, {len(labels)} labels of "
        f"{len(schema.attributes)} attributes",
        "a step": f"{plan.rows_per_step} {kind}, {share} images on each worker",
        "steps": f"{num_steps}: {plan.num_epochs} epochs of {plan.num_steps}, "
        f"{num_steps * plan.images_per_step} images seen",
        "objective": f"{train_params.objective}, {train_params.optimizer} "
        f"{train_params.learning_rate:g}, {train_params.schedule}, {train_params.precision}",
        "backbone": _backbone(
            backbone_rates(network, train_params), train_params, num_epochs=plan.num_epochs
        ),
        "workers": f"{train_params.num_workers}, "
        + ("a GPU each" if train_params.use_gpu else f"{train_params.cpus_per_worker} CPU each"),
        "memory of a worker": f"{memory.total / 2**30:.2f} GiB: weights, gradients and optimiser "
        f"{(memory.total - memory.activations) / 2**30:.2f}, activations "
        f"{memory.activations / 2**30:.2f}; libraries' work space comes on top",
    }
    if train_params.store_residency == "device":
        store = num_images * 3 * size**2 / 2**30
        rows["store on the device"] = f"{store:.2f} GiB"
    table = Table(title="would be trained", show_header=False, title_justify="left")
    for name, value in rows.items():
        table.add_row(name, value)
    console.print(table)


def _backbone(rates: list[float], params: TrainParams, *, num_epochs: int) -> str:
    """Returns when the backbone learns, and with which rates, given those of its blocks."""
    if not rates:
        return "none"
    if params.frozen_epochs >= num_epochs:
        return "stays as it was loaded"
    ends = dict.fromkeys(f"{rate:g}" for rate in (rates[0], rates[-1]))
    words = f"{len(rates)} blocks at {' to '.join(ends)}"
    if params.frozen_epochs:
        words = (
            f"as it was loaded for {params.frozen_epochs} of {num_epochs} epochs, which take less "
            f"memory; then {words}"
        )
    return f"{words}; BatchNorm as it was loaded" if params.frozen_norms else words
