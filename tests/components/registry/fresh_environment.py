"""A virtual environment that has the packages of a requirements list, and nothing else.

Installing them would take minutes and gigabytes, most of it PyTorch. The packages are linked from
the environment that the tests run in: those listed, in the versions listed, and what they require
in turn, by their own metadata.
"""

import sys
import venv
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement


def create_environment(folder: Path, requirements: list[str]) -> Path:
    """Returns the folder of the new environment's programs, `python` among them.

    Raises:
        AssertionError: a package is here in another version than the list wants.
    """
    venv.create(folder, with_pip=False, symlinks=True)
    programs = folder / "bin"
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = folder / "lib" / version / "site-packages"
    for installed in _with_dependencies(requirements):
        _link_modules(installed, packages)
        _write_programs(installed, programs)
    return programs


def _with_dependencies(requirements: list[str]) -> list[Distribution]:
    found: dict[tuple[str, str], Distribution] = {}
    waiting = [Requirement(line) for line in requirements]
    while waiting:
        wanted = waiting.pop()
        for extra in ("", *wanted.extras):
            key = (wanted.name.lower().replace("_", "-"), extra)
            if key in found:
                continue
            found[key] = installed = distribution(wanted.name)
            assert wanted.specifier.contains(installed.version, prereleases=True), str(wanted)
            waiting += [
                needed
                for needed in map(Requirement, installed.requires or [])
                if needed.marker is None or needed.marker.evaluate({"extra": extra})
            ]
    return list(found.values())


def _link_modules(installed: Distribution, packages: Path) -> None:
    names = {file.parts[0] for file in installed.files or []} - {"..", "__pycache__"}
    for name in names:
        link = packages / name
        if not link.exists():  # folders such as nvidia/ hold several packages
            link.symlink_to(Path(str(installed.locate_file(name))).resolve())


def _write_programs(installed: Distribution, programs: Path) -> None:
    for entry in installed.entry_points.select(group="console_scripts"):
        path = programs / entry.name
        lines = [
            f"#!{programs / 'python'}",
            "import sys",
            f"from {entry.module} import {entry.attr}",
        ]
        path.write_text("\n".join([*lines, f"sys.exit({entry.attr}())", ""]))
        path.chmod(0o755)
