#!/bin/sh
# The command `shahar` on this machine: as the user that owns the city, with its settings.
export SHAHAR_CONFIG="${SHAHAR_CONFIG:-@CONFIG@}"
if [ "$(id -un)" = "@USER@" ]; then
    exec "@HOME@/current/bin/shahar" "$@"
fi
if [ "$(id -u)" != 0 ]; then
    echo "shahar: the city belongs to the user @USER@: sudo shahar $*" >&2
    exit 1
fi
exec setpriv --reuid="@USER@" --regid="@GROUP@" --init-groups env HOME="@DATA@" "@HOME@/current/bin/shahar" "$@"
