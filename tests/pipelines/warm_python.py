"""A Python that has imported the libraries already, for commands of which a test runs many.

A stage of the tiny project computes for a second and imports for six. `python`, `dvc` and `hemline`
in the folder that `warm_python` gives hand over what they were called with (arguments, folder,
environment, open files) to a server, which forks a process for it: one that has the libraries, and
imports the code of its own folder, as `python -m` does. It is killed when the caller is.
"""

import atexit
import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import NoReturn

# what stages and DVC import, and import only while they work
LIBRARIES = (
    "alembic.command",
    "dvc.cli",
    "dvc.commands.repro",
    "dvc.repo.reproduce",
    "matplotlib.backends.backend_agg",
    "matplotlib.figure",
    "mlflow.models",
    "mlflow.pyfunc",
    "mlflow.store.model_registry.sqlalchemy_store",
    "mlflow.store.tracking.sqlalchemy_store",
    "mlflow.system_metrics.system_metrics_monitor",
    "ray.data",
    "ray.train.torch",
    "scipy.stats",
    "sklearn.manifold",
    "torch._dynamo",
    "torch.export",
    "torchvision",
)

# isolated (-I) and without site-packages (-S): it starts in a hundredth of a second
CALLER = """\
#!{python} -IS
import json, os, socket, sys

arguments = {module!r} + sys.argv[1:]
if arguments[:1] != ["-m"]:
    os.execv({python!r}, [{python!r}, *arguments])
call = {{"arguments": arguments[1:], "folder": os.getcwd(), "environment": dict(os.environ)}}
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    socket.send_fds(server, [b"-"], [0, 1, 2])
    server.sendall(json.dumps(call).encode() + b"\\n")
    status = int(server.recv(16) or 1)
if status < 0:
    os.kill(os.getpid(), -status)
sys.exit(status)
"""


@contextmanager
def warm_python(environment: dict[str, str]) -> Iterator[Path]:
    """Gives a folder for PATH whose `python -m`, `dvc` and `hemline` start at once.

    Args:
        environment: what libraries read when they are imported.
    """
    with tempfile.TemporaryDirectory(dir=Path.home()) as name:  # a socket's path must be short
        folder, address = Path(name), f"{name}/socket"
        for program, module in (("python", []), ("dvc", ["dvc"]), ("hemline", ["pipelines"])):
            text = CALLER.format(
                python=sys.executable, address=address, module=["-m", *module] if module else []
            )
            (folder / program).write_text(text)
            (folder / program).chmod(0o755)
        command = [sys.executable, __file__, address, str(folder / "python")]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        ) as server:
            assert server.stdin
            assert server.stdout
            assert server.stdout.readline() == b"ready\n"
            yield folder
            server.stdin.close()


def serve(address: str, *, executable: str) -> None:
    """Forks a process for every call, until standard input ends."""
    for library in LIBRARIES:
        import_module(library)
    gc.collect()
    gc.freeze()  # what is here already is never looked through again, which would copy it
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
        listening.listen()
        os.write(sys.stdout.fileno(), b"ready\n")
        while sys.stdin not in select.select([listening, sys.stdin], [], [])[0]:
            connection, _ = listening.accept()
            with connection:
                if os.fork() == 0:
                    _run(connection, executable=executable)


def _run(connection: socket.socket, *, executable: str) -> NoReturn:
    """Runs what is called for, and answers with its exit status."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _, files, _, _ = socket.recv_fds(connection, 1, 3)
    call = json.loads(connection.makefile().readline())
    program = os.fork()
    if program == 0:
        connection.close()
        for number, file in enumerate(files):
            os.dup2(file, number)
            os.close(file)
        sys.executable = executable
        _become(**call)
    for file in files:
        os.close(file)
    ended = os.pidfd_open(program)
    if ended not in select.select([connection, ended], [], [])[0]:
        os.kill(program, signal.SIGKILL)  # the caller is no more
    _, status = os.waitpid(program, 0)
    with connection, suppress(BrokenPipeError):  # the caller is no more
        connection.sendall(str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def _become(arguments: list[str], folder: str, environment: dict[str, str]) -> NoReturn:
    """Does what `python -m` does in a folder with an environment."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    code = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))
    sys.path[:1] = [folder, *code]  # the first one is the server's own
    sys.argv = arguments
    status = 0
    try:
        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else bool(end.code)
    except BaseException:
        traceback.print_exc()
        status = 1
    # as Python ends, but for taking down all modules: a third of a second
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    serve(sys.argv[1], executable=sys.argv[2])
    os._exit(0)
