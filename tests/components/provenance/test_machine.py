"""What a run is computed with, and how that differs from what was pinned."""

from importlib.metadata import version

from components.provenance.machine import describe_machine, differences, installed_libraries


def test_installed_libraries_have_normalised_names_and_their_versions() -> None:
    found = installed_libraries()
    assert found["torch"] == version("torch")
    assert found["ruamel-yaml"] == version("ruamel.yaml")
    assert list(found) == sorted(found)


def test_differences_are_those_of_what_is_installed() -> None:
    constraints = "# pins\nNumPy==2.0\ntorch==2.15.0  # of CPU or GPU\nscipy>=1.15\nabsent==1.0\n\n"
    installed = {"numpy": "2.1", "torch": "2.15.0+cpu", "scipy": "1.16", "free": "3"}
    assert differences(constraints, installed) == {"numpy": ("==2.0", "2.1")}
    assert differences(constraints, {**installed, "scipy": "1.14"})["scipy"] == (">=1.15", "1.14")


def test_a_machine_is_described() -> None:
    found = describe_machine()
    assert found["system"]
    assert found["num_cpus"] >= 1
    assert found["memory_gib"] > 0
    assert isinstance(found["gpus"], list)
