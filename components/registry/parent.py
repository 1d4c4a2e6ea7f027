"""The version that a network was grown from, as it lies in the project (`training/growth.py`)."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from components.registry.package import Ancestor, Package, read_package
from components.registry.versions import RegisteredVersion, read_registration
from components.tables import PARENT_PACKAGE, PARENT_VERSION


@dataclass(frozen=True, kw_only=True)
class Parent:
    """A version that another is grown from, and its package."""

    version: RegisteredVersion
    package: Package

    def ancestors(self, names: Collection[str]) -> tuple[Ancestor, ...]:
        """Returns the ancestors of a version grown from it that knows these attributes.

        The parent is the first of them, its own ancestors follow.
        """
        parent = Ancestor(
            name=self.version.name,
            version=self.version.version,
            graph_sha256=self.package.graph_sha256,
            attributes=tuple(self.package.schema.names),
        )
        return tuple(
            replace(each, attributes=tuple(name for name in each.attributes if name in names))
            for each in (parent, *self.package.ancestors)
        )


def read_parent(folder: Path) -> Parent:
    """Returns the version in a folder.

    Raises:
        HemlineError: a file is missing.
    """
    return Parent(
        version=read_registration(folder / PARENT_VERSION),
        package=read_package(folder / PARENT_PACKAGE),
    )
