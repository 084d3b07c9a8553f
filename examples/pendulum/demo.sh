#!/bin/sh
# The example, from end to end: one bound proved, the same bound refuted, and what each bit width is worth.
# Needs `qsmt` on the path; `make demo` sees to that.
set -eu
cd "$(dirname "$0")"

echo '$ qsmt check pendulum-q8.toml'
qsmt check pendulum-q8.toml

echo
echo '$ qsmt check pendulum-q4.toml'
status=0
qsmt check pendulum-q4.toml || status=$?
if [ "$status" -ne 1 ]; then
  echo "demo: the bound should have been refuted at 4 bits (exit code 1), not $status" >&2
  exit 1
fi

echo
echo 'The smallest bound that qsmt proves, per width of weights and activations:'
python table.py
