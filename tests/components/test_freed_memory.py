"""Tensors come and go in a process of their own, whose page faults are counted."""

import os
import platform
import subprocess
import sys
from collections.abc import Mapping

import pytest
from builders import PROJECT

from components.freed_memory import ENVIRONMENT

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's settings")

PROGRAM = """
import resource, sys, threading
import torch
from components.freed_memory import keep_freed_memory

def work():
    for _ in range(20):  # until what lies between tensors has found its place
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        tensor = torch.ones(20 * 2**18)  # of 20 MB
        larger = torch.cat([tensor, tensor, tensor, tensor])
        del tensor, larger
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

if sys.argv[1] == "kept":
    keep_freed_memory()
thread = threading.Thread(target=work)
if sys.argv[2] == "in a thread":
    thread.start()
    thread.join()
else:
    work()
"""


def pages(kept: str, where: str, environment: Mapping[str, str]) -> int:
    """Returns how many pages the process is given for the last of its tensors."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, kept, where],
        env={**os.environ, "PYTHONPATH": str(PROJECT), **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout)


@pytest.mark.parametrize(
    ("kept", "where", "environment"),
    [("kept", "in its first thread", {}), ("", "in a thread", ENVIRONMENT)],
)
def test_what_is_freed_is_used_again(kept: str, where: str, environment: Mapping[str, str]) -> None:
    assert pages("", where, {}) > 20_000
    assert pages(kept, where, environment) < 200
