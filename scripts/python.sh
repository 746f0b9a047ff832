#!/bin/sh
# Prints the path of a Python of version 3.11 or later. Each candidate is run, not only found: a version manager's
# stand-in may exist and yet refuse.
for name in ${PYTHON:-} python3.11 python3.12 python3.13 python3.14 python3 python; do
    path=$(command -v "$name" 2>/dev/null) || continue
    "$path" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 || continue
    echo "$path"
    exit 0
done
echo "Shahar needs Python 3.11 or later and found none: install it (on Debian: apt-get install python3 python3-venv) and call make again." >&2
exit 1
