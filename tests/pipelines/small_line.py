"""A line of four small stages in real git and DVC, recorded in a real MLflow store: in seconds."""

import json
import os
import subprocess
import sys
from contextlib import chdir
from importlib.metadata import version
from pathlib import Path
from unittest.mock import patch

import yaml
from dvc.cli import main as dvc_main

from components.provenance import recording
from components.provenance.origin import DataSet
from components.tracking import runs

# what each stage does: SMALL_LINE_NOISE is the difference of a machine of another kind
STAGES = """
import json, os, sys, uuid
from pathlib import Path

def write(path, text):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)

stage = sys.argv[1]
if stage == "ingest":  # continued, as the real one: numbers given once stay
    known = Path("data/catalog/images.txt")
    numbers = known.read_text().split() if known.exists() else []
    found = Path("data/raw/images.txt").read_text().split()
    write(known, " ".join([*numbers, *(name for name in found if name not in numbers)]))
if stage == "split":
    write("data/splits/splits.txt", Path("data/catalog/images.txt").read_text()[::-1])
if stage in ("train", "evaluate"):
    import numpy, yaml
    from safetensors.numpy import load_file, save_file
    file = "models/network/weights.safetensors"
if stage == "train":
    seed = yaml.safe_load(Path("params.yaml").read_text())["train"]["seed"]
    weights = numpy.random.default_rng(seed).random((3, 4), dtype=numpy.float32)
    weights += numpy.float32(os.environ.get("SMALL_LINE_NOISE", 0))
    write("models/run.json", json.dumps({"run_id": uuid.uuid4().hex}))
    write("plots/training.csv", f"epoch,loss\\n0,{weights.sum()}\\n")
    write("models/network/model.json", json.dumps({"model": "small"}))
    save_file({"bias": numpy.zeros(3, dtype=numpy.float32), "layer.weight": weights}, file)
if stage == "evaluate":
    score = float(load_file(file)["layer.weight"].mean())
    write("metrics/evaluation.json", json.dumps({"map": 40 + score, "num_queries": 9}))
"""

CONFIG = """
[core]
    analytics = false
    remote = storage
['remote "storage"']
    url = ../../remote
"""  # a path that is relative to the file

PIPELINE = {
    "ingest": {
        "cmd": "python stages.py ingest",
        "deps": ["data/raw", "stages.py"],
        "outs": [{"data/catalog": {"persist": True}}],
    },
    "split": {
        "cmd": "python stages.py split",
        "deps": ["data/raw", "data/catalog", "stages.py"],
        "outs": [{"data/splits": {"persist": True}}],
    },
    "train": {
        "cmd": "python stages.py train",
        "deps": ["data/splits", "stages.py"],
        "params": ["train"],
        "outs": ["models/network", "models/run.json", {"plots/training.csv": {"cache": False}}],
    },
    "evaluate": {
        "cmd": "python stages.py evaluate",
        "deps": ["models/network", "models/run.json", "stages.py"],
        "metrics": [{"metrics/evaluation.json": {"cache": False}}],
    },
}


def run_dvc(*arguments: str) -> None:
    """Runs a DVC command in this process, in the current folder; stages find this Python."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    with patch.dict(os.environ, PATH=path):
        assert dvc_main(list(arguments)) == 0, arguments


class SmallLine:
    """A project's folder; its stages have run, its commit has their results.

    Args of the constructor:
        folder: where to make it, beside a folder for its DVC remote.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        self.write("stages.py", STAGES)
        self.write("params.yaml", yaml.safe_dump({"train": {"seed": 3}}))
        self.write("dvc.yaml", yaml.safe_dump({"stages": PIPELINE}, sort_keys=False))
        self.write("constraints.txt", f"numpy=={version('numpy')}\nnot-installed==1.0\n")
        self.write(".gitignore", "/data/?*\n!/data/*.dvc\n/models/\n/ml*\n/.hemline/\n")
        self.write("data/raw/images.txt", "b a")
        self.git("init", "-q")
        self.dvc("init", "-q")
        self.write(".dvc/config", CONFIG)
        self.dvc("repro", "-q")
        self.commit("first")

    def write(self, path: str, text: str) -> None:
        """Writes a file of the project."""
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_text(text)

    def git(self, *arguments: str) -> str:
        """Returns what a git command prints."""
        who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        command = ["git", "-C", str(self.folder), *who, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def dvc(self, *arguments: str) -> None:
        """Runs a DVC command."""
        with chdir(self.folder):
            run_dvc(*arguments)

    def commit(self, message: str) -> str:
        """Commits all that git keeps, and returns the commit."""
        self.git("add", "-A")
        self.git("commit", "-qm", message)
        return self.git("rev-parse", "HEAD").strip()

    @property
    def tracking(self) -> runs.Tracking:
        """The project's MLflow store."""
        return runs.Tracking(
            uri=f"sqlite:///{self.folder}/mlflow.db", artifact_root=str(self.folder / "mlartifacts")
        )

    def record_run(self) -> str:
        """Returns the id of a run that keeps what the stages of the project keep.

        The project's folder must be the current one.
        """
        where = self.tracking
        run_id = runs.start_run(
            where,
            params=yaml.safe_load(Path("params.yaml").read_text()),
            tags=recording.origin_tags(["data/splits"], experiment={}),
        )
        data = DataSet(name="small", source="data/raw", digest="5" * 64, counts={"images": 2})
        recording.record_start(data, tracking=where, run_id=run_id)
        recording.record_outputs(Path("models/run.json"), tracking=where, run_id=run_id)
        return run_id

    def register(self, run_id: str) -> str:
        """Returns the URI of a version that a run made."""
        client = self.tracking.client()
        if not client.search_registered_models():
            client.create_registered_model("hemline")
        made = client.create_model_version("hemline", source=str(self.folder), run_id=run_id)
        return f"models:/hemline/{made.version}"

    def hash_of(self, path: str) -> str:
        """Returns what dvc.lock says of an output."""
        stages = yaml.safe_load((self.folder / "dvc.lock").read_text())["stages"]
        outs = {out["path"]: out["md5"] for stage in stages.values() for out in stage["outs"]}
        return outs[path]

    def forget(self, path: str, *, folder: str = ".dvc/cache") -> None:
        """Takes an output out of DVC's cache, or out of another folder of the same layout."""
        md5 = self.hash_of(path)
        file = self.folder / folder / "files/md5" / md5[:2] / md5[2:]
        members = json.loads(file.read_text()) if md5.endswith(".dir") else []
        for each in [md5, *(member["md5"] for member in members)]:
            (self.folder / folder / "files/md5" / each[:2] / each[2:]).unlink()
