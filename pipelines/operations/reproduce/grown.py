"""What a version that is made again was grown from: fetched into its worktree."""

import shutil

from components import files, tables
from components.errors import HemlineError
from components.params import TrainParams, load_section
from components.registry import versions
from components.tracking.runs import Tracking
from components.training.growth import read_parent
from pipelines.operations.grow.parent import take_parent
from pipelines.operations.reproduce.worktree import Worktree
from pipelines.shell import options


def grown_from(worktree: Worktree, *, where: Tracking) -> str | None:
    """Returns the URI of the version that is grown in a worktree; None where none is.

    The version then lies in the worktree: from DVC's cache or remote, from the project, or from the
    registry. Its graph is the one that params name, wherever it is from.

    Raises:
        HemlineError: none of them has it.
    """
    params = worktree.folder / options.PARAMS
    try:
        graph_sha256 = load_section(params, TrainParams).parent
    except HemlineError:  # params of another hemline, which its own code reads
        return None
    if graph_sha256 is None:
        return None
    folder = worktree.folder / options.PARENT
    worktree.fetch([])
    for source in (folder, options.PARENT):
        try:
            parent = read_parent(source, graph_sha256)
        except HemlineError:
            continue
        if source != folder:
            shutil.copytree(source, folder)
        return parent.uri
    found = versions.of_graph(where.model_name, graph_sha256, where)
    if found is None:
        raise HemlineError(
            f"what it was grown from, the graph {graph_sha256[:12]}, is neither in DVC's cache nor "
            f"in its remote ({options.PARENT}.dvc), nor is it a version of {where.model_name} in "
            f"{where.registry_address}"
        )
    take_parent(found, folder, where=where)
    return str(files.read_json(folder / tables.PARENT_VERSION)["uri"])
