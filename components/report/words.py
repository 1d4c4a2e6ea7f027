"""Params as people say them: the network and the recipe of a model in a sentence each."""

import re
from collections.abc import Mapping
from typing import Any

from components.params import parse_value

_NETWORKS = {
    "ag_man": "AG-MAN",
    "ag_mlan": "AG-MLAN",
    "ahbn": "AHBN",
    "asen": "ASEN",
    "asen_v2": "ASEN, second version",
    "attn_fashion": "AttnFashion",
    "csn": "CSN",
    "fashionsearchnet_v2": "FashionSearchNet-v2",
    "triplet_network": "triplet network",
}
_BACKBONES = {
    "alexnet": "AlexNet",
    "resnet18": "ResNet-18",
    "resnet34": "ResNet-34",
    "resnet50": "ResNet-50",
    "resnet101": "ResNet-101",
    "resnext50_32x4d": "ResNeXt-50 (32x4d)",
    "convnext_tiny": "ConvNeXt-Tiny",
    "efficientnet_v2_s": "EfficientNetV2-S",
    "tiny": "tiny network for tests",
}
_TIMM = "timm:"
_PARTS = {
    "hierarchical": "features of the second stage",
    "classification": "the classification branch",
    "asa": "attribute-guided spatial attention",
    "sa": "spatial attention",
    "aca": "attribute-guided channel attention",
    "ca": "channel attention",
    "masks": "masks",
    "localisation": "boxes of each attribute",
    "feature_fusion": "the whole map beside each box",
    "memory": "memory of values",
    "spatial_kernel_size": "a spatial kernel of side",
    "branches": "branches",
    "attribute_supervision": "supervision by attributes",
    "landmark_supervision": "supervision by landmarks",
    "fusion": "fusion of the branches",
    "co_attention": "co-attention",
    "grid_size": "branches fused on a grid of side",
    "landmark_maps": "of the landmark branch",
    "num_hourglasses": "stacked hourglasses:",
}
_OBJECTIVES = {
    "triplet": "triplet loss",
    "soft_triplet": "soft triplet loss",
    "batch_triplet": "triplet loss over whole batches",
    "supcon": "supervised contrastive loss",
    "multi_similarity": "multi-similarity loss",
    "classification": "classification loss",
}
_SAMPLES = {"triplets": "on triplets", "batches": "on balanced batches"}
_WITHOUT_SPATIAL_ATTENTION = ("ahbn", "csn", "triplet_network")
_OPTIMIZERS = {"adam": "Adam", "adamw": "AdamW"}
_SCHEDULES = {"one_cycle": "one cycle", "cosine": "cosine", "step": "steps"}
_SPLITS = {
    "random": "drawn at random",
    "published": "as published",
    "column": "as a column of the labels says",
}


def network_name(name: str) -> str:
    """Returns a network's name as its paper has it."""
    return _NETWORKS.get(name, name)


def network_in_words(model: Mapping[str, Any], *, num_parameters: int) -> str:
    """Returns the network that section `model` describes; parts as in its paper are left out."""
    known = {name: value for name, value in model.items() if value is not None}
    words = [network_name(known["name"])]
    if "backbone" in known:
        words[0] += f" on {_backbone(str(known['backbone']))}"
    if "weights" in known:
        is_timms = str(known.get("backbone")).startswith(_TIMM)
        words[0] += f", {_weights(str(known['weights']), is_timms=is_timms)}"
    if "embedding_dim" in known:
        words.append(f"embeddings of {known['embedding_dim']} numbers")
    if "attention_dim" in known and known["name"] not in _WITHOUT_SPATIAL_ATTENTION:
        words.append(f"spatial attention of width {known['attention_dim']}")
    if known.get("normalise_features"):
        words.append("features normalised before the attentions")
    words += [_part(name, known[name]) for name in _PARTS if name in known]
    words.append(f"{num_parameters / 1e6:.2f} M parameters")
    return "; ".join(words)


def recipe_in_words(params: Mapping[str, str], *, image_size_px: int) -> str:
    """Returns how a model was trained, by the params of its run, which may lack some."""
    objective = params.get("train.objective")
    words = [] if objective is None else [_OBJECTIVES.get(objective, objective)]
    if words and "sampling.method" in params:
        words[0] += f" {_SAMPLES.get(params['sampling.method'], '')}"
    if asked := parse_value(params.get("sampling.attributes", "[]")):
        words.append(f"trained for {', '.join(asked)}")
    if "sampling.num_epochs" in params:
        words.append(f"{params['sampling.num_epochs']} epochs")
    if "train.optimizer" in params:
        optimizer = params["train.optimizer"]
        words.append(_OPTIMIZERS.get(optimizer, optimizer))
        if "train.learning_rate" in params:
            words[-1] += f" at a learning rate of {params['train.learning_rate']}"
        if "train.schedule" in params:
            schedule = params["train.schedule"]
            words[-1] += f" (schedule: {_SCHEDULES.get(schedule, schedule)})"
    if "train.seed" in params:
        words.append(f"seed {params['train.seed']}")
    words.append(f"pictures of {image_size_px} px")
    return "; ".join(words)


def split_in_words(params: Mapping[str, str]) -> str:
    """Returns how images were assigned to splits, and who asks; empty where it is not known."""
    words = _SPLITS.get(params.get("split.method", ""), "")
    if params.get("split.roles") == "leave_one_out":
        words += ", where held-out images to which the data give no role ask all others"
    return words


def _backbone(name: str) -> str:
    if name.startswith(_TIMM):
        return f"timm's {name.removeprefix(_TIMM)}"
    return f"a {_BACKBONES.get(name, name)}"


def _weights(weights: str, *, is_timms: bool) -> str:
    if weights == "none":
        return "trained from random weights"
    if is_timms and re.fullmatch(r"\w+", weights):
        return f"trained from timm's weights ({weights})"
    if weights.startswith("IMAGENET"):
        return f"trained from ImageNet's weights ({weights})"
    return f"trained from the weights in {weights}"


def _part(name: str, value: Any) -> str:
    part = _PARTS[name]
    if value is True:
        return f"with {part}"
    if value is False or value == "none":
        return f"without {part}"
    if isinstance(value, int):
        return f"{part} {value}"
    return f"{part}: {str(value).replace('_', ' ')}"
