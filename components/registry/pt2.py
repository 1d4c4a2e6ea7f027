"""Runs an exported graph without `torch.export`, whose import costs more than the model itself.

`torch.export.load` brings in PyTorch's compilers, 2 s of processor time. The file needs none of
them: it is a ZIP of weights and of a list of calls to operators (`torch/_export/serde/schema.py`).
This travels with a registered model and must not need this repository.
"""

import gc
import json
import operator
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

_collects_garbage = gc.isenabled()
gc.disable()  # modules are no garbage, and looking for some takes a tenth of importing PyTorch
try:
    import torch
    from torch import Tensor
finally:
    if _collects_garbage:
        gc.enable()

SCHEMA = 8  # the major version of the format that is read here

_DTYPES = {  # by their numbers in the file
    1: torch.uint8,
    2: torch.int8,
    3: torch.int16,
    4: torch.int32,
    5: torch.int64,
    6: torch.float16,
    7: torch.float32,
    8: torch.float64,
    12: torch.bool,
    13: torch.bfloat16,
}
_STRIDED = 7
_ATEN = "torch.ops.aten."
_OF_SIZES = {  # what is calculated of sizes, such as that of the batch
    f"_operator.{name}": getattr(operator, name) for name in ("add", "floordiv", "mul", "sub")
}
_AS_WRITTEN = ("as_int", "as_ints", "as_float", "as_floats", "as_bool", "as_bools", "as_string")
_KEYWORD = 2

Values = dict[str, Any]
Network = Callable[[Tensor, Tensor], Tensor | tuple[Tensor, ...]]


class UnknownFormatError(Exception):
    """A file has something that is not read here; `torch.export.load` reads it."""


def load(file: Path, device: str) -> Network:
    """Returns the network in a file, on a device: its inputs are positional, as when exported."""
    try:
        return Graph(file, device)
    except UnknownFormatError:
        from torch.export.passes import move_to_device_pass  # noqa: PLC0415 - seconds to import

        return move_to_device_pass(torch.export.load(file), device).module()


class Graph:
    """A graph's weights and its calls, in order."""

    def __init__(self, file: Path, device: str) -> None:
        with zipfile.ZipFile(file) as archive:
            folder = archive.namelist()[0].split("/")[0]
            model = json.loads(archive.read(f"{folder}/models/model.json"))
            if model["schema_version"]["major"] != SCHEMA:
                raise UnknownFormatError(model["schema_version"])
            graph, signature = (model["graph_module"][key] for key in ("graph", "signature"))
            weights = _read_weights(archive, folder, device)
        self._weights: Values = {}
        self._inputs = []
        for spec in signature["input_specs"]:
            ((kind, content),) = spec.items()
            if kind == "user_input":
                self._inputs.append(content["arg"]["as_tensor"]["name"])
            elif f"{kind}_name" in content:  # a parameter, a buffer or a constant
                self._weights[content["arg"]["name"]] = weights[content[f"{kind}_name"]]
            else:
                raise UnknownFormatError(kind)
        self._outputs = [_Argument(output, device) for output in graph["outputs"]]
        nodes = [node for node in graph["nodes"] if "._assert_" not in node["target"]]
        self._calls = [_Call(node, device) for node in nodes]
        _free_early(self._calls, kept={name for each in self._outputs for name in each.names})

    def __call__(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Returns what the exported network does."""
        values = self._weights | dict(zip(self._inputs, inputs, strict=True))
        for call in self._calls:
            call.run(values)
        outputs = tuple(output.value(values) for output in self._outputs)
        return outputs[0] if len(outputs) == 1 else outputs


class _Call:
    """One call of an operator, and the names that no later call needs."""

    def __init__(self, node: dict[str, Any], device: str) -> None:
        target = node["target"]
        if target.startswith(_ATEN):
            name, overload = target.removeprefix(_ATEN).split(".")
            self._operator = getattr(getattr(torch.ops.aten, name), overload)
        elif target in _OF_SIZES:
            self._operator = _OF_SIZES[target]
        else:
            raise UnknownFormatError(target)
        inputs = [(each, _Argument(each["arg"], device)) for each in node["inputs"]]
        self._positional = [value for each, value in inputs if each["kind"] != _KEYWORD]
        self._named = {each["name"]: value for each, value in inputs if each["kind"] == _KEYWORD}
        self._outputs = [_Argument(output, device) for output in node["outputs"]]
        self.read = {name for _, value in inputs for name in value.names}
        self.written = [name for output in self._outputs for name in output.names]
        self.last: list[str] = []

    def run(self, values: Values) -> None:
        """Puts what the operator gives to the other values."""
        found = self._operator(
            *(value.value(values) for value in self._positional),
            **{name: value.value(values) for name, value in self._named.items()},
        )
        is_one = len(self._outputs) == 1 and not self._outputs[0].is_list
        values.update(zip(self.written, [found] if is_one else found, strict=True))
        for name in self.last:
            del values[name]


class _Argument:
    """What an operator is given or gives: values by name, or a constant."""

    def __init__(self, written: dict[str, Any], device: str) -> None:
        ((kind, content),) = written.items()
        self.is_list = kind in ("as_tensors", "as_sym_ints")
        self.names: list[str] = []
        self._sizes: list[dict[str, Any]] = []
        self._constant: Any = None
        if kind in ("as_tensor", "as_tensors"):
            self.names = [each["name"] for each in (content if self.is_list else [content])]
        elif kind in ("as_sym_int", "as_sym_ints"):  # sizes: numbers, or results by name
            self._sizes = content if self.is_list else [content]
            self.names = [each["as_name"] for each in self._sizes if "as_name" in each]
        elif kind in _AS_WRITTEN:
            self._constant = content
        elif kind == "as_scalar_type" and content in _DTYPES:
            self._constant = _DTYPES[content]
        elif kind == "as_device":
            self._constant = torch.device(device)
        elif kind == "as_layout" and content == _STRIDED:
            self._constant = torch.strided
        elif kind != "as_none":
            raise UnknownFormatError(kind)

    def value(self, values: Values) -> Any:
        """Returns the argument, given the values so far."""
        if self._sizes:
            found = [
                values[each["as_name"]] if "as_name" in each else each["as_int"]
                for each in self._sizes
            ]
        elif self.names:
            found = [values[name] for name in self.names]
        else:
            return self._constant
        return found if self.is_list else found[0]


def _free_early(calls: list[_Call], *, kept: set[str]) -> None:
    """Notes with each call which results are needed no more: they take most of the memory."""
    needed = set(kept)
    results = {name for call in calls for name in call.written}
    for call in reversed(calls):
        call.last = sorted((call.read | set(call.written)) & results - needed)
        needed |= call.read


def _read_weights(archive: zipfile.ZipFile, folder: str, device: str) -> dict[str, Tensor]:
    weights = {}
    for kind in ("weights", "constants"):
        place = f"{folder}/data/{kind}"
        config = json.loads(archive.read(f"{place}/model_{kind}_config.json"))["config"]
        for name, written in config.items():
            about = written["tensor_meta"]
            if written["use_pickle"] or about["dtype"] not in _DTYPES:
                raise UnknownFormatError(name)
            sizes, strides = ([x["as_int"] for x in about[key]] for key in ("sizes", "strides"))
            data = bytearray(archive.read(f"{place}/{written['path_name']}"))
            stored = torch.frombuffer(data, dtype=_DTYPES[about["dtype"]])
            offset = about["storage_offset"]["as_int"]
            weights[name] = stored.as_strided(sizes, strides, offset).to(device)
    return weights
