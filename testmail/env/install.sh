#!/bin/sh
# Installs the servers that the tests talk to, from Debian packages, and only
# those that are missing. No service is started by it and none stays behind:
# the tests start their own, on loopback, in temporary directories. Arguments
# name further packages, as benchmarks want them.
set -eu

packages=""
need() { # need COMMAND PACKAGE
	command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ] || packages="$packages $2"
}
need gcc "gcc libc6-dev" # the race detector needs it
need redis-server redis-server
need dovecot dovecot-imapd
need postfix postfix
need swaks swaks
need promtool prometheus # checks the alert rules; its server is not started
[ -e /usr/lib/python3/dist-packages/dkim ] || packages="$packages python3-dkim python3-nacl" # verifies our signatures
[ -e /usr/lib/python3/dist-packages/authres ] || packages="$packages python3-authres" # seals ARC chains with it
need chromium chromium
[ -d /usr/lib/dovecot ] && [ -x /usr/lib/dovecot/imap ] || packages="$packages dovecot-imapd"
[ -d /usr/share/fonts/truetype/noto ] || packages="$packages fonts-noto-core"
need npm "nodejs npm" # fetches axe-core
for extra in "$@"; do
	dpkg -s "$extra" >/dev/null 2>&1 || packages="$packages $extra"
done

# axe-core, for testmail/browser, goes into the user's cache: its version and
# checksum stand in axe-core.txt.
axe() {
	read -r version sum <"$(dirname "$0")/../browser/axe-core.txt"
	dir="${XDG_CACHE_HOME:-$HOME/.cache}/postern-tests/axe-core-$version"
	[ ! -e "$dir/axe.min.js" ] || return 0
	echo "fetching: axe-core $version"
	into=$(mktemp -d)
	(cd "$into" && npm pack --silent "axe-core@$version" >/dev/null && tar xzf "axe-core-$version.tgz")
	echo "$sum  $into/package/axe.min.js" | sha256sum -c --quiet
	mkdir -p "$dir"
	mv "$into/package/LICENSE" "$dir/LICENSE"
	mv "$into/package/axe.min.js" "$dir/axe.min.js"
	rm -rf "$into"
}
[ -n "$packages" ] || { axe; exit 0; }

if [ "$(id -u)" -eq 0 ]; then
	root() { "$@"; }
elif command -v sudo >/dev/null 2>&1; then
	root() { sudo -n "$@"; }
else
	echo "install.sh: these packages are missing and neither root nor sudo is at hand:$packages" >&2
	exit 1
fi

echo "installing:$packages"
# policy-rc.d keeps the packages from starting their services (exit 101 = not allowed).
policy=/usr/sbin/policy-rc.d
made=""
if [ ! -e "$policy" ]; then
	printf '#!/bin/sh\nexit 101\n' | root tee "$policy" >/dev/null
	root chmod 755 "$policy"
	made=yes
fi
cleanup() { [ -z "$made" ] || root rm -f "$policy"; }
trap cleanup EXIT

echo 'postfix postfix/main_mailer_type select No configuration' | root debconf-set-selections 2>/dev/null || true
log=$(mktemp)
install() {
	# shellcheck disable=SC2086  # the list is meant to be split
	root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
		-o Dpkg::Options::=--force-confold $packages >"$log" 2>&1
}
if ! install; then
	root apt-get update >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
	install || { cat "$log" >&2; echo "install.sh: apt-get could not install:$packages" >&2; exit 1; }
fi
rm -f "$log"
axe
