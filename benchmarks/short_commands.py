"""CPU seconds of commands that people wait for: this code beside that of another revision.

    python -m benchmarks.short_commands c6b4553

Run it where `make demo` of the older revision has run, whose files the newer one reads. Both work
on the demo's data and on copies of its registry, in turn, with bytecode cached; the registry has a
second champion, so that `rollback` goes back to the first. Prints the median of each command's user
seconds, and their ratio.
"""

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tarfile
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow.parquet as pq

from benchmarks.machine import machine
from components.registry import promotion, versions
from components.tracking.runs import Tracking

MADE = ("data", "models", "metrics")  # by the demo; only read
START = {
    "pipelines/cli.py": "from pipelines.cli import main; main()",
    "pipelines/shell/cli.py": "from pipelines.shell.cli import main; main()",
}


def main() -> None:
    """Prints a line for each command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("revision", help="commit to compare with")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each, beside a first one")
    arguments = parser.parse_args()
    print(machine())
    print(f"{'user CPU seconds':16} {arguments.revision:>9} {'HEAD':>9}  ratio")
    with TemporaryDirectory() as folder:
        registry = Path(folder) / "mlflow.db"
        with_two_champions(registry)
        projects = [project(Path(folder) / name, name) for name in (arguments.revision, "HEAD")]
        for name, command in commands().items():
            rounds = [
                [seconds(each, command, registry) for each in projects]
                for _ in range(arguments.repeat + 1)
            ]
            before, after = map(statistics.median, zip(*rounds[1:], strict=True))
            print(f"{name:16} {before:9.2f} {after:9.2f} {after / before:6.2f}", flush=True)


def commands() -> dict[str, list[str]]:
    """Returns the command lines; the query is one of the demo's pictures."""
    path = pq.read_table("data/catalog/images.parquet")["path"][0].as_py()
    attribute = ["--attribute", "neckline_design"]
    return {
        "summary": ["summary"],
        "describe": ["describe"],
        "lineage": ["lineage", "models:/hemline/1"],
        "rollback": ["rollback"],
        "search --id": ["search", "--id", "0", *attribute],
        "search --image": ["search", "--image", f"data/raw/wardrobe/{path}", *attribute],
    }


def with_two_champions(registry: Path) -> None:
    """Copies the registry, and makes a second version of the same model its champion."""
    shutil.copy("mlflow.db", registry)
    tracking = Tracking(uri=f"sqlite:///{registry}", artifact_root=str(registry.parent))
    client = tracking.client()
    published = versions.RegisteredVersion(name=tracking.model_name, version=1)
    first = client.get_model_version(published.name, "1")
    made = client.create_model_version(published.name, source=first.source, run_id=first.run_id)
    promotion.move_champion(
        "promote", int(made.version), expected=1, who="a benchmark", tracking=tracking
    )
    if versions.read_tag(published, promotion.EMBEDDINGS_TAG, tracking=tracking) is None:
        sys.exit("the demo's version 1 was never promoted: run `make demo`")


def project(folder: Path, revision: str) -> Path:
    """Returns a folder with a revision's code and the demo's data."""
    code = subprocess.run(["git", "archive", revision], check=True, capture_output=True).stdout
    with tarfile.open(fileobj=BytesIO(code)) as archive:
        archive.extractall(folder, filter="data")
    for name in MADE:
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / name).symlink_to(Path(name).absolute())
    return folder


def seconds(folder: Path, command: list[str], registry: Path) -> float:
    """Returns the user CPU seconds of a command that succeeds."""
    shutil.copy(registry, folder / "mlflow.db")
    start = next(code for file, code in START.items() if (folder / file).exists())
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    done = subprocess.run(
        [sys.executable, "-c", start, *command],
        cwd=folder,
        env={
            **kept,
            "PYTHONPYCACHEPREFIX": str(registry.parent / "bytecode"),
            "HEMLINE_CACHE": str(registry.parent / "cache"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)} in {folder} failed:\n{done.stderr}")
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before


if __name__ == "__main__":
    main()
