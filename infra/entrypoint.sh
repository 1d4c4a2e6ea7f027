#!/usr/bin/env bash
# What every schedule in this folder runs: the newest commit of the project, then `hemline retrain`.
#
#   HEMLINE_WORKSPACE      folder of the project's clone, the same on all Ray nodes
#   HEMLINE_GIT_URL        cloned from there when the folder is empty; without it: used as it is
#   HEMLINE_SUCCESS_CODES  exit codes that become 0, for what knows success and failure only:
#                          "0 10 11" makes a rejected model and nothing new a success
#
# Arguments go to `hemline retrain`, whose exit codes are in docs/operations.md.
set -euo pipefail

fail() {
    echo "hemline: $*" >&2
    exit 1
}

workspace=${HEMLINE_WORKSPACE:?the folder of the clone of the project}
code=$(cd "$(dirname "$0")/.." && pwd)

# a token from the environment, never in a URL, which git would write into .git/config
export GIT_ASKPASS="$code/infra/askpass.sh" GIT_TERMINAL_PROMPT=0
# who commits `dvc.lock`, where git has no identity
export GIT_AUTHOR_NAME="${GIT_AUTHOR_NAME:-hemline retrain}"
export GIT_AUTHOR_EMAIL="${GIT_AUTHOR_EMAIL:-hemline@localhost}"
export GIT_COMMITTER_NAME="${GIT_COMMITTER_NAME:-$GIT_AUTHOR_NAME}"
export GIT_COMMITTER_EMAIL="${GIT_COMMITTER_EMAIL:-$GIT_AUTHOR_EMAIL}"

if [[ ! -e $workspace/.git ]]; then
    git clone --quiet "${HEMLINE_GIT_URL:?$workspace is no clone, and there is no URL to clone}" "$workspace"
fi
cd "$workspace"
git rev-parse --git-dir > /dev/null ||
    fail "git does not read $workspace, for the reason above (another user's clone: trust it, as the image does)"
if [[ -n ${HEMLINE_GIT_URL:-} ]]; then
    # a killed retrain may have left a commit that is not pushed: it stays, and is resumed
    git pull --quiet --ff-only || fail "$workspace and $(git rev-parse --abbrev-ref '@{u}') have" \
        "diverged; docs/operations.md, \"The branch moved\""
fi

cmp -s "$code/constraints.txt" constraints.txt ||
    fail "the commit $(git rev-parse --short HEAD) pins other packages than are installed here" \
        "(image of ${HEMLINE_GIT_SHA:-an unknown commit}): build and roll out that commit's image"

export PYTHONPATH="$workspace" # the commit's code, not what the image was built with
status=0
hemline retrain "$@" || status=$?
if [[ " ${HEMLINE_SUCCESS_CODES:-0} " == *" $status "* ]]; then
    exit 0
fi
exit "$status"
