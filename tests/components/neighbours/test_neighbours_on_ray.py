"""Parts made by Ray tasks are those of one process, by the index too, and no two parts are one."""

from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from embedded_folders import unit_vectors, write_embedded_folder

from components.neighbours import wanted
from components.neighbours.folder import NEAREST
from components.neighbours.job import parts_here, parts_on_ray
from components.neighbours.making import RunParts, make_neighbours
from components.search.finder import Finder
from components.search.request import SearchRequest

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_session")]


def bytes_made(tmp_path: Path, run_parts: RunParts, out: str) -> dict[str, bytes]:
    embedded = write_embedded_folder(tmp_path / "embedded", {"fit": unit_vectors(2000, 8)})
    make_neighbours(
        Finder(embedded, None),
        embedded,
        [SearchRequest(weights={"fit": 1.0}, top_k=5)],
        tmp_path / out,
        run_parts=run_parts,
        work=nullcontext(lambda number: None),
    )
    return {path.name: path.read_bytes() for path in (tmp_path / out / NEAREST).iterdir()}


@pytest.mark.parametrize("most_exact", [10_000, 1000])
def test_tasks_make_what_this_process_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most_exact: int
) -> None:
    monkeypatch.setattr(wanted, "MOST_EXACT", most_exact)
    monkeypatch.setattr(wanted, "ITEMS_PER_PART", 300)
    here = bytes_made(tmp_path, parts_here, "here")
    assert bytes_made(tmp_path, parts_on_ray(2), "on ray") == here
    assert len(here) == np.ceil(2000 / 300)
