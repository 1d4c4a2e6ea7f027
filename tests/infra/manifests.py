"""The files of infra/, read as their programs read them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

INFRA = Path(__file__).parents[2] / "infra"
SCHEMAS = Path(__file__).parent / "schemas"
ENTRY_POINT = "/opt/hemline/infra/entrypoint.sh"
# what kustomize puts the real image in place of
OUR_IMAGE = "hemline:set-the-commit"


class Loader(yaml.SafeLoader):
    """Reads `on` as the text that it is to GitHub and to Kubernetes, not as true."""


Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
    if first in "oOyYnN"
    else resolvers
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read(path: Path) -> Any:
    """Returns the one document of a YAML file."""
    return yaml.load(path.read_text(), Loader=Loader)


def documents(path: Path) -> list[dict[str, Any]]:
    """Returns all documents of a YAML file."""
    return list(yaml.load_all(path.read_text(), Loader=Loader))


def found(node: Any, key: str) -> Iterator[Any]:
    """Yields what stands under a key, at any depth."""
    if isinstance(node, list):
        for child in node:
            yield from found(child, key)
    elif isinstance(node, dict):
        for name, child in node.items():
            if name == key:
                yield child
            yield from found(child, key)


def kubernetes_files() -> list[Path]:
    """Returns the files that hold documents for Kubernetes."""
    return sorted(set((INFRA / "kuberay").glob("*.yaml")) - {INFRA / "kuberay/kustomization.yaml"})
