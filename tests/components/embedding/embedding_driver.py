"""Embeds a folder in a Ray of its own; run and killed by `test_job_kills.py`."""

import sys
from pathlib import Path

import ray
from embedding_runs import NotingReader, list_again, on_ray, run

if __name__ == "__main__":
    folder, out, notes, num_free = sys.argv[1:]
    ray.init("local", num_cpus=4, include_dashboard=False, log_to_driver=False)
    never = Path(notes).with_name("never")  # so many files and no more are read
    reader = NotingReader(notes=Path(notes), awaited=never, num_free=int(num_free))
    source = list_again(folder, Path(out), reader)
    run(source, Path(out), write=on_ray, images_per_part=6)
