"""Writers: tasks of Ray that make parts of the embeddings and write them, on any node.

The command's process gives each a share of the parts and is told of each part what the manifest
says of it. The plan lies in the embeddings' folder while they work: who finds it there sees the
folder. Writers that do not are begun again on the command's own node, which does; those that are
lost, with a node or for lack of memory, where there is room, and what they have written is kept.

Each writer runs a job of Ray Data of its own, with its share of the actors and readers.
"""

import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray
import ray.data
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from components.embedding.batches import Embed
from components.embedding.part_files import is_complete, new_scratch_path, read_part
from components.embedding.writing import Done, PlannedPart, Work, write_parts
from components.errors import HemlineError

_LOSSES = 3  # of a writer without a part in between: then it is no accident
_SELDOM_S = 1.0  # between words of a writer, which cost the command's process some time
_STORE_SHARE = 0.5  # of Ray's object store, for what waits in all writers' jobs


class _UnseenError(Exception):
    """A writer is on a node that does not see a folder."""


@dataclass
class _Share:
    """A writer's work: the places of its parts in the plan, by their keys, and how it went."""

    embed: Embed
    left: dict[str, int]
    is_here: bool = False
    num_images: int = 0  # done, of parts that are not written
    num_losses: int = 0


def write_in_tasks(
    plans: Sequence[PlannedPart], work: Work, embeds: Sequence[Embed]
) -> Iterator[Done]:
    """Makes the parts in as many writers as there are `embeds`, each with one of them.

    Raises:
        HemlineError: a writer raised it, or this node's processes of Ray do not see the folder.
    """
    work = replace(
        work,
        out=work.out.absolute(),
        earlier=[replace(x, folder=x.folder.absolute()) for x in work.earlier],
    )
    keys = {plan.key: place for place, plan in enumerate(plans)}
    with _lying_at(new_scratch_path(work.out), plans) as plan_file:
        streams: dict[Any, _Share] = {}

        def begin(share: _Share) -> None:
            node = ray.get_runtime_context().get_node_id()
            where = NodeAffinitySchedulingStrategy(node, soft=False) if share.is_here else "SPREAD"
            writer = ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=where)(_write_share)
            room = _STORE_SHARE / len(embeds)
            stream = writer.remote(plan_file, share.left, work, share.embed, store_share=room)
            streams[stream] = share

        for index, embed in enumerate(embeds):
            begin(_Share(embed, dict([*keys.items()][index :: len(embeds)])))
        try:
            while streams:
                (stream,), _ = ray.wait([*streams], num_returns=1)
                share = streams[stream]
                try:
                    done: Done = ray.get(next(stream))
                except StopIteration:
                    del streams[stream]
                except RayError as error:
                    del streams[stream]
                    _take_note(share, error, out=work.out)
                    yield Done(-share.num_images)
                    share.num_images = 0
                    begin(share)
                else:
                    share.num_images += done.num_images
                    if done.part is not None:
                        place = share.left.pop(done.key)
                        share.num_images -= len(plans[place].items)
                        share.num_losses = 0
                    yield done
        finally:
            for stream in streams:
                ray.cancel(stream, force=True)


def _take_note(share: _Share, error: RayError, *, out: Path) -> None:
    """Notes why a writer ended, or raises it where another one would end in the same way."""
    cause = error.cause if isinstance(error, RayTaskError) else None
    if isinstance(cause, _UnseenError) and not share.is_here:
        share.is_here = True
    elif isinstance(cause, _UnseenError):
        raise HemlineError(
            f"processes of Ray do not see {out} as this command does, not even on its own node: "
            "give a folder on a file system that the cluster's nodes share, at the same path"
        ) from error
    elif isinstance(cause, HemlineError):
        raise cause from error
    elif cause is not None or share.num_losses == _LOSSES:
        raise error
    else:
        share.num_losses += 1


def _write_share(
    plan_file: Path, places: Mapping[str, int], work: Work, embed: Embed, *, store_share: float
) -> Iterator[Done]:
    """A writer: yields what is done of its share."""
    folders = [each.folder for each in work.earlier if each.folder != work.out]
    if not plan_file.exists() or not all(folder.exists() for folder in folders):
        raise _UnseenError
    _set_up_ray_data(store_share)
    with _ray_core_aside(), pa.memory_map(str(plan_file)) as file:
        planned = pa.ipc.open_file(file)
        plans = []
        for key, place in places.items():
            items = pa.Table.from_batches([planned.get_batch(place)])
            if is_complete(work.out, key, attributes=work.recipe.attributes):  # by a lost writer
                yield Done(len(items), key, read_part(work.out, key))
            else:
                plans.append(PlannedPart(key=key, items=items, is_done=False))
        yield from _seldom(write_parts(plans, work, embed=embed))


def _set_up_ray_data(store_share: float) -> None:
    """Makes Ray Data quiet, as it is in the command's process, and leaves the others some room."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    logging.getLogger("ray.data._internal.progress").setLevel(logging.ERROR)
    in_store = ray.cluster_resources().get("object_store_memory", 0) * store_share
    limits = context.execution_options.resource_limits
    context.execution_options.resource_limits = limits.copy(object_store_memory=in_store)


@contextmanager
def _ray_core_aside() -> Iterator[None]:
    """Has Ray's core write to a log of this process's own, and not to the user's terminal.

    In the command's process it does so itself; in this one it warns, job after job, of how Ray Data
    makes its actors. What Ray Data warns of is printed as ever.
    """
    context = ray.get_runtime_context()
    logs = Path(context.get_temp_dir(), context.get_session_name(), "logs")
    log = logs / f"hemline-writer-{os.getpid()}.log" if logs.is_dir() else Path(os.devnull)
    of_ray_data = logging.getLogger("ray.data")
    with log.open("a") as aside, os.fdopen(os.dup(2), "w") as terminal:
        printed = logging.StreamHandler(terminal)
        of_ray_data.addHandler(printed)
        os.dup2(aside.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(terminal.fileno(), 2)
            of_ray_data.removeHandler(printed)


def _seldom(all_done: Iterator[Done]) -> Iterator[Done]:
    """Yields what is done with each part that is written, and once in a while."""
    num_images, said = 0, time.monotonic()
    for done in all_done:
        num_images += done.num_images
        if done.part is not None or time.monotonic() - said > _SELDOM_S:
            yield done._replace(num_images=num_images)
            num_images, said = 0, time.monotonic()


@contextmanager
def _lying_at(path: Path, plans: Sequence[PlannedPart]) -> Iterator[Path]:
    """Gives the path of a file that has the items of parts, a batch for each, while it is there."""
    try:
        with pa.ipc.new_file(path, plans[0].items.schema) as file:
            for plan in plans:
                file.write(plan.items.combine_chunks())
        yield path
    finally:
        path.unlink(missing_ok=True)
