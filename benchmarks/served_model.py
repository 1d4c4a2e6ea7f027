"""The registered model as consumers call it: beside the trained network, in time and in numbers.

python -m benchmarks.served_model --project FOLDER

FOLDER is a project where `dvc repro` has run. `--cold-start models:/hemline/1 models:/hemline/2`
compares the start of versions that two revisions registered, and measures nothing else.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow
import numpy as np
import pandas as pd
import torch
from PIL import Image

from benchmarks.machine import machine
from components import tables
from components.evaluation.evaluation import held_out_images
from components.images.decode import decode
from components.images.store import ImageStore
from components.params import DataParams, load_section
from components.registry import versions
from components.training.trained import TrainedModel, read_trained_model
from pipelines.shell import options
from pipelines.shell.environment import tracking

NUM_STARTS, NUM_ROUNDS = 3, 9
NUM_THREADS = 1  # of latency; more measure who else uses the machine
START = "import sys, mlflow\nmlflow.set_tracking_uri(sys.argv[1])\n"
IMPORTS = "import numpy, pandas, torch\n"
LOAD = """
model = mlflow.pyfunc.load_model(sys.argv[2])
import pandas
model.predict(pandas.DataFrame({"image": [sys.argv[3]]}))
"""
SAY = """
import os
times = os.times()
print(times.user + times.system)
"""


def main() -> None:
    """Prints cold start, latency of 1 and 64 images, and the minimum cosine."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--project", type=Path, default=Path())
    parser.add_argument("--model", help="of the registry, such as models:/hemline@champion")
    parser.add_argument("--cold-start", nargs="+", metavar="MODEL", help="compare with the first")
    arguments = parser.parse_args()
    os.chdir(arguments.project)
    torch.set_num_threads(NUM_THREADS)
    where = tracking()
    where.activate()
    if arguments.cold_start:
        print_cold_start(arguments.cold_start, where.uri)
        return
    uri = arguments.model or versions.read_registration(options.REGISTRATION).uri
    print(f"{machine()}, {uri}, {NUM_THREADS} thread")
    print_cold_start([uri], where.uri)
    trained = read_trained_model(options.MODEL)
    model = mlflow.pyfunc.load_model(uri)
    images = held_out_images(tables.read_splits(options.SPLITS), "test")
    data = read_images(images)
    print_latency(model, trained, data)
    print_cosines(model, trained, images, data)


def read_images(images: np.ndarray) -> list[bytes]:
    """Returns the files of the catalog's images."""
    root = Path(load_section(options.PARAMS, DataParams).root)
    catalog = tables.read_catalog(options.CATALOG).images
    rows = np.searchsorted(catalog["image"].to_numpy(), images)
    return [(root / path).read_bytes() for path in catalog["path"].take(rows).to_pylist()]


def print_cold_start(uris: list[str], tracking_uri: str) -> None:
    """Prints the CPU seconds from a process's start to the image that a model predicted in it.

    Beside them, those of a process that only imports, and the ratio to the first model's.
    """
    programs = {"imports alone": (START + IMPORTS + SAY, "")}
    programs |= {uri: (START + LOAD + SAY, uri) for uri in uris}
    measured: dict[str, list[float]] = {name: [] for name in programs}
    with TemporaryDirectory() as folder:
        picture = Path(folder) / "picture.png"
        Image.fromarray(np.zeros((300, 300, 3), np.uint8)).save(picture)
        for _ in range(NUM_STARTS + 1):
            for name, (program, uri) in programs.items():
                measured[name].append(cpu_seconds(program, tracking_uri, uri, str(picture)))
    medians = {name: statistics.median(seconds[1:]) for name, seconds in measured.items()}
    for name, seconds in medians.items():
        ratio = seconds / medians[uris[0]]
        print(f"cold start, {name:24} {seconds:8.2f} s of CPU, {ratio:.2f} of {uris[0]}")


def cpu_seconds(program: str, *arguments: str) -> float:
    """Returns user and system seconds of a Python process, of one thread, until it says them.

    Its end is not among them: a server has none.
    """
    threads = {"OMP_NUM_THREADS": str(NUM_THREADS)}
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, check=True, capture_output=True, env=os.environ | threads)
    return float(done.stdout.split()[-1])


def print_latency(
    model: mlflow.pyfunc.PyFuncModel, trained: TrainedModel, data: list[bytes]
) -> None:
    """Prints milliseconds of predict, and as a ratio to decoding and the bare network."""
    num_attributes = len(trained.schema.names)
    for num_images in (1, 64):
        for num_asked in (num_attributes, 1):
            frame = pd.DataFrame({"image": data[:num_images]})
            if num_asked == 1:
                frame["attribute"] = trained.schema.names[0]

            def served(frame: pd.DataFrame = frame) -> object:
                return model.predict(frame)

            def bare(num_images: int = num_images, num_asked: int = num_asked) -> object:
                return embed(trained, decoded(trained, data[:num_images]), num_asked)

            served_s, bare_s = median_seconds(served, bare)
            print(
                f"{num_images:3} images, {num_asked} attributes: {served_s * 1000:8.1f} ms, "
                f"{served_s / bare_s:.2f} of decoding and the trained network"
            )


def print_cosines(
    model: mlflow.pyfunc.PyFuncModel, trained: TrainedModel, images: np.ndarray, data: list[bytes]
) -> None:
    """Prints how far predictions from files are from the evaluation's, from the store."""
    stored = ImageStore(options.STORE).gather(images)
    num_pixels = int((stored != decoded(trained, data)).sum())
    found = np.stack(list(model.predict(pd.DataFrame({"image": data}))["embedding"]))
    expected = embed(trained, stored, len(trained.schema.names)).reshape(found.shape)
    cosines = np.einsum("rd,rd->r", found.astype(float), expected.astype(float))
    print(f"{len(images)} test images: {num_pixels} pixels differ between file and store")
    print(
        f"minimum cosine of {len(cosines)} embeddings to the trained network's {cosines.min():.7f}"
    )


def decoded(trained: TrainedModel, data: list[bytes]) -> np.ndarray:
    """Returns the pixels of image files."""
    return np.stack([decode(one, image_size_px=trained.image_size_px) for one in data])


def embed(trained: TrainedModel, pixels: np.ndarray, num_asked: int) -> np.ndarray:
    """Returns the trained network's embeddings [images, attributes, D]."""
    asked = torch.arange(num_asked).expand(len(pixels), -1)
    with torch.inference_mode():
        return trained.embed(torch.from_numpy(pixels), asked).numpy()


def median_seconds(*variants: Callable[[], object]) -> list[float]:
    """Returns the median time of each; they take turns, so that all meet the same load."""
    seconds: list[list[float]] = [[] for _ in variants]
    for round_number in range(NUM_ROUNDS + 1):
        for measured, work in zip(seconds, variants, strict=True):
            start = time.perf_counter()
            work()
            if round_number:  # the first one warms up
                measured.append(time.perf_counter() - start)
    return [statistics.median(measured) for measured in seconds]


if __name__ == "__main__":
    main()
