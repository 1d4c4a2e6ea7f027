#!/usr/bin/env bash
# Runs infra/entrypoint.sh as a job of the Ray cluster at RAY_API_SERVER_ADDRESS and waits for it.
# The job's own environment is the head's: secrets do not travel with the job, whose description
# anybody with access to the dashboard can read.
set -euo pipefail

exec ray job submit --address "${RAY_API_SERVER_ADDRESS:?where the cluster takes jobs}" \
    --log-style record --log-color false -- "${HEMLINE_ENTRYPOINT:-/opt/hemline/infra/entrypoint.sh}" "$@"
