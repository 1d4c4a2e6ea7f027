"""Promotes a version in processes that are killed before a write, while another process reads.

python promotion_driver.py BEGUN WORK VERSION WRITES...

BEGUN is a project that `test_promote.py` made. Copies of it go to folders below WORK: `whole`,
where nothing is killed, and one for each of WRITES, numbers of writes to a file or to the registry,
where a promotion is killed right before that write and then started again. Meanwhile a reader does
what consumers do. WORK/read.jsonl has a line for all that it found and had not found just before.
"""

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path

from mlflow import MlflowClient

from components.embedding.part_files import read_complete
from components.registry import promotion
from pipelines.operations.promote.command import promote_version

WRITES = ("set_model_version_tag", "set_registered_model_tag", "set_registered_model_alias")


def main() -> None:
    begun, work, version = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    current = work / "current"
    reader = forked(lambda: read(current, work / "read.jsonl"))
    try:
        enter(begun, work / "whole", current)
        assert status(forked(lambda: promote_version(version))) == 0
        for write in map(int, sys.argv[4:]):
            enter(begun, work / f"killed-{write}", current)
            killed = status(forked(partial(promote_killed, version, write)))
            assert killed == -signal.SIGKILL, killed
            assert status(forked(lambda: promote_version(version))) == 0
    finally:
        os.kill(reader, signal.SIGKILL)
        os.waitpid(reader, 0)


def enter(begun: Path, folder: Path, current: Path) -> None:
    """Goes into a new copy of the project, and lets the reader look there."""
    shutil.copytree(begun, folder, ignore=shutil.ignore_patterns("mlartifacts"))
    os.chdir(folder)
    pointer = current.with_suffix(".new")
    pointer.write_text(str(folder))
    pointer.replace(current)


def promote_killed(version: int, num_writes: int) -> None:
    """Promotes, and is killed when so many writes are made and the next one begins."""
    kill_before(num_writes, lambda: os.kill(os.getpid(), signal.SIGKILL), patch=setattr)
    promote_version(version)


def kill_before(
    write: int, kill: Callable[[], None], *, patch: Callable[[object, str, object], None]
) -> None:
    """Lets a function be called before a write, counted from 0, to a file or to the registry.

    Args:
        write: number of the write.
        kill: the function.
        patch: sets an attribute of a class or module.
    """
    numbers = count()

    def counted(make: Callable[..., object]) -> Callable[..., object]:
        def counting(*arguments: object) -> object:
            if next(numbers) == write:
                kill()
            return make(*arguments)

        return counting

    for name in WRITES:
        patch(MlflowClient, name, counted(getattr(MlflowClient, name)))
    patch(os, "replace", counted(os.replace))
    patch(os, "link", counted(os.link))


def read(current: Path, found: Path) -> None:
    """Reads champion and embeddings again and again, as a consumer does, until it is killed."""
    before = None
    while True:
        if current.exists():
            folder = current.read_text()
            client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
            champion = client.get_model_version_by_alias("hemline", "champion")
            address = champion.tags[promotion.EMBEDDINGS_TAG]
            row = [
                Path(folder).name,
                int(champion.version),
                read_complete(Path(address)).model_version,
            ]
            if row != before:
                with found.open("a") as file:
                    file.write(json.dumps(row) + "\n")
            before = row
        time.sleep(0.05)  # seconds; a promotion takes many times that


def forked(work: Callable[[], object]) -> int:
    """Returns the process that does some work: a copy of this one, which saves the imports."""
    sys.stdout.flush()
    process = os.fork()
    if process == 0:
        with open(os.devnull, "w") as nothing:  # noqa: PTH123
            os.dup2(nothing.fileno(), 1)
        try:
            work()
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        os._exit(0)
    return process


def status(process: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


if __name__ == "__main__":
    main()
