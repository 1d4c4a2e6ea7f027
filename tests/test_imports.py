"""Imports point one way, and each of the big libraries is known in few places."""

import ast
from functools import cache
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]

# What a package may import of hemline, beside itself and the foundations.
MAY_IMPORT = {
    "components.credentials": set(),
    "components.errors": set(),
    "components.freed_memory": set(),
    "components.networks": set(),
    "components.precision": set(),
    "components.params": set(),
    "components.programs": set(),
    "components.attributes": set(),
    "components.files": set(),
    "components.tables": set(),
    "components.models": set(),
    "components.losses": set(),
    "components.images": set(),
    "components.sampling": set(),
    "components.prototypes": {"components.evaluation"},
    "components.datasets": {"components.images"},
    "components.wardrobe": {"components.datasets"},
    "components.embedding": {
        "components.datasets",
        "components.images",
        "components.prototypes",
        "components.registry",
    },
    "components.evaluation": {"components.images"},
    "components.search": {
        "components.embedding",
        "components.images",
        "components.prototypes",
    },
    "components.neighbours": {"components.embedding", "components.images", "components.search"},
    "components.tagging": {"components.embedding", "components.images", "components.prototypes"},
    "components.figures": set(),
    "components.tracking": set(),
    "components.registry": {"components.images", "components.tracking"},
    "components.provenance": {"components.registry", "components.tracking"},
    "components.training": {
        "components.evaluation",
        "components.images",
        "components.losses",
        "components.models",
        "components.sampling",
    },
    "components.browse": {
        "components.embedding",
        "components.evaluation",
        "components.figures",
        "components.images",
        "components.prototypes",
        "components.search",
    },
    "components.report": {
        "components.evaluation",
        "components.figures",
        "components.images",
        "components.provenance",
    },
    "pipelines": {
        "components.browse",
        "components.datasets",
        "components.embedding",
        "components.evaluation",
        "components.figures",
        "components.images",
        "components.neighbours",
        "components.prototypes",
        "components.provenance",
        "components.registry",
        "components.report",
        "components.sampling",
        "components.search",
        "components.tagging",
        "components.tracking",
        "components.training",
        "components.wardrobe",
    },
}
FOUNDATIONS = {
    "components.precision",
    "components.credentials",
    "components.errors",
    "components.freed_memory",
    "components.networks",
    "components.params",
    "components.programs",
    "components.attributes",
    "components.files",
    "components.tables",
}
FOUNDATION_IMPORTS = {
    "components.freed_memory": set(),
    "components.networks": {"components.errors"},
    "components.precision": set(),
    "components.params": {"components.credentials", "components.errors", "components.networks"},
    "components.attributes": {"components.errors"},
    "components.files": {"components.errors"},
    "components.programs": {"components.errors"},
    "components.tables": {"components.attributes", "components.errors", "components.files"},
    # torch only: no tables, no params
    "components.models": {"components.errors", "components.networks"},
    "components.losses": set(),
}

# A library → the only files (or folders) that may import it.
KNOWN_IN = {
    "mlflow": ("components/tracking/", "components/registry/", "components/provenance/"),
    "ray": (
        "components/images/preprocess.py",
        "components/training/worker.py",
        "components/embedding/job.py",
        "components/embedding/writers.py",
        "components/neighbours/job.py",
        "pipelines/",
    ),
    "dvc": ("pipelines/shell/dvc.py",),
    "flask": ("components/browse/",),
    "waitress": ("pipelines/operations/browse.py",),
    "sklearn": ("components/figures/space.py",),
    "faiss": ("components/search/index.py",),
    "timm": ("components/models/timm_backbones.py",),
    "typer": ("pipelines/",),
    "rich": ("pipelines/",),
}
ALLOWED_IN_TORCH_ONLY = {
    "abc",
    "collections",
    "components",
    "copy",
    "difflib",
    "importlib",
    "itertools",
    "pathlib",
    "safetensors",
    "timm",
    "torch",
    "torchvision",
    "types",
    "typing",
}

# What stages import and what does not change their results: how they are asked, shown and tracked.
NOT_IN_RESULTS = (
    "components/credentials.py",
    "components/errors.py",
    "components/params.py",
    "components/provenance/",
    "components/tracking/",
    "pipelines/",
)
STAGES: dict[str, dict] = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]

FILES = sorted([*ROOT.glob("components/**/*.py"), *ROOT.glob("pipelines/**/*.py")])


@cache
def imports_of(file: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            names.add(str(node.module))
            # what is imported from one of our packages may be a module of it
            if str(node.module).startswith(("components", "pipelines")):
                names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def package_of(module: str) -> str:
    return "pipelines" if module.startswith("pipelines") else ".".join(module.split(".")[:2])


def name_of(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts)


def path_of(file: Path) -> str:
    return str(file.relative_to(ROOT))


def test_imports_point_one_way() -> None:
    breaches = []
    for file in FILES:
        here = package_of(name_of(file))
        if here == "components.__init__":
            continue
        allowed = MAY_IMPORT[here] | FOUNDATION_IMPORTS.get(here, FOUNDATIONS) | {here}
        breaches += [
            f"{path_of(file)} imports {name}"
            for name in sorted(imports_of(file))
            if name.startswith(("components.", "pipelines")) and package_of(name) not in allowed
        ]
    assert not breaches, "\n".join(breaches)


def test_libraries_are_known_in_few_places() -> None:
    breaches = [
        f"{path_of(file)} imports {name}"
        for file in FILES
        for name in sorted(imports_of(file))
        if not path_of(file).startswith(KNOWN_IN.get(name.split(".")[0], ""))
    ]
    assert not breaches, "\n".join(breaches)


def code_of(stage: str) -> set[str]:
    """Returns the files that make a stage's results: its own, and what it imports, however far."""
    files = {name_of(file).removesuffix(".__init__"): file for file in FILES}
    main = f"pipelines/stages/{stage}.py"
    found, todo = {main}, [main]
    while todo:
        imported = {
            path_of(files[module]) for module in imports_of(ROOT / todo.pop()) if module in files
        }
        new = {
            file
            for file in imported - found
            if not file.startswith(NOT_IN_RESULTS) and not file.endswith("__init__.py")
        }
        found |= new
        todo += new
    return found


def files_in(dep: str) -> set[str]:
    """Returns the files of code that a dependency in dvc.yaml stands for: itself, or its folder."""
    return {
        path_of(file)
        for file in FILES
        if file.name != "__init__.py" and file.is_relative_to(ROOT / dep)
    }


def deps_of(code: set[str]) -> list[str]:
    """Returns code as dvc.yaml names it: by its folder where a stage imports all of that."""
    folders = {file: str(Path(file).parent) for file in code}
    return sorted(
        {folder if files_in(folder) <= code else file for file, folder in folders.items()}
    )


@pytest.mark.parametrize("stage", STAGES)
def test_stages_depend_on_the_code_that_they_import_and_on_nothing_else(stage: str) -> None:
    """DVC follows no imports: what a stage does not name can change without its running again.

    What it names and does not use makes it run again for nothing.
    """
    named = [dep for dep in STAGES[stage]["deps"] if dep.startswith(("components", "pipelines"))]
    declared = {file for dep in named for file in files_in(dep)}
    needed = code_of(stage)
    lines = "\n".join(f"      - {dep}" for dep in deps_of(needed))
    assert declared == needed, f"the code under `deps` of {stage} in dvc.yaml has to be\n{lines}"


def test_networks_and_losses_know_torch_only() -> None:
    breaches = [
        f"{path_of(file)} imports {name}"
        for file in FILES
        if path_of(file).startswith(("components/models/", "components/losses/"))
        for name in sorted(imports_of(file))
        if name.split(".")[0] not in ALLOWED_IN_TORCH_ONLY
    ]
    assert not breaches, "\n".join(breaches)


def test_the_check_sees_a_breach(tmp_path: Path) -> None:
    file = tmp_path / "breach.py"
    file.write_text("from components import training\nimport mlflow.pyfunc\n")
    assert imports_of(file) == {"components", "components.training", "mlflow.pyfunc"}
