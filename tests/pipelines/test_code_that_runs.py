"""A queued experiment runs the code that it was queued with, and so do its Ray workers."""

import subprocess
from pathlib import Path

import pytest
from project import Project

pytestmark = pytest.mark.slow

# modules that a stage's own process and Ray's workers import: those of Ray Data, of Ray Train
MODULES = ("components/images/decode.py", "components/training/worker.py")
SMALL = {
    "preprocess": {"num_workers": 1},
    "sampling": {"num_epochs": 1, "batches_per_epoch": 1, "evaluation_triplets": 10},
    "train": {"num_workers": 2, "precision": "fp32"},
}


def edit(project: Project, text: str, log: Path) -> None:
    """Makes the modules log, when they are imported, a text, the process and where they lie."""
    for module in MODULES:
        path = project.folder / module
        original = path.read_text().partition("\n# edited\n")[0]
        path.write_text(
            f"{original}\n# edited\nimport os\nfrom pathlib import Path\n"
            f'with Path({str(log)!r}).open("a") as file:\n'
            f'    file.write(f"{text} {{os.getpid()}} {{__file__}}\\n")\n'
        )


def dvc_exp_run(project: Project, *arguments: str) -> None:
    """Runs DVC as users do: without PYTHONPATH, where another checkout may be installed."""
    environment = {k: v for k, v in project.environment.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        ["dvc", "exp", "run", *arguments],
        cwd=project.folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_edit_does_not_reach_an_experiment_that_was_queued_before(tmp_path: Path) -> None:
    project = Project(tmp_path / "hemline")
    images = tmp_path / "wardrobe"  # outside, where the experiment's copy of the project finds it
    project.draw(str(images), num_images=160, seed=5)
    project.set_params({**SMALL, "data": {"root": str(images)}})
    log = tmp_path / "log.txt"

    edit(project, "queued", log)
    dvc_exp_run(project, "--queue", "--name", "waiting", "train")
    edit(project, "edited", log)
    dvc_exp_run(project, "--run-all")

    imports = [line.split(maxsplit=2) for line in log.read_text().splitlines()]
    for module in MODULES:
        processes = {process for _, process, file in imports if file.endswith(module)}
        assert len(processes) > 1, "the stage and its workers"
    copies = project.folder / ".dvc/tmp/exps"
    assert all(Path(file).is_relative_to(copies) for _, _, file in imports)
    assert {text for text, _, _ in imports} == {"queued"}

    listed = project.run("git", "for-each-ref", "--format=%(refname)", "refs/exps").stdout
    (experiment,) = (name for name in listed.split() if name.endswith("/waiting"))
    for module in MODULES:
        assert 'f"queued ' in project.run("git", "show", f"{experiment}:{module}").stdout
