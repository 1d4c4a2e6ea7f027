"""Operation `preset`: a recipe by name, as changes of params.yaml."""

import json
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer
from ruamel.yaml import YAML

from components import files
from components.errors import HemlineError
from components.params import changed, check, resolved
from pipelines.shell import options
from pipelines.shell.reporting import console

FOLDER = Path("presets")

Name = Annotated[str | None, typer.Argument(help="Which preset; none lists them.")]
Write = Annotated[bool, typer.Option("--write", help="Write the values into the params file.")]


def preset(
    name: Name = None, *, write: Write = False, params: options.Params = options.PARAMS
) -> None:
    """Print a preset's values as options of `dvc exp run`, or write them into the params file.

    `dvc exp run $(hemline preset paper)` trains with it and leaves params.yaml alone.
    """
    if name is None:
        for file in sorted(FOLDER.glob("*.yaml")):
            console.print(f"{file.stem:10} {file.read_text().splitlines()[0].removeprefix('# ')}")
        return
    values = read_preset(name)
    check(changed(resolved(params), values), source=f"{params} with the preset {name}")
    if write:
        _write(values, params)
    else:
        console.print(" ".join(f"-S {shlex.quote(f'{k}={_text(v)}')}" for k, v in values.items()))


def read_preset(name: str) -> dict[str, Any]:
    """Returns a preset's values by `section.key`.

    Raises:
        HemlineError: there is no such preset.
    """
    path = FOLDER / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in FOLDER.glob("*.yaml")))
        raise HemlineError(f"no preset {name!r} in {FOLDER}/; there are {known or 'none'}")
    sections = files.read_yaml(path)
    return {
        f"{section}.{key}": value
        for section, keys in sections.items()
        for key, value in keys.items()
    }


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _write(values: dict[str, Any], params: Path) -> None:
    yaml = YAML()  # keeps comments
    yaml.preserve_quotes = True
    document = yaml.load(params.read_text())
    before = resolved(params)
    for name, value in values.items():
        section, key = name.split(".")
        if before[section][key] != value:
            console.print(f"{name}: {_text(before[section][key])} -> {_text(value)}", markup=False)
            document[section][key] = value
    with files.replacing(params) as temporary, temporary.open("w") as file:
        yaml.dump(document, file)
