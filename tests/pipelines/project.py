"""A copy of this project with tiny params and a tiny wardrobe, for tests that run it for real."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]

TINY = {
    "preprocess": {"image_size_px": 64, "images_per_shard": 128, "num_workers": 0},
    "split": {"train_share": 0.6, "valid_share": 0.2, "test_share": 0.2},
    "sampling": {
        "num_epochs": 2,
        "triplets_per_epoch": 64,
        "evaluation_triplets": 100,
        "batches_per_epoch": 20,  # time enough to kill it in the first epoch
        "attributes_per_batch": 4,
        "values_per_attribute": 2,
        "images_per_value": 2,
    },
    "model": {"backbone": "tiny", "weights": "none", "embedding_dim": 32, "attention_dim": 16},
    "train": {"num_workers": 0, "precision": "fp32", "log_every_steps": 1},
    "checkpoint": {"every_steps": 1, "num_to_keep": 2},
    "embed": {"num_workers": 1, "precision": "fp32", "images_per_part": 128},
}


class Project:
    """A folder with the project in it, committed to a git repository of its own.

    Made of what git tracks here, with tiny params, where there is none.

    Args of the constructor:
        folder: where it is or is to be.
        programs: folder whose `python`, `dvc` and `hemline` it uses; None: this environment's.
    """

    def __init__(self, folder: Path, *, programs: Path | None = None) -> None:
        self.folder = folder
        self.programs = programs or Path(sys.executable).parent
        if folder.exists():
            return
        copy_tracked(ROOT, folder)
        (folder / "dvc.lock").unlink(missing_ok=True)
        self.set_params(TINY)
        for arguments in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "tiny"]):
            self.run("git", "-c", "user.name=t", "-c", "user.email=t@example.org", *arguments)

    def copy(self, folder: Path) -> "Project":
        """Returns a copy to change; its old runs keep their artifacts in the first one's folder."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Project(folder, programs=self.programs)

    def draw(self, out: str, *, num_images: int, seed: int) -> None:
        """Adds pictures of the wardrobe to a folder of the project."""
        arguments = ["--images", str(num_images), "--image-size", "64", "--seed", str(seed)]
        self.run("python", "-m", "pipelines", "wardrobe", "--out", out, *arguments)

    def set_params(self, changes: dict[str, dict[str, Any]]) -> None:
        """Changes values of params.yaml."""
        path = self.folder / "params.yaml"
        params = yaml.safe_load(path.read_text())
        for section, values in changes.items():
            params[section].update(values)
        path.write_text(yaml.safe_dump(params, sort_keys=False))

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs a command in the project's folder."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0 or not check, done.stdout + done.stderr
        return done

    @property
    def environment(self) -> dict[str, str]:
        """The environment of commands: this one, without settings that lead outside."""
        stores = ("TRACKING_URI", "REGISTRY_URI", "EXPERIMENT_NAME", "EXPERIMENT_ID")
        outside = {*(f"MLFLOW_{name}" for name in stores), "RAY_ADDRESS"}
        kept = {name: value for name, value in os.environ.items() if name not in outside}
        return {
            **kept,
            "PATH": f"{self.programs}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(self.folder),  # this copy's code, not the installed checkout's
        }

    @property
    def lock(self) -> dict[str, Any]:
        """The stages of dvc.lock."""
        stages: dict[str, Any] = yaml.safe_load((self.folder / "dvc.lock").read_text())["stages"]
        return stages

    @property
    def tracking_uri(self) -> str:
        """The SQLite store that the project's runs went to."""
        return f"sqlite:///{self.folder}/mlflow.db"


def copy_tracked(source: Path, folder: Path) -> None:
    """Copies the files that git tracks, as they lie in the checkout, and nothing beside them."""
    listed = ["git", "-C", str(source), "ls-files", "-z"]
    names = subprocess.run(listed, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(None, names):
        if (source / name).exists():  # else: deleted, and not yet committed
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source / name, folder / name)
