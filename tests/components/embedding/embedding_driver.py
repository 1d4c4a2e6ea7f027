"""Embeds a folder in a Ray of its own; run and killed by `test_job_kills.py`."""

import sys
from pathlib import Path

import ray
from embedding_runs import NotingReader, list_again, on_ray, run

if __name__ == "__main__":
    folder, out, notes = sys.argv[1:]
    ray.init("local", num_cpus=4, include_dashboard=False, log_to_driver=False)
    reader = NotingReader(notes=Path(notes), pause_s=0.1)
    source = list_again(folder, Path(out), reader)
    run(source, Path(out), embed=on_ray, images_per_part=6)
