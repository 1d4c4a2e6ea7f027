"""Stage `preprocess`: where it works."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from builders import PROJECT, encoded, noise, write_files

from components.images.decode import decode
from components.images.store import ImageStore
from pipelines.shell.cli import main


def test_without_workers_it_decodes_in_this_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAY_ADDRESS", "nowhere://")  # whatever needs Ray fails
    params = yaml.safe_load((PROJECT / "params.yaml").read_text())
    params["data"] |= {"format": "table", "root": "pictures"}
    params["preprocess"] |= {"image_size_px": 32, "num_workers": 0}
    pictures = {f"images/{n}.png": encoded(noise(40, 36, seed=n)) for n in range(4)}
    labels = "".join(f"{n}.png,sleeve,{'long' if n % 2 else 'short'}\n" for n in range(4))
    write_files(
        tmp_path / "pictures", {**pictures, "labels.csv": f"image,attribute,value\n{labels}"}
    )
    Path("params.yaml").write_text(yaml.safe_dump(params))
    for stage in (
        ["ingest", "--data", "pictures", "--catalog", "catalog"],
        ["preprocess", "--data", "pictures", "--catalog", "catalog", "--store", "store"],
    ):
        with pytest.raises(SystemExit) as ended:
            main(stage)
        assert not ended.value.code
    assert "4 decoded, 0 kept" in capsys.readouterr().out
    expected = [decode(picture, image_size_px=32) for picture in pictures.values()]
    np.testing.assert_array_equal(ImageStore(Path("store")).gather(np.arange(4)), expected)
