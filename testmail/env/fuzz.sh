#!/bin/bash
# Runs every fuzz target for FUZZ_MOMENT (default 1000x: so many inputs) in the
# binaries of the tests, which are built already, so that `make test` can afford
# it: with the race detector and not led by coverage. `make fuzz` runs them at
# length and led by coverage.
set -euo pipefail
cd "$(dirname "$0")/../.."
moment=${FUZZ_MOMENT:-1000x}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

targets=$(grep -rn --include='*_test.go' '^func Fuzz' . | sed 's|^\(.*\)/[^/]*_test\.go:[0-9]*:func \(Fuzz[A-Za-z0-9_]*\)(.*|\1 \2|' | sort)
count=0
while read -r pkg target; do
	if [ "$pkg" != "${built:-}" ]; then
		go test -race -c -o "$tmp/fuzz.test" "$pkg"
		built=$pkg
	fi
	if ! (cd "$pkg" && "$tmp/fuzz.test" -test.run '^$' -test.fuzz "^$target\$" -test.fuzztime "$moment" -test.parallel 2 -test.fuzzcachedir "$tmp/cache") >"$tmp/log" 2>&1; then
		cat "$tmp/log"
		echo "FAIL	$pkg $target"
		exit 1
	fi
	grep -q 'execs: [1-9]' "$tmp/log" || { cat "$tmp/log"; echo "FAIL	$pkg $target ran no input"; exit 1; }
	count=$((count + 1))
done <<<"$targets"
echo "ok  	$count fuzz targets, $moment each"
