#!/usr/bin/env bash
# Submits a retrain every day at RETRAIN_AT (HH:MM, in the time zone TZ) and waits for it, so that
# two never overlap; what failed is in the log, and the next night is another try.
set -euo pipefail

at=${RETRAIN_AT:?HH:MM}
submit=$(dirname "$(readlink -f "$0")")/../submit.sh
while true; do
    next=$(date --date="today $at" +%s)
    if ((next <= $(date +%s))); then
        next=$(date --date="tomorrow $at" +%s)
    fi
    echo "next retrain: $(date --date="@$next" --iso-8601=minutes)"
    sleep $((next - $(date +%s)))
    "$submit" || echo "the retrain failed" >&2
done
