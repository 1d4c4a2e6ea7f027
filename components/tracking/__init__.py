"""MLflow runs: params, tags, metrics, and their delivery to a server that may be down."""
