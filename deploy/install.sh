#!/bin/sh
# Installs Shahar from the folder in which this file lies (a bundle that was taken apart), without internet.
#
# Each version has a folder and a Python environment of its own below /opt/shahar/versions; /opt/shahar/current points
# to the one in use and is changed at once, so that a version that does not start is left again. It runs as a user of its
# own, never as root. Data, settings and backups are never removed.
set -eu
umask 022

usage() {
    cat <<'END'
sudo sh FILE [options]      install Shahar, or bring what is there up to this version
  --no-start                install, but start nothing
  --no-backup               do not back up the data before an upgrade
  --python PATH             the Python to use (default: the newest that this bundle is for)
  --user NAME               whom it runs as (default: shahar, which is made)
  --prefix FOLDER           install everything below this folder, as anybody; no service is set up
  --uninstall               remove the program and the service; data, settings and backups stay
END
}

say() { printf '%s\n' "$*"; }
fail() {
    printf 'install: %s\n' "$*" >&2
    exit 1
}
wants() { [ $# -ge 2 ] || fail "$1 wants a value; --help tells"; }

act=install start=yes backup=yes prefix='' user='' python=''
while [ $# -gt 0 ]; do
    case $1 in
    --no-start) start=no ;;
    --no-backup) backup=no ;;
    --uninstall) act=uninstall ;;
    --python) wants "$@"; python=$2; shift ;;
    --user) wants "$@"; user=$2; shift ;;
    --prefix) wants "$@"; prefix=$2; shift ;;
    --help | -h) usage; exit 0 ;;
    *) fail "$1 is not understood; --help tells" ;;
    esac
    shift
done

# -- where everything is ----------------------------------------------------------------------------------------------

here=$(cd "$(dirname "$0")" && pwd)
me=$(id -u)
if [ -n "$prefix" ]; then
    mkdir -p "$prefix"
    prefix=$(cd "$prefix" && pwd)
    [ "$me" != 0 ] || [ -n "$user" ] || fail "as root, say with --user whom it runs as; it never runs as root"
    [ "$me" = 0 ] || user=$(id -un)
else
    [ "$me" = 0 ] || fail "this needs root (sudo sh FILE), or a folder of your own (--prefix FOLDER)"
    user=${user:-shahar}
fi
[ "$user" != root ] || fail "it does not run as root; name another --user"

home=$prefix/opt/shahar
conf=$prefix/etc/shahar
config=$conf/shahar.toml
backups=$prefix/var/backups/shahar
wrapper=$prefix/usr/local/bin/shahar
unit=$prefix/etc/systemd/system/shahar.service
data=$prefix/var/lib/shahar
if [ -f "$config" ]; then
    named=$(sed -n 's/^data *= *"\(.*\)".*/\1/p' "$config" | head -n 1)
    data=${named:-$data}
fi

# Is there a systemd that runs, and may we speak to it?
managed() { [ -z "$prefix" ] && [ -d /run/systemd/system ]; }

# Do something as the user it runs as.
as_user() {
    if [ "$me" = 0 ]; then
        setpriv --reuid="$user" --regid="$group" --init-groups env HOME="$data" SHAHAR_CONFIG="$config" "$@"
    else
        env SHAHAR_CONFIG="$config" "$@"
    fi
}

# -- away with it -----------------------------------------------------------------------------------------------------

if [ "$act" = uninstall ]; then
    if managed; then
        systemctl disable --now shahar 2>/dev/null || true
    fi
    rm -rf "$home" "$wrapper" "$unit"
    if managed; then
        systemctl daemon-reload
    fi
    say "Shahar is removed. What stays: $data (the city), $conf (settings), $backups, the user $user."
    exit 0
fi

# -- what is needed ---------------------------------------------------------------------------------------------------

# VERSION, BUILD, MACHINE, PYTHONS
. "$here/bundle.conf"
[ "$(uname -s)" = Linux ] || fail "this bundle is for Linux"
[ "$(uname -m)" = "$MACHINE" ] || fail "this bundle is for $MACHINE; this machine is $(uname -m)"

if ! id "$user" >/dev/null 2>&1; then
    [ -z "$prefix" ] || fail "there is no user $user"
    useradd --system --home-dir "$data" --no-create-home --shell /usr/sbin/nologin "$user"
    say "user $user made"
fi
group=$(id -gn "$user")

# Is it a Python of this bundle, and may the user run it (one below /root may not be)?
fits() {
    found=$(cd / && as_user "$1" -c 'import sys, venv; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || return 1
    case " $PYTHONS " in *" $found "*) return 0 ;; esac
    return 1
}
if [ -n "$python" ]; then
    fits "$python" || fail "$python is none of Python $PYTHONS, for which this bundle is, that $user may run"
else
    for number in $PYTHONS; do
        # the last that fits is the newest; the system's own goes before what somebody has put into the path
        for path in "$(command -v "python$number" 2>/dev/null)" "/usr/bin/python$number"; do
            if [ -n "$path" ] && fits "$path"; then python=$path; fi
        done
    done
    [ -n "$python" ] || fail "there is no Python of $PYTHONS here: install python3 from the system's own packages"
fi

# -- the program ------------------------------------------------------------------------------------------------------

made=$home/versions/$VERSION-$BUILD
if [ ! -f "$made/.whole" ]; then
    say "installing Shahar $VERSION with $("$python" --version) into $made"
    rm -rf "$made"
    mkdir -p "$home/versions"
    "$python" -m venv --without-pip "$made"
    # The bundle's own pip, run out of its wheel: the machine's may be old or missing.
    pip=$(echo "$here"/wheels/pip-*.whl)/pip
    quietly="--quiet --no-input --disable-pip-version-check --no-cache-dir --root-user-action=ignore --no-index"
    # shellcheck disable=SC2086
    PIP_CONFIG_FILE=/dev/null "$made/bin/python" "$pip" install $quietly --find-links "$here/wheels" \
        --only-binary :all: --require-hashes -r "$here/requirements.lock" ||
        fail "the parts could not be installed, see above; nothing that ran was changed"
    # shellcheck disable=SC2086
    PIP_CONFIG_FILE=/dev/null "$made/bin/python" "$pip" install $quietly --no-deps "$here"/shahar-*.whl ||
        fail "the program could not be installed, see above; nothing that ran was changed"
    "$made/bin/shahar" version >/dev/null || fail "the program does not run here; nothing that ran was changed"
    : >"$made/.whole"
else
    say "Shahar $VERSION is installed already in $made"
fi

# -- its folders and settings -----------------------------------------------------------------------------------------

own() {
    mkdir -p "$1"
    chmod "$2" "$1"
    if [ "$me" = 0 ]; then chown "$user:$group" "$1"; fi
}
new_city=no
[ -f "$data/shahar.db" ] || new_city=yes
own "$data" 750
own "$backups" 700
mkdir -p "$conf"
if [ ! -f "$config" ]; then
    cat >"$config" <<END
# Settings of Shahar, one NAME = VALUE a line; "shahar serve --help" tells every name. A restart takes changes up.
data = "$data"
host = "127.0.0.1"
port = 8080
# mqtt_host = "0.0.0.0"                    # let devices in from the network (port 1883)
# public_url = "https://city.example"      # behind a proxy, or with a certificate of one's own:
# tls_certificate = "$conf/tls.pem"
# tls_key = "$conf/tls.key"
END
    chmod 640 "$config"
    if [ "$me" = 0 ]; then chown "root:$group" "$config"; fi
fi

fill() {
    private=yes protect=yes
    case $prefix in /tmp/* | /var/tmp/*) private=no ;; esac
    # a city below a home of the machine it is installed on: the unit must not hide homes from itself
    case $prefix in /home/* | /root/* | /run/user/*) protect=no ;; esac
    sed -e "s|@USER@|$user|g" -e "s|@GROUP@|$group|g" -e "s|@HOME@|$home|g" -e "s|@DATA@|$data|g" \
        -e "s|@CONFIG@|$config|g" -e "s|@BACKUPS@|$backups|g" -e "s|@PROTECT_HOME@|$protect|g" \
        -e "s|@PRIVATE_TMP@|$private|g" "$1"
}
mkdir -p "$(dirname "$wrapper")" "$(dirname "$unit")"
fill "$here/command.sh" >"$wrapper.new"
chmod 755 "$wrapper.new"
fill "$here/shahar.service" >"$unit.new"

# -- the change-over --------------------------------------------------------------------------------------------------

point_to() {
    ln -sfn "$1" "$home/current.new"
    mv -T "$home/current.new" "$home/current"
}
before=$(readlink "$home/current" 2>/dev/null || true)
kept=''
if [ "$new_city" = no ] && [ "$before" != "versions/$VERSION-$BUILD" ]; then
    say "the city is tried with the new version; what is there goes on meanwhile"
    as_user "$made/bin/shahar" upgrade --dry-run || fail "the new version cannot take the city over, see above; nothing was changed"
    if managed; then systemctl stop shahar 2>/dev/null || true; fi
    if [ "$backup" = yes ]; then
        kept=$backups/before-$VERSION-$(date -u +%Y%m%dT%H%M%SZ).tar
        as_user "$made/bin/shahar" backup "$kept" || {
            if managed; then systemctl start shahar || true; fi
            fail "there is no backup, so nothing was changed (--no-backup goes without)"
        }
    fi
    as_user "$made/bin/shahar" upgrade || {
        if managed; then systemctl start shahar || true; fi
        fail "the city was not brought up to date; it is as it was"
    }
fi
mv "$wrapper.new" "$wrapper"
mv "$unit.new" "$unit"
cp "$here/install.sh" "$home/install.sh"
point_to "versions/$VERSION-$BUILD"

if managed && [ "$start" = yes ]; then
    systemctl daemon-reload
    systemctl enable --quiet shahar
    if ! systemctl restart shahar; then
        say "it does not start; the last it said:" >&2
        journalctl -u shahar -n 20 --no-pager >&2 || true
        if [ -n "$before" ] && [ -n "$kept" ]; then
            point_to "$before"
            as_user "$home/$before/bin/shahar" restore "$kept" --replace || true
            systemctl start shahar || true
            fail "back to $before with the city of $kept"
        fi
        fail "mend the settings in $config, then: systemctl restart shahar"
    fi
fi

# Of the versions, the one in use and the one before it stay.
for folder in "$home"/versions/*; do
    case $folder in "$made" | "$home/${before:-none}") ;; *) rm -rf "$folder" ;; esac
done

# -- what now ---------------------------------------------------------------------------------------------------------

say "Shahar $VERSION is installed. Settings: $config; data: $data; backups: $backups"
if managed && [ "$start" = yes ]; then
    say "It runs: systemctl status shahar, journalctl -u shahar, shahar doctor"
    if [ "$new_city" = yes ]; then
        say "Become the administrator (once, within 24 h): $(as_user "$home/current/bin/shahar" key --link)"
    fi
else
    if managed; then
        say "Start it: systemctl enable --now shahar"
    else
        say "No systemd is at work here. Start it, again if it ran, with: $wrapper serve"
        say "(It stays in the foreground and runs as $user, whoever calls it; in WSL, set systemd=true in /etc/wsl.conf instead.)"
    fi
    [ "$new_city" = no ] || say "Its first start prints a link by which you become the administrator."
fi
