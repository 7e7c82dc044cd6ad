#!/usr/bin/env bash
# What GPAW builds on, then GPAW itself: install_gpaw.sh <python> <pip arguments...>
set -euo pipefail
python=$1
shift
if "$python" -c 'import gpaw' 2>/dev/null; then
  exit 0
fi
if ! echo '#include <xc.h>' | "${CXX:-g++}" -E -x c++ - >/dev/null 2>&1; then
  if ! command -v apt-get >/dev/null; then
    echo "GPAW builds on g++, libxc and OpenBLAS: install them with your package manager" >&2
    exit 1
  fi
  sudo=$([ "$(id -u)" = 0 ] || echo sudo)
  $sudo apt-get update -qq
  DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq g++ libxc-dev libopenblas-dev
fi
CC=${CXX:-g++} GPAW_CONFIG="$(dirname "$0")/gpaw_siteconfig.py" "$python" -m pip install "$@" '.[gpaw]'
