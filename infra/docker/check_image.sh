#!/usr/bin/env bash
# Builds the image without a container engine, on a base that debootstrap makes, and runs the whole
# line inside it, tiny, as the image's user. Needs root and 30 GB of disk while it runs; leaves
# nothing behind. Run by `make image-check`.
#
# BUILDAH_OPTIONS  more options of `buildah build`, such as -v /etc/pip.conf:/etc/pip.conf:ro
# DEBIAN_MIRROR    where debootstrap finds Debian
set -euo pipefail
cd "$(dirname "$0")/../.."

for tool in buildah debootstrap git; do
    command -v "$tool" >/dev/null ||
        { echo "$tool is not installed: apt-get install buildah debootstrap git" >&2; exit 1; }
done
[[ $EUID == 0 ]] || { echo "debootstrap and buildah's chroot need root: sudo make image-check" >&2; exit 1; }

work=$(mktemp -d "${TMPDIR:-/var/tmp}/hemline-image-XXXXXX")
export BUILDAH_ISOLATION=chroot
buildah=(buildah --storage-driver vfs --root "$work/storage" --runroot "$work/run")
clean_up() {
    "${buildah[@]}" rm --all >/dev/null 2>&1 || true
    rm -rf --one-file-system "$work"
}
trap clean_up EXIT

echo "[1/3] base: Debian bookworm with Python 3.11"
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
debootstrap --variant=minbase bookworm "$work/base" "$mirror" >"$work/log" 2>&1 ||
    { tail -20 "$work/log" "$work/base/debootstrap/debootstrap.log" >&2; exit 1; }
base=$("${buildah[@]}" from scratch)
"${buildah[@]}" copy --quiet "$base" "$work/base" / >/dev/null
"${buildah[@]}" run "$base" -- sh -euc '
    apt-get update
    apt-get install -y --no-install-recommends python3.11-venv ca-certificates
    ln -s python3.11 /usr/bin/python
' >"$work/log" 2>&1 || { tail -20 "$work/log" >&2; exit 1; }
"${buildah[@]}" commit --quiet --rm "$base" hemline-base >/dev/null
rm -rf "$work/base"

echo "[2/3] image"
start=$SECONDS
# shellcheck disable=SC2086 # several options
"${buildah[@]}" build --quiet ${BUILDAH_OPTIONS:-} --file infra/docker/Dockerfile --tag hemline-check \
    --build-arg PYTHON_IMAGE=localhost/hemline-base --build-arg GIT_SHA="$(git rev-parse HEAD)" .
size=$("${buildah[@]}" images --format '{{.Size}}' localhost/hemline-check)
echo "built in $((SECONDS - start)) s: $size"

echo "[3/3] a tiny line, as user 10001"
start=$SECONDS
git -c advice.detachedHead=false clone --quiet . "$work/clone"
container=$("${buildah[@]}" from localhost/hemline-check)
"${buildah[@]}" copy --quiet --chown 10001:10001 "$container" "$work/clone" /workspace/hemline >/dev/null
"${buildah[@]}" run --user 10001:10001 --workingdir /workspace/hemline "$container" -- bash -euc '
    test "$(id -u)" = 10001
    python -c "
import sys
from pathlib import Path
sys.path.insert(0, \"tests/pipelines\")
from project import TINY, Project
Project(Path.cwd()).set_params(TINY)"
    hemline wardrobe --out data/raw/wardrobe --images 400 --image-size 64 --seed 5
    dvc repro --quiet
    hemline promote || test $? -eq 10 # so little training may or may not be better than chance
    hemline search --id 0 --attribute neckline_design
'
echo "the line ran in $((SECONDS - start)) s"
