"""Embeds a folder on two nodes, of which one does not see where to; run by `test_job_kills.py`.

That node's processes have another file system mounted on the embeddings' folder.
"""

import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import ray
from embedding_runs import PARAMS, NotingReader, embed_here, list_again, load_network, run
from programs import wait_until
from ray.cluster_utils import Cluster

from components.embedding.writers import write_in_tasks

NUM_WRITERS = 4


def main(folder: str, out: Path, notes: Path) -> None:
    """Embeds in writers on both nodes."""
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False}
    )
    out.mkdir()
    start = f'mount -t tmpfs none "$0" && exec ray start --address={cluster.address} --block'
    node = subprocess.Popen(["unshare", "-m", "sh", "-c", start, str(out)])
    ray.init(address=cluster.address, log_to_driver=False)
    wait_until(lambda: sum(node["Alive"] for node in ray.nodes()) == 2)
    spread = ray.remote(num_cpus=0, scheduling_strategy="SPREAD")(is_another)
    wait_until(lambda: len({*ray.get([spread.remote(out) for _ in range(NUM_WRITERS)])}) == 2)
    embed = partial(embed_here, load_network=load_network, params=PARAMS)
    write = partial(write_in_tasks, embeds=[embed] * NUM_WRITERS)
    run(list_again(folder, out, NotingReader(notes=notes)), out, write=write)
    ray.shutdown()
    node.terminate()
    node.wait()
    cluster.shutdown()


def is_another(out: Path) -> bool:
    """Returns whether the folder is another one here."""
    time.sleep(1)  # so that all do not run one after another where the first did
    return os.path.ismount(out)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
