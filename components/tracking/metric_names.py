"""Names of metrics on MLflow's pages, which group them by what stands before the last slash.

    train/ valid/    of training, by epoch         test/    of the evaluation
    step/            of training, by step          system/  of the machine, MLflow's own

`test/map` is over all attributes, `test/map/<attribute>` of one. Runs of hemline 0.1 have names
without slashes, such as `loss`, `valid_map` and `test.map.<attribute>`.
"""

from components.attributes import metric_part

_GROUPS = ("train/", "valid/", "step/", "test/", "system/")


def metric_name(name: str) -> str:
    """Returns the name of a metric on MLflow's pages, given as training or hemline 0.1 has it.

    A name that is one already is returned as it is.
    """
    if name.startswith(_GROUPS):
        return name
    if name.startswith("step."):
        return name.replace(".", "/", 1)
    if name.startswith("valid_"):
        return name.replace("_", "/", 1)
    if name.startswith("test."):
        group, score, *attribute = name.split(".", 2)
        return "/".join([group, score, *map(metric_part, attribute)])
    return f"train/{name}"
