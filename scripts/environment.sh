# Sourced by the scripts here: makes a virtual environment in build/ and sets `python` to its interpreter.
# Usage: environment NAME. Python: $PYTHON, or python3, 3.10 or newer.

environment() {
  base=${PYTHON:-python3}
  if ! "$base" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
    echo "error: '$base' is not Python 3.10 or newer; set PYTHON to one that is" >&2
    exit 1
  fi
  folder=build/venv-$1
  python=$PWD/$folder/bin/python
  # A folder left by another Python, or by a broken run, is made anew.
  if ! "$python" -m pip --version >/dev/null 2>&1 ||
    [ "$("$python" -c 'import sys; print(sys.version)')" != "$("$base" -c 'import sys; print(sys.version)')" ]; then
    rm -rf "$folder"
    if ! "$base" -m venv "$folder" 2>/dev/null; then
      # Some systems ship Python without the module that puts pip into an environment.
      rm -rf "$folder"
      "$base" -m virtualenv --quiet "$folder" || {
        echo "error: '$base' can make no virtual environment: install python3-venv, or virtualenv" >&2
        exit 1
      }
    fi
  fi
  PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore
  export PIP_DISABLE_PIP_VERSION_CHECK PIP_NO_INPUT PIP_ROOT_USER_ACTION
  # Dependency groups need pip 25.1; what comes with Python may be older.
  "$python" -m pip install --quiet --upgrade "pip>=25.1"
}

# What the brain example reads: a trained network and a head. Their own dependencies (TensorFlow among them) are not needed.
example_data() {
  "$python" -m pip install --quiet --no-deps deepbrain==0.1 pydeface==2.1.0
}
