"""Imports point one way, and each of the big libraries is known in few places."""

import ast
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]

# What a package may import of hemline, beside itself and the foundations.
MAY_IMPORT = {
    "components.credentials": set(),
    "components.errors": set(),
    "components.networks": set(),
    "components.params": set(),
    "components.attributes": set(),
    "components.files": set(),
    "components.tables": set(),
    "components.models": set(),
    "components.losses": set(),
    "components.images": set(),
    "components.sampling": set(),
    "components.datasets": {"components.images"},
    "components.embedding": {"components.images"},
    "components.retrieval": {"components.embedding", "components.images"},
    "components.figures": set(),
    "components.tracking": {"components.images"},
    "components.training": {
        "components.images",
        "components.losses",
        "components.models",
        "components.retrieval",
    },
    "components.browse": {
        "components.embedding",
        "components.figures",
        "components.images",
        "components.retrieval",
    },
    "components.report": {
        "components.figures",
        "components.images",
        "components.retrieval",
        "components.tracking",
    },
    "pipelines": {
        "components.browse",
        "components.datasets",
        "components.embedding",
        "components.figures",
        "components.images",
        "components.report",
        "components.retrieval",
        "components.sampling",
        "components.tracking",
        "components.training",
    },
}
FOUNDATIONS = {
    "components.credentials",
    "components.errors",
    "components.networks",
    "components.params",
    "components.attributes",
    "components.files",
    "components.tables",
}
FOUNDATION_IMPORTS = {
    "components.networks": {"components.errors"},
    "components.params": {"components.credentials", "components.errors", "components.networks"},
    "components.attributes": {"components.errors"},
    "components.files": {"components.errors"},
    "components.tables": {"components.attributes", "components.errors", "components.files"},
    # torch only: no tables, no params
    "components.models": {"components.errors", "components.networks"},
    "components.losses": set(),
}

# A library → the only files (or folders) that may import it.
KNOWN_IN = {
    "mlflow": ("components/tracking/",),
    "ray": (
        "components/images/preprocess.py",
        "components/training/worker.py",
        "components/embedding/job.py",
        "pipelines/",
    ),
    "dvc": ("components/tracking/provenance.py", "pipelines/"),
    "flask": ("components/browse/",),
    "waitress": ("pipelines/browse.py",),
    "sklearn": ("components/figures/projection.py",),
    "faiss": ("components/retrieval/index.py",),
    "typer": ("pipelines/",),
    "rich": ("pipelines/",),
}
ALLOWED_IN_TORCH_ONLY = {
    "abc",
    "collections",
    "components",
    "copy",
    "pathlib",
    "torch",
    "torchvision",
    "typing",
}

# Code that stages import and that does not change what they make: how it is asked for, shown and
# tracked. Perceptual hashes are made by `preprocess`, from where all of the store's code comes.
NOT_IN_RESULTS = (
    "components/credentials.py",
    "components/errors.py",
    "components/params.py",
    "components/networks.py",
    "components/images/perceptual_hash.py",
    "components/tracking/",
    "pipelines/",
)
STAGES: dict[str, dict] = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]

FILES = sorted([*ROOT.glob("components/**/*.py"), *ROOT.glob("pipelines/**/*.py")])


def imports_of(file: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            # `from components import tables` imports the module components.tables
            is_package = node.module in {"components", "pipelines"}
            names |= (
                {f"{node.module}.{alias.name}" for alias in node.names}
                if is_package
                else {str(node.module)}
            )
    return names


def package_of(module: str) -> str:
    return "pipelines" if module.startswith("pipelines") else ".".join(module.split(".")[:2])


def name_of(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_imports_point_one_way(file: Path) -> None:
    here = package_of(name_of(file))
    if here == "components.__init__":
        return
    allowed = MAY_IMPORT[here] | FOUNDATION_IMPORTS.get(here, FOUNDATIONS) | {here}
    ours = {
        package_of(name)
        for name in imports_of(file)
        if name.startswith(("components", "pipelines"))
    }
    assert ours <= allowed


@pytest.mark.parametrize("library", KNOWN_IN)
def test_libraries_are_known_in_few_places(library: str) -> None:
    users = {
        str(file.relative_to(ROOT))
        for file in FILES
        if any(name.split(".")[0] == library for name in imports_of(file))
    }
    assert all(user.startswith(KNOWN_IN[library]) for user in users), users


def reached_from(file: Path) -> set[Path]:
    """Returns a stage's file and all of the library that it imports, directly or not."""
    files = {name_of(file).removesuffix(".__init__"): file for file in FILES}
    found, todo = set(), [file]
    while todo:
        each = todo.pop()
        if each not in found and (each == file or ROOT / "pipelines" not in each.parents):
            found.add(each)
            names = {part for name in imports_of(each) for part in (name, name.rpartition(".")[0])}
            todo += [files[name] for name in names & files.keys()]
    return {each for each in found if each.name != "__init__.py"}


@pytest.mark.parametrize("stage", STAGES)
def test_stages_name_the_code_that_makes_their_results(stage: str) -> None:
    """DVC follows no imports: what a stage does not name can change without its running again."""
    main = ROOT / "pipelines" / f"{stage}.py"
    named = tuple(STAGES[stage]["deps"])
    assert str(main.relative_to(ROOT)) in named
    code = {str(file.relative_to(ROOT)) for file in reached_from(main)}
    missing = {
        file
        for file in code
        if not file.startswith(NOT_IN_RESULTS)
        and not any(Path(file).is_relative_to(d) for d in named)
    }
    assert not missing


@pytest.mark.parametrize("folder", ["models", "losses"])
def test_networks_and_losses_know_torch_only(folder: str) -> None:
    for file in (ROOT / "components" / folder).glob("*.py"):
        libraries = {name.split(".")[0] for name in imports_of(file)}
        assert libraries <= ALLOWED_IN_TORCH_ONLY, file


def test_the_check_sees_a_breach(tmp_path: Path) -> None:
    file = tmp_path / "breach.py"
    file.write_text("from components import training\nimport mlflow.pyfunc\n")
    assert imports_of(file) == {"components.training", "mlflow.pyfunc"}
