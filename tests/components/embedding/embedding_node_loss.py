"""Embeds a folder on a cluster that loses an actor and then a node; run by `test_job_kills.py`.

A cluster of several nodes cannot live beside the session that other tests share.
"""

import contextlib
import sys
import threading
from pathlib import Path

import psutil
import ray
from embedding_runs import NotingReader, list_again, noted, on_ray, run
from programs import wait_until
from ray.cluster_utils import Cluster


def main(folder: str, out: Path, notes: Path) -> None:
    """Embeds, and takes away what embeds meanwhile."""
    cluster = Cluster(
        initialize_head=True,
        head_node_args={
            "num_cpus": 4,
            "include_dashboard": False,
            "_system_config": {"health_check_period_ms": 500},  # of 3 s, five of which it waits
        },
    )
    node = cluster.add_node(num_cpus=4)
    ray.init(address=cluster.address, log_to_driver=False)
    lost = out.with_name("node_lost")
    reader = NotingReader(notes=notes, pause_s=0.2, awaited=lost, num_free=48)
    worker = threading.Thread(
        daemon=True,  # a failure here ends it too
        target=run,
        args=(list_again(folder, out, reader), out),
        kwargs={"write": on_ray, "images_per_part": 6},
    )
    worker.start()
    wait_until(lambda: noted(notes).total() > 12)
    wait_until(actors)
    actors()[0].kill()
    wait_until(lambda: noted(notes).total() > 48)
    cluster.remove_node(node, allow_graceful=False)
    assert worker.is_alive(), "it ended before the node was lost"
    lost.touch()
    worker.join()
    ray.shutdown()
    cluster.shutdown()


def actors() -> list[psutil.Process]:
    """Returns the actors of this run that embed."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):  # it ended meanwhile
            if "ray::MapWorker" in " ".join(process.cmdline()):
                found.append(process)
    return found


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
