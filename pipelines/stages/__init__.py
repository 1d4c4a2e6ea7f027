"""One short file per stage of `dvc.yaml`: load, call, write, record."""
