#!/bin/sh
# Shahar @VERSION@ for Debian and Ubuntu (@MACHINE@, Python @PYTHONS@). Installs without internet.
#
#   sudo sh FILE               install it, or bring what is there up to this version
#   sh FILE --help             every option
#   sh FILE --check            is the file whole?
#   sh FILE --extract FOLDER   take it apart, to look into it
#
# Behind these lines stands a tar. Nothing of it is used unless its SHA-256 is this:
sum=@SUM@
set -eu
payload() { tail -n +@SKIP@ "$0"; }
if [ "$(payload | sha256sum | cut -d ' ' -f 1)" != "$sum" ]; then
    echo "$0 is not whole: its SHA-256 is another. Copy it again." >&2
    exit 1
fi
case "${1:-}" in
--check)
    echo "$0 is whole: Shahar @VERSION@ ($sum)"
    exit 0
    ;;
--extract)
    [ -n "${2:-}" ] || { echo "--extract wants a folder" >&2; exit 2; }
    mkdir -p "$2"
    payload | tar xf - -C "$2"
    exit 0
    ;;
esac
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT TERM
payload | tar xf - -C "$folder"
sh "$folder/install.sh" "$@"
exit
