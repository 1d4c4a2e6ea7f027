"""The sections of `params.yaml` as frozen dataclasses; every check on a value lives here.

Defaults are the demo's values, and params.yaml names each of them: they are for files that were
written before a key was added. A new key's default must therefore do what was done before it.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic.dataclasses import dataclass

from components.credentials import without_credentials
from components.errors import HemlineError
from components.networks import BACKBONES, NETWORK_PARTS, NetworkName, Parts, resolve_parts

Share = Annotated[float, Field(ge=0, le=1)]
PositiveShare = Annotated[float, Field(gt=0, le=1)]
OpenShare = Annotated[float, Field(gt=0, lt=1)]
PositiveInt = Annotated[int, Field(gt=0)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Precision = Literal["auto", "bf16", "fp32"]
Runtime = Literal["torch", "openvino"]
Storage = Literal["float16", "float32"]  # names that NumPy, PyTorch and Arrow know
Seed = Annotated[int, Field(ge=0, lt=2**32)]
ExperimentName = Annotated[str, Field(min_length=1, max_length=500)]  # MLflow's limit

# how a path begins that DVC, for which data.root is a dependency, does not take for a file
_URL = re.compile(
    r"[a-z][a-z0-9+.-]*://|(azure|dvc|gdrive|git|gs|hdfs|https?|memory|oss|remote|s3|ssh|webdavs?|webhdfs):",
    re.I,
)

_TIMM_BACKBONE = re.compile(r"timm:(?P<name>\w+)(\.(?P<tag>\w+))?")
_STRICT = ConfigDict(extra="forbid", strict=True)
# what MLflow takes as a model's name, git in a tag, and every file system as a folder
_MODEL_NAME = re.compile(r"(?!.*\.\.)(?!.*\.lock$)[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9_-])?")
_LONGEST_MODEL_NAME = 100


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class DataParams:
    """Section `data`: which data set is read, and how much of it may be unusable."""

    format: Literal[
        "fashionai",
        "deepfashion",
        "deepfashion_fine",
        "darn",
        "zappos50k",
        "shopping100k",
        "imaterialist",
        "celeba",
        "deepfashion_inshop",
        "deepfashion_consumer_to_shop",
        "street2shop",
        "published",
        "table",
    ] = "fashionai"
    root: str = "data/raw/wardrobe"
    dataset: str | None = None
    exclude_attributes: list[str] = field(default_factory=list)
    shop_gallery: Literal["test", "valid_and_test"] = "valid_and_test"
    max_quarantined_share: Share = 0.01

    @model_validator(mode="after")
    def _root_is_a_folder_to_dvc(self) -> "DataParams":
        if _URL.match(self.root):
            raise ValueError(
                f"root is a folder of this machine, and DVC takes {self.root!r} for a URL. A "
                f"folder of that name is './{self.root}'; `dvc import-url` fetches data from a URL"
            )
        if self.root.endswith((".dvc", ".dvc/")):
            raise ValueError(f"root is the folder that DVC keeps, not its file (got {self.root!r})")
        if not self.root or set(Path(self.root).parts) <= {".."}:
            raise ValueError(
                f"root is a folder that does not hold the project itself, as {self.root!r} does"
            )
        return self


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class PreprocessParams:
    """Section `preprocess`: the image store."""

    image_size_px: Annotated[int, Field(ge=32, multiple_of=16)] = 96
    crop: Literal["centre", "box"] = "centre"
    images_per_shard: PositiveInt = 1024
    num_workers: Annotated[int, Field(ge=0)] = 2


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class SplitParams:
    """Section `split`: who decides, the shares, and which images stay together."""

    method: Literal["random", "published", "column"] = "random"
    roles: Literal["held_out", "leave_one_out"] = "held_out"
    near_duplicates: Literal["together", "report", "ignore"] = "report"
    near_duplicate_distance: Annotated[int, Field(ge=0, le=8)] = 2
    seed: Seed = 7
    train_share: OpenShare = 0.8
    valid_share: OpenShare = 0.1
    test_share: OpenShare = 0.1
    query_share: OpenShare = 0.2

    @model_validator(mode="after")
    def _shares_add_up(self) -> "SplitParams":
        total = self.train_share + self.valid_share + self.test_share
        if not math.isclose(total, 1):
            raise ValueError(f"train_share + valid_share + test_share must be 1, got {total:g}")
        return self

    @property
    def searched_distance(self) -> int | None:
        """The distance up to which images are near-duplicates; None where they are ignored."""
        return None if self.near_duplicates == "ignore" else self.near_duplicate_distance


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class SamplingParams:
    """Section `sampling`: what training sees in which order, planned ahead for every epoch."""

    method: Literal["triplets", "batches"] = "batches"
    triplets: Literal["drawn", "published"] = "drawn"
    attributes: list[str] = field(default_factory=list)
    seed: Seed = 11
    num_epochs: Annotated[int, Field(gt=0, lt=2**15)] = 7
    triplets_per_epoch: PositiveInt = 4000
    evaluation_triplets: PositiveInt = 4000
    batches_per_epoch: PositiveInt = 40
    attributes_per_batch: PositiveInt = 4
    values_per_attribute: Annotated[int, Field(ge=2)] = 4
    images_per_value: Annotated[int, Field(ge=2)] = 6

    @field_validator("attributes")
    @classmethod
    def _names_each_once(cls, attributes: list[str]) -> list[str]:
        if len(set(attributes)) < len(attributes):
            raise ValueError("names an attribute twice: once is enough")
        return attributes


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class ModelParams:
    """Section `model`: the network."""

    name: NetworkName = "ag_man"
    backbone: str = "resnet18"
    weights: str = "none"
    pixel_mean: Annotated[list[Share], Field(min_length=3, max_length=3)] | None = None
    pixel_std: Annotated[list[PositiveShare], Field(min_length=3, max_length=3)] | None = None
    embedding_dim: PositiveInt = 256
    attention_dim: PositiveInt = 128
    normalise_features: bool = True
    bilinear_dim: PositiveInt = 8192
    landmark_channels: PositiveInt = 256
    hierarchical: bool | None = None
    classification: bool | None = None
    asa: bool | None = None
    sa: bool | None = None
    spatial_kernel_size: int | None = None
    aca: str | None = None
    ca: bool | None = None
    masks: str | None = None
    localisation: bool | None = None
    feature_fusion: bool | None = None
    memory: str | None = None
    branches: str | None = None
    attribute_supervision: bool | None = None
    landmark_supervision: bool | None = None
    fusion: str | None = None
    co_attention: str | None = None
    grid_size: int | None = None
    landmark_maps: str | None = None
    num_hourglasses: int | None = None

    @field_validator("backbone")
    @classmethod
    def _is_known_or_timms(cls, name: str) -> str:
        of_timm = _TIMM_BACKBONE.fullmatch(name)
        if not of_timm and name not in BACKBONES:
            raise ValueError(f"is one of {', '.join(BACKBONES)}, or timm:NAME")
        if of_timm and of_timm["tag"]:
            raise ValueError(
                f"names a network alone, and model.weights its weights: backbone "
                f"timm:{of_timm['name']}, weights {of_timm['tag']}"
            )
        return name

    @model_validator(mode="after")
    def _parts_make_a_network(self) -> "ModelParams":
        parts = resolve_parts(self.name, self.parts)
        if parts.get("hierarchical") and self.backbone == "alexnet":
            raise ValueError(
                f"hierarchical {self.name} adds maps of two stages, the second of half the first's "
                "size, which alexnet's are not: hierarchical false, or another backbone"
            )
        return self

    @property
    def parts(self) -> Parts:
        """The choice for every part that can be switched; None where none was made."""
        return {part: getattr(self, part) for parts in NETWORK_PARTS.values() for part in parts}

    @property
    def classifies(self) -> bool:
        """Whether the network has a branch that names the attribute."""
        return bool(resolve_parts(self.name, self.parts).get("classification"))

    @property
    def has_stages(self) -> bool:
        """Whether the network has a task that it can learn before it learns to embed."""
        return self.name == "fashionsearchnet_v2" or self.is_supervised

    @property
    def is_supervised(self) -> bool:
        """Whether it is `ahbn` with a branch that names values or finds landmarks."""
        parts = resolve_parts(self.name, self.parts)
        return any(
            parts.get("branches") in ("both", branch) and parts[f"{branch}_supervision"]
            for branch in ("attribute", "landmark")
        )


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class TrainParams:
    """Section `train`: objective, optimiser, and the processes that train."""

    parent: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    seed: Seed = 3
    objective: Literal[
        "triplet", "soft_triplet", "batch_triplet", "supcon", "multi_similarity", "classification"
    ] = "multi_similarity"
    margin: Annotated[float, Field(ge=0, le=2)] = 0.1
    temperature: PositiveFloat = 0.1
    positive_scale: PositiveFloat = 5.0
    negative_scale: PositiveFloat = 20.0
    similarity_threshold: Annotated[float, Field(ge=-1, le=1)] = 0.5
    loss_weighting: Literal["fixed", "uncertainty"] = "fixed"
    ranking_weight: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.5
    attribute_weight: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    landmark_weight: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    sampled_classes: PositiveInt | None = None
    classification_epochs: Annotated[int, Field(ge=0)] = 0
    global_ranking_epochs: Annotated[int, Field(ge=0)] = 0
    triplets_per_batch: PositiveInt = 32
    optimizer: Literal["adam", "adamw"] = "adam"
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    learning_rate: PositiveFloat = 0.002
    backbone_rate: PositiveFloat = 1.0
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    decay_norms_and_biases: bool = True
    frozen_epochs: Annotated[int, Field(ge=0)] = 0
    frozen_norms: bool = False
    max_gradient_norm: PositiveFloat | None = None
    ema_decay: OpenShare | None = None
    schedule: Literal["one_cycle", "cosine", "step"] = "one_cycle"
    warmup_share: Annotated[float, Field(ge=0, lt=1)] = 0.15
    step_epochs: PositiveInt = 3
    step_factor: Annotated[float, Field(gt=0, le=1)] = 0.9
    early_stopping_epochs: PositiveInt | None = None
    flip_probability: Share = 0.5
    crop_min_area: Annotated[float, Field(gt=0, le=1)] = 1.0
    colour_jitter: Share = 0.0
    erase_probability: Share = 0.0
    precision: Precision = "auto"
    compile: bool = False
    sync_batchnorm: bool = False
    log_every_steps: PositiveInt = 10
    images_at_once: PositiveInt | None = None
    store_residency: Literal["mapped", "device"] = "mapped"
    num_workers: Annotated[int, Field(ge=0)] | Annotated[list[PositiveInt], Field(min_length=1)] = 2
    cpus_per_worker: PositiveInt = 1
    use_gpu: bool = False
    max_failures: Annotated[int, Field(ge=0)] = 2

    @model_validator(mode="after")
    def _workers_are_a_range(self) -> "TrainParams":
        least, most = self.workers
        if isinstance(self.num_workers, list) and (len(self.num_workers) != 2 or least >= most):
            raise ValueError(
                f"num_workers is a number, or the fewest and the most: [1, 4] (got "
                f"{self.num_workers})"
            )
        return self

    @property
    def asks_triplets(self) -> bool:
        """Whether it is planned triplets that are ranked, and not whole batches."""
        return self.objective in ("triplet", "soft_triplet")

    @property
    def workers(self) -> tuple[int, int]:
        """The fewest and the most workers that train; 0 for this process alone."""
        if isinstance(self.num_workers, int):
            return self.num_workers, self.num_workers
        return self.num_workers[0], self.num_workers[-1]


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class CheckpointParams:
    """Section `checkpoint`: how often training saves itself; it does not change what is trained."""

    every_steps: PositiveInt = 200
    num_to_keep: PositiveInt = 2


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class TrackingParams:
    """Section `tracking`: where on the MLflow server runs are kept."""

    experiment: ExperimentName = "hemline"


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class RegistryParams:
    """Section `registry`: the model whose versions this project makes."""

    model: str = "hemline"

    @field_validator("model")
    @classmethod
    def _is_a_name_everywhere(cls, name: str) -> str:
        if len(name) > _LONGEST_MODEL_NAME or not _MODEL_NAME.fullmatch(name):
            raise ValueError(
                "is a name in MLflow's registry, in git tags and of folders: letters and digits of "
                "ASCII, with . _ - between them (no .. in it, no .lock at its end), up to "
                f"{_LONGEST_MODEL_NAME} characters"
            )
        return name


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class EmbedParams:
    """Section `embed`: batch embedding with a registered model."""

    num_workers: Annotated[int, Field(ge=0)] = 2
    cpus_per_worker: PositiveInt = 1
    gpus_per_worker: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0
    batch_size_per_worker: PositiveInt = 64
    num_readers: PositiveInt = 2
    runtime: Runtime = "torch"
    precision: Precision | Literal["int8"] = "auto"
    storage: Storage = "float16"
    images_per_part: PositiveInt = 16384

    @model_validator(mode="after")
    def _runtime_is_able(self) -> "EmbedParams":
        if self.precision == "int8" and self.runtime != "openvino":
            raise ValueError(
                "precision int8 takes runtime openvino: torch does not calculate in it"
            )
        if self.runtime == "openvino" and self.gpus_per_worker:
            raise ValueError("runtime openvino is for CPUs: gpus_per_worker 0, or runtime torch")
        return self


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class GateParams:
    """Section `gate`: what a version must show to become champion; MAP in percent points."""

    min_map_change: Annotated[float, Field(ge=-100, le=100)] = 0.0
    confidence: OpenShare = 0.95
    max_attribute_drop: Annotated[float, Field(ge=0, le=100)] = 5.0
    norm_tolerance: PositiveFloat = 0.01
    max_mean_similarity: Annotated[float, Field(gt=-1, le=1)] = 0.9
    min_above_random: Annotated[float, Field(ge=-100, le=100)] = 0.0
    max_quantisation_drop: Annotated[float, Field(ge=0, le=100)] = 0.3


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class RetrainParams:
    """Section `retrain`: how what is new is learned, what a person has to see first, and pushes."""

    strategy: Literal["full", "grow", "auto"] = "full"
    max_label_shift: Share = 0.1
    max_quarantined_share: Share = 0.05
    push: bool = True
    git_push: bool = True


class _Loader(yaml.SafeLoader):
    """Reads 1e-05, which `dvc exp run -S` writes, as a number: PyYAML wants a dot in it."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+[eE][-+]?\d+$"), list("-+0123456789")
)

_SECTIONS: dict[str, type] = {
    "data": DataParams,
    "preprocess": PreprocessParams,
    "split": SplitParams,
    "sampling": SamplingParams,
    "model": ModelParams,
    "train": TrainParams,
    "checkpoint": CheckpointParams,
    "tracking": TrackingParams,
    "registry": RegistryParams,
    "embed": EmbedParams,
    "gate": GateParams,
    "retrain": RetrainParams,
}

Section = TypeVar("Section")


def load_section(path: Path, section: type[Section]) -> Section:
    """Returns one section of the params file, checked.

    The whole file is checked, so that a misspelt key fails the first stage and not the one that
    would have used it an hour later.

    Raises:
        HemlineError: the file is missing, a key is unknown, a value has the wrong type or is not
            allowed, or two values contradict each other.
    """
    checked = check(_read_yaml(path), source=str(path))
    return next(value for value in checked.values() if isinstance(value, section))


def resolved(path: Path) -> dict[str, dict[str, Any]]:
    """Returns all sections of a params file as plain values, checked as `load_section` does.

    Keys that the file lacks have their defaults.
    """
    raw = _read_yaml(path)
    check(raw, source=str(path))
    return with_defaults(raw)


def missing_keys(path: Path) -> dict[str, Any]:
    """Returns the default of every key that a params file lacks, by `section.key`."""
    known, given = flat(resolved(path)), flat(_read_yaml(path))
    return {name: value for name, value in known.items() if name not in given}


def with_defaults(raw: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Returns all sections as plain values, in the shipped order, missing keys with defaults."""
    return {name: {**asdict(section()), **raw.get(name, {})} for name, section in _SECTIONS.items()}


def flat(sections: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Returns the values of sections by `section.key`."""
    return {
        f"{name}.{key}": value for name, keys in sections.items() for key, value in keys.items()
    }


def parse_value(text: str) -> Any:
    """Returns a value as it would be read from the params file."""
    return yaml.load(text, Loader=_Loader)


def changed(
    sections: Mapping[str, Mapping[str, Any]], values: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Returns a copy of all sections with values, given by `section.key`, put in."""
    copy = {name: dict(keys) for name, keys in sections.items()}
    for name, value in values.items():
        section, _, key = name.partition(".")
        copy.setdefault(section, {})[key] = value
    return copy


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        raw = yaml.load(path.read_text(), Loader=_Loader)
    except FileNotFoundError as error:
        raise HemlineError(
            f"{path} is missing: run from the project's folder, or give --params"
        ) from error
    except yaml.YAMLError as error:
        raise HemlineError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(raw, dict):
        raise HemlineError(f"{path} must hold the sections {', '.join(_SECTIONS)}")
    return raw


def check(raw: Mapping[str, Any], *, source: str) -> dict[str, Any]:
    """Returns the checked dataclass of every section, given as plain values.

    `source` says in messages where the values come from.

    Raises:
        HemlineError: as `load_section`.
    """
    given = flat({name: keys for name, keys in raw.items() if isinstance(keys, dict)})
    secret = [
        name for name, value in given.items() if without_credentials(str(value)) != str(value)
    ]
    if secret:
        raise HemlineError(
            f"{source} holds credentials in {', '.join(secret)}: its values are committed, logged "
            "and shown. Leave them out of the URL, and give them to the store's client, such as in "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    problems = [f"{name}: unknown section" for name in raw if name not in _SECTIONS]
    checked = {}
    for name, section in _SECTIONS.items():
        keys = raw.get(name, {})
        if not isinstance(keys, dict):
            problems.append(f"{name}: must be a section of keys (got {keys!r})")
            continue
        try:
            checked[name] = section(**{str(key): value for key, value in keys.items()})
        except ValidationError as error:
            problems += [_describe(name, detail) for detail in error.errors()]
    if problems := problems or list(_contradictions(checked)):
        raise HemlineError("\n".join([f"{source} cannot be used:", *(f"  {p}" for p in problems)]))
    return checked


def _describe(section: str, detail: Any) -> str:
    key = ".".join([section, *(str(part) for part in detail["loc"])])
    if detail["type"] == "unexpected_keyword_argument":
        allowed = ", ".join(field.name for field in fields(_SECTIONS[section]))
        return f"{key}: unknown key; {section} has {allowed}"
    message = detail["msg"].removeprefix("Value error, ")
    shown = f" (got {detail['input']!r})" if detail["loc"] else ""  # the whole section otherwise
    return f"{key}: {message}{shown}"


def _contradictions(checked: dict[str, Any]) -> Iterator[str]:
    """Yields what two values together contradict."""
    data, split, sampling = checked["data"], checked["split"], checked["sampling"]
    model, train = checked["model"], checked["train"]
    wanted = "triplets" if train.asks_triplets else "batches"
    if sampling.method != wanted:
        yield (
            f"train.objective {train.objective} needs sampling.method {wanted}, "
            f"not {sampling.method}"
        )
    if train.loss_weighting == "uncertainty" and not (model.classifies or model.has_stages):
        yield (
            f"train.loss_weighting uncertainty weighs two losses; this {model.name} has no "
            "classification branch and so one loss: fixed"
        )
    yield from _contradictions_of_stages(model, train, sampling)
    yield from _contradictions_of_freezing(model, train, sampling)
    if train.schedule == "one_cycle" and train.warmup_share == 0:
        yield (
            "train.schedule one_cycle begins with a warm-up: train.warmup_share above 0, or "
            "schedule cosine"
        )
    if train.sync_batchnorm and not train.use_gpu:
        yield "train.sync_batchnorm needs train.use_gpu: torch synchronises on GPUs only"
    if data.format == "published" and data.dataset is None:
        yield "data.format published needs data.dataset, such as FashionAI, DARN or DeepFashion"
    if data.format != "published" and data.dataset is not None:
        yield f"data.dataset is for data.format published only, not {data.format}: make it null"
    if split.method == "column" and data.format != "table":
        yield f"split.method column needs data.format table, not {data.format}"
    if split.method == "published" and data.format in ("table", "fashionai"):
        others = "random or column" if data.format == "table" else "random"
        yield f"data.format {data.format} publishes no split: split.method {others}"
    if split.near_duplicates == "together" and split.method != "random":
        yield (
            "split.near_duplicates together needs split.method random: with "
            f"{split.method} nothing is moved between splits; report lists them"
        )
    if sampling.triplets == "published" and data.format != "zappos50k":
        yield f"data.format {data.format} publishes no triplets: sampling.triplets drawn"


def _contradictions_of_stages(
    model: ModelParams, train: TrainParams, sampling: SamplingParams
) -> Iterator[str]:
    """Yields what makes no sense of training in stages."""
    if train.loss_weighting == "uncertainty" and model.has_stages:
        weight = "landmark_weight" if model.is_supervised else "ranking_weight"
        yield (
            f"train.loss_weighting uncertainty is not for {model.name}, whose losses "
            f"train.{weight} weighs: fixed"
        )
    if train.classification_epochs and not model.has_stages:
        yield (
            "train.classification_epochs is a stage of fashionsearchnet_v2, and of ahbn with "
            f"supervision, which this {model.name} has not: 0"
        )
    if train.global_ranking_epochs and model.name != "fashionsearchnet_v2":
        yield (
            "train.global_ranking_epochs is a stage of fashionsearchnet_v2, which "
            f"{model.name} has not: 0"
        )
    if train.sampled_classes is not None and train.objective != "classification":
        yield (
            f"train.sampled_classes is for train.objective classification, not {train.objective}: "
            "null"
        )
    if train.classification_epochs >= sampling.num_epochs:
        yield (
            f"train.classification_epochs {train.classification_epochs} leave none of "
            f"sampling.num_epochs {sampling.num_epochs} to train embeddings: fewer, or more epochs"
        )
    if train.classification_epochs and train.early_stopping_epochs is not None:
        yield (
            "train.early_stopping_epochs would count epochs of train.classification_epochs, in "
            "which embeddings do not learn: null"
        )


def _contradictions_of_freezing(
    model: ModelParams, train: TrainParams, sampling: SamplingParams
) -> Iterator[str]:
    """Yields what makes no sense of a backbone that stays as it was loaded."""
    if train.frozen_epochs > sampling.num_epochs:
        yield (
            f"train.frozen_epochs {train.frozen_epochs} are more than sampling.num_epochs "
            f"{sampling.num_epochs}: as many to leave the backbone as it was loaded, fewer to let "
            "it learn"
        )
    for key, off in (("frozen_epochs", "0"), ("frozen_norms", "false")):
        if getattr(train, key) and model.weights == "none":
            yield (
                f"train.{key} leaves the backbone as it was loaded, and model.weights none loads "
                f"nothing: {off}, or weights"
            )
