"""Writers with real Ray: those that are lost are begun again, and what they raise is told."""

import os
from functools import partial
from pathlib import Path

import pytest
from builders import flip_a_bit, write_files
from embedding_runs import (
    PARAMS,
    NotingReader,
    assert_exact,
    embed_and_die,
    list_again,
    load_network,
    noted,
    on_ray,
    picture,
    readable,
    run,
)
from ray.exceptions import WorkerCrashedError

from components.embedding.embeddings import read_embeddings
from components.embedding.job import embed_here
from components.embedding.writers import write_in_tasks
from components.errors import HemlineError

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_session")]


def test_a_lost_writer_is_begun_again_and_its_parts_stay(folder: Path, tmp_path: Path) -> None:
    """Batches are of three images and parts of eight: it is lost in the second part."""
    out, notes = tmp_path / "out", tmp_path / "notes"
    embed = partial(embed_and_die, num_batches=4, died=tmp_path / "died")
    source = list_again(str(folder), out, NotingReader(notes=notes))
    done: list[int] = []
    write = partial(write_in_tasks, embeds=[embed])
    assert run(source, out, write=write, on_progress=done.append) == 22, "each counts once"
    assert_exact(out, readable(folder), {"broken.jpg", "empty.png"})
    assert sorted(noted(notes).values()) == [1] * 16 + [2] * 6, "two batches of a part"
    assert not [*out.glob("parts/.*")], "the plan is gone"


def test_writers_that_are_always_lost_end_it(folder: Path, tmp_path: Path) -> None:
    out, notes = tmp_path / "out", tmp_path / "notes"
    source = list_again(str(folder), out, NotingReader(notes=notes))
    embed = partial(embed_and_die, num_batches=1)
    with pytest.raises(WorkerCrashedError):
        run(source, out, write=partial(write_in_tasks, embeds=[embed]))
    assert not (out / "manifest.json").exists()
    assert not [*out.glob("parts/.*")]


def test_more_writers_than_one_write_the_same(folder: Path, tmp_path: Path) -> None:
    embed = partial(embed_here, load_network=load_network, params=PARAMS)
    made = []
    for num_writers in (1, 3):
        out = tmp_path / str(num_writers)
        source = list_again(str(folder), out, NotingReader(notes=tmp_path / "notes"))
        run(source, out, write=partial(write_in_tasks, embeds=[embed] * num_writers))
        paths = [path for path in out.rglob("*") if path.is_file()]
        made.append({str(path.relative_to(out)): path.read_bytes() for path in paths})
    assert made[0] == made[1]


def test_what_is_damaged_is_told_as_in_this_process(folder: Path, tmp_path: Path) -> None:
    out, notes = tmp_path / "out", tmp_path / "notes"
    run(list_again(str(folder), out, NotingReader(notes=notes)), out)
    embeddings = read_embeddings(out)
    path = embeddings.part_path("collar", embeddings.parts[1].key)
    flip_a_bit(path)
    write_files(folder, {"09.png": picture(31) + b"trailing"})
    with pytest.raises(HemlineError, match=rf"^{path} is damaged .*: remove .*`hemline embed"):
        run(list_again(str(folder), out, NotingReader(notes=notes)), out, write=on_ray)


def test_a_folder_that_only_this_process_sees_is_refused(folder: Path, tmp_path: Path) -> None:
    """What /proc/self says is another thing in every process."""
    (tmp_path / "out").mkdir()
    opened = os.open(tmp_path / "out", os.O_RDONLY)
    out = Path(f"/proc/self/fd/{os.dup2(opened, 900)}/deep")
    source = list_again(str(folder), out, NotingReader(notes=tmp_path / "notes"))
    try:
        with pytest.raises(HemlineError, match=r"do not see .*deep as this command does.*: give a"):
            run(source, out, write=on_ray)
    finally:
        os.close(opened)
        os.close(900)
    assert not [*tmp_path.glob("out/deep/manifest.json")]
