"""Operation `preset`: named recipes, as changes to params.yaml; the defaults of missing keys."""

import json
import shlex
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option

from components import files
from components.errors import HemlineError
from components.params import changed, check, flat, missing_keys, resolved
from pipelines.shell import options
from pipelines.shell.params_file import write_values
from pipelines.shell.reporting import console, print_json

FOLDER = Path("presets")

Name = Annotated[str | None, Argument(help="Name of the preset; omit it for a list.")]
Write = Annotated[bool, Option("--write", help="Write the values into the params file.")]
Fill = Annotated[bool, Option("--fill", help="Write missing keys, with their defaults.")]


def preset(
    name: Name = None,
    *,
    write: Write = False,
    fill: Fill = False,
    params: options.Params = options.PARAMS,
    output_format: options.Format = "table",
) -> None:
    """Print a preset's values as options of `dvc exp run`, or write them into the params file.

    `dvc exp run $(hemline preset paper)` trains with it and leaves params.yaml alone.

    A params file of an older version works as it is: keys that it lacks have their defaults.
    `--fill` writes them, so that they can be seen and varied. No value changes, but DVC compares
    whole sections: stages that read a filled one run again, and so does register.
    """
    as_json = output_format == "json"
    if fill:
        if name is not None or write:
            raise HemlineError("--fill takes no preset: fill the params file, then write one")
        _fill(params, as_json=as_json)
    elif name is None:
        presets = {
            file.stem: file.read_text().splitlines()[0].removeprefix("# ")
            for file in sorted(FOLDER.glob("*.yaml"))
        }
        if as_json:
            print_json({"presets": presets})
        for preset_name, text in presets.items():
            console.print(f"{preset_name:{max(map(len, presets))}} {text}")
    else:
        values = read_preset(name)
        check(changed(resolved(params), values), source=f"{params} with the preset {name}")
        if write:
            _take(values, params, as_json=as_json)
        elif as_json:
            print_json({"values": values})
        else:
            # ++: the params file may lack a key that has a default
            pairs = (f"++{key}={_text(value)}" for key, value in values.items())
            console.print(" ".join(f"-S {shlex.quote(pair)}" for pair in pairs))


def read_preset(name: str) -> dict[str, Any]:
    """Returns a preset's values by `section.key`.

    Raises:
        HemlineError: there is no such preset.
    """
    path = FOLDER / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in FOLDER.glob("*.yaml")))
        raise HemlineError(f"no preset {name!r} in {FOLDER}/; there are {known or 'none'}")
    return flat(files.read_yaml(path))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _take(values: dict[str, Any], params: Path, *, as_json: bool) -> None:
    before = flat(resolved(params))
    different = {name: value for name, value in values.items() if before[name] != value}
    if as_json:
        print_json({"written": different})
    for name, value in different.items():
        console.print(f"{name}: {_text(before[name])} -> {_text(value)}", markup=False)
    write_values(different, params)


def _fill(params: Path, *, as_json: bool) -> None:
    missing = missing_keys(params)
    if as_json:
        print_json({"written": missing})
    if not missing:
        console.print(f"{params} has every key")
        return
    write_values(missing, params)
    for name, value in missing.items():
        console.print(f"{name}: {_text(value)}", markup=False)
    sections = dict.fromkeys(name.split(".")[0] for name in missing)
    console.print(
        f"{len(missing)} keys added to {params}, with the values that were in use. DVC will rerun "
        f"register and the stages that read {', '.join(sections)}; where nothing else changed, "
        "`dvc commit --force STAGE` takes their outputs as they are"
    )
