"""Presets: what they change, and that writing into params.yaml keeps the rest of it."""

import shlex
import shutil
from pathlib import Path

import pytest
import yaml
from builders import PROJECT

from components.params import changed, check, resolved
from pipelines.operations.preset import read_preset
from pipelines.shell.cli import main


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copy(PROJECT / "params.yaml", tmp_path)
    shutil.copytree(PROJECT / "presets", tmp_path / "presets")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(["preset", *arguments])
    return int(stopped.value.code or 0)


def test_the_demo_follows_the_preset_hemline():
    params = resolved(Path("params.yaml"))
    assert changed(params, read_preset("hemline")) == params


@pytest.mark.parametrize("name", ["ahbn", "fashionsearchnet", "hemline", "paper", "photographs"])
def test_values_come_as_options_of_an_experiment(name, capsys):
    assert run(name) == 0
    options = shlex.split(capsys.readouterr().out)
    assert set(options[::2]) == {"-S"}
    pairs = dict(option.split("=", 1) for option in options[1::2])
    assert all(key.startswith("++") for key in pairs), "the params file may lack the key"
    pairs = {key.removeprefix("++"): value for key, value in pairs.items()}
    assert {key: yaml.safe_load(value) for key, value in pairs.items()} == read_preset(name)


def test_without_a_name_they_are_listed(capsys):
    assert run() == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [
        "ahbn",
        "fashionsearchnet",
        "hemline",
        "paper",
        "photographs",
    ]


def test_written_values_are_used_and_comments_stay(capsys):
    comments = [line.partition("#")[2] for line in Path("params.yaml").read_text().splitlines()]
    before = resolved(Path("params.yaml"))
    assert run("paper", "--write") == 0
    shown = capsys.readouterr().out
    assert "train.objective: multi_similarity -> triplet" in shown
    assert "train.flip_probability" not in shown, "it is the same in both"
    params = resolved(Path("params.yaml"))
    assert params == changed(before, read_preset("paper"))
    after = [line.partition("#")[2] for line in Path("params.yaml").read_text().splitlines()]
    assert after == comments

    assert run("hemline", "--write") == 0
    params = resolved(Path("params.yaml"))
    assert params["train"] == before["train"] | {
        key: params["train"][key] for key in ("triplets_per_batch", "step_epochs", "step_factor")
    }


def test_an_unknown_preset_names_the_known(capsys):
    assert run("papers") == 1
    assert (
        "no preset 'papers' in presets/; there are ahbn, fashionsearchnet, hemline, paper"
        in capsys.readouterr().err
    )


def test_a_preset_that_contradicts_the_rest_changes_nothing(project, capsys):
    (project / "presets/wrong.yaml").write_text("# Wrong.\ntrain: {objective: triplet}\n")
    before = Path("params.yaml").read_text()
    assert run("wrong", "--write") == 1
    assert "params.yaml with the preset wrong cannot be used" in capsys.readouterr().err
    assert Path("params.yaml").read_text() == before


def test_a_change_leaves_what_it_was_made_from_alone():
    params = resolved(Path("params.yaml"))
    other = changed(params, {"train.margin": 0.5})
    assert other["train"]["margin"] == 0.5
    assert params == resolved(Path("params.yaml"))
    check(other, source="test")


def test_every_variant_of_the_comparison_makes_a_network():
    """As far as can be known without building its backbone."""
    params = resolved(PROJECT / "params.yaml")
    for variants in yaml.safe_load((PROJECT / "comparison.yaml").read_text()).values():
        for name, values in variants.items():
            check(changed(params, values), source=name)


MISSING = {
    "first": ["data.format"],
    "between": ["train.margin", "train.ema_decay"],
    "last, before a blank line": ["split.test_share", "split.query_share"],
    "last of the file": ["retrain.git_push"],
    "section": ["checkpoint.every_steps", "checkpoint.num_to_keep"],
}


@pytest.mark.parametrize("names", MISSING.values(), ids=MISSING.keys())
def test_missing_keys_are_filled_in_once_and_nothing_else_changes(names, capsys):
    path = Path("params.yaml")
    before = resolved(path)
    lines = path.read_text().splitlines()
    keys = [name.split(".") for name in names]
    starts = {section: lines.index(f"{section}:") for section in before if f"{section}:" in lines}
    for section, key in reversed(keys):
        begin = starts.get(section) or next(
            i for i, line in enumerate(lines) if line.startswith(f"{section}:")
        )
        at = next(i for i in range(begin, len(lines)) if lines[i].startswith(f"  {key}:"))
        del lines[at]
    if "checkpoint.every_steps" in names:
        lines.remove("checkpoint:")
    path.write_text("\n".join(lines) + "\n")

    assert run("--fill") == 0
    shown = capsys.readouterr().out
    assert resolved(path) == before
    assert yaml.safe_load(path.read_text()) == before, "every key stands there"
    filled = path.read_text().splitlines()
    added = [line.strip() for line in filled if line not in lines]
    expected = [f"{key}: {yaml.safe_dump(before[section][key])[:-1]}" for section, key in keys]
    expected = [line.removesuffix("\n...") for line in expected]
    assert added == (["checkpoint:"] if "checkpoint.every_steps" in names else []) + expected
    assert [line for line in filled if line in lines] == lines, "in their order"
    if names != MISSING["section"]:
        for section, key in keys:
            assert list(yaml.safe_load(path.read_text())[section]) == list(before[section])
            assert f"{section}.{key}: " in shown
    assert "DVC will rerun register and the stages that read" in shown

    assert run("--fill") == 0
    assert capsys.readouterr().out == "params.yaml has every key\n"
    assert path.read_text().splitlines() == filled


def test_filling_refuses_a_file_with_mistakes_and_leaves_it(capsys):
    path = Path("params.yaml")
    text = path.read_text().replace("  margin:", "  margni:")
    path.write_text(text)
    assert run("--fill") == 1
    assert "train.margni: unknown key" in capsys.readouterr().err
    assert path.read_text() == text


def test_a_preset_is_written_into_a_file_of_an_older_version():
    path = Path("params.yaml")
    text = "\n".join(line for line in path.read_text().splitlines() if "schedule:" not in line)
    path.write_text(text)
    assert run("paper", "--write") == 0
    assert yaml.safe_load(path.read_text())["train"]["schedule"] == "step"


def test_fill_and_a_preset_are_one_at_a_time(capsys):
    assert run("paper", "--fill") == 1
    assert "--fill takes no preset" in capsys.readouterr().err


def test_a_long_value_stays_on_its_line():
    assert run("photographs", "--write") == 0
    weights = read_preset("photographs")["model.weights"]
    assert any(
        line.startswith(f"  weights: {weights} #")
        for line in Path("params.yaml").read_text().splitlines()
    )
