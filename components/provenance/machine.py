"""The machine and the libraries that a run is computed with."""

import os
import platform
from collections.abc import Mapping
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

_CPUINFO = Path("/proc/cpuinfo")


def describe_machine() -> dict[str, Any]:
    """Returns what bits may depend on: system, processor, its number, memory, GPUs."""
    import torch  # noqa: PLC0415 - seconds that commands without a network need not pay

    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    num_gpus = torch.cuda.device_count()
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "num_cpus": os.cpu_count(),
        "memory_gib": round(memory_bytes / 2**30, 1),
        "gpus": [torch.cuda.get_device_name(number) for number in range(num_gpus)],
        "python": platform.python_version(),
    }


def installed_libraries() -> dict[str, str]:
    """Returns the version of every installed distribution, by its normalised name, sorted."""
    found = {canonicalize_name(each.metadata["Name"]): each.version for each in distributions()}
    return dict(sorted(found.items()))


def differences(constraints: str, installed: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Returns (what is asked for, what is installed) of the libraries that differ.

    Libraries that are not installed do not count: constraints name those of tests too. Nor does a
    build's own suffix, such as torch's `+cpu`, as in pip. `constraints` is the content of a pip
    constraints file, `installed` has normalised names.
    """
    lines = (line.partition("#")[0].strip() for line in constraints.splitlines())
    asked = {
        canonicalize_name(pin.name): pin.specifier for pin in map(Requirement, filter(None, lines))
    }
    return {
        name: (str(specifier), installed[name])
        for name, specifier in asked.items()
        if name in installed and not specifier.contains(installed[name], prereleases=True)
    }


def _processor() -> str:
    lines = _CPUINFO.read_text().splitlines() if _CPUINFO.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())
