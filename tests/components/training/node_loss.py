"""Trains on a cluster whose nodes go one after another; run by `test_node_loss.py` by itself.

A cluster of several nodes cannot live beside the session that the other tests share.
"""

import sys
import threading
import time
from functools import partial
from pathlib import Path

import ray
from ray import cloudpickle
from ray.cluster_utils import Cluster
from small_run import MODEL, TRAIN, WITH_ITEMS, write_inputs

from components.params import CheckpointParams, TrainParams
from components.training.worker import run_training

NUM_EPOCHS, STEPS_PER_EPOCH = 2, 5
UNDISTURBED = "undisturbed"
LOST_STEP = 7  # of the second epoch, after the checkpoint of step 6


def note(metrics, *, step: int, kind: str, folder: Path) -> None:
    """Notes each row and the number of workers; ends with its node in the step that is lost."""
    world_size = ray.train.get_context().get_world_size()
    rows = folder / "rows"
    with rows.open("a") as file:
        file.write(f"{kind}-{step} {world_size} {ray.get_runtime_context().get_node_id()}\n")
    if folder.name != UNDISTURBED and (kind, step) == ("step", LOST_STEP):
        while rows.read_text().count(f"step-{LOST_STEP} ") == 1:  # of those that come after: two
            time.sleep(0.05)


def train(folder: Path, inputs, *, num_workers: int | list[int]) -> None:
    """Trains into a folder."""
    changes = {"num_workers": num_workers, "cpus_per_worker": 1, "max_failures": 2}
    run_training(
        inputs,
        model_params=MODEL,
        train_params=TrainParams(**TRAIN | changes),
        checkpoint_params=CheckpointParams(every_steps=2, num_to_keep=2),
        state_folder=folder / "state",
        log=partial(note, folder=folder),
    )


def main(folder: Path) -> None:
    """Trains undisturbed, with a node lost and another to take its place, and with none."""
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    inputs = write_inputs(
        folder / "in",
        num_epochs=NUM_EPOCHS,
        steps_per_epoch=STEPS_PER_EPOCH,
        schema=WITH_ITEMS,  # which count anew in every step, whatever the number of workers
    )
    cluster = Cluster(
        initialize_head=True,
        head_node_args={
            "num_cpus": 0,
            "include_dashboard": False,
            "_system_config": {"health_check_period_ms": 500},  # of 3 s, five of which it waits
        },
    )
    nodes = [cluster.add_node(num_cpus=1) for _ in range(3)]
    ray.init(address=cluster.address, log_to_driver=False)

    def lose_the_first_workers_node(folder: Path) -> None:
        rows = folder / "rows"
        while not rows.exists() or f"step-{LOST_STEP} " not in rows.read_text():
            time.sleep(0.05)
        node_id = rows.read_text().split()[2]
        cluster.remove_node(
            next(node for node in nodes if node.node_id == node_id), allow_graceful=False
        )

    for name in (UNDISTURBED, "another", "fewer"):
        (folder / name).mkdir()
    train(folder / UNDISTURBED, inputs, num_workers=2)
    # with a third node to go on at, and then without
    for name, num_workers in (("another", 2), ("fewer", [1, 2])):
        loss = threading.Thread(
            target=lose_the_first_workers_node, args=(folder / name,), daemon=True
        )
        loss.start()
        train(folder / name, inputs, num_workers=num_workers)
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
