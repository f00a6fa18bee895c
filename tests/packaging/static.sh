#!/bin/bash
# What can be said of the packages without installing them.
set -u
here=$(cd "$(dirname "$0")" && pwd)
packaging=$here/../../packaging
. "$here/support.sh"
deb=$1
rpm=$2
unpacked=$(mktemp -d)
trap 'rm -rf "$unpacked"' EXIT
dpkg-deb -x "$deb" "$unpacked"

silent() {
    local said
    said=$("$@" 2>&1)
    [ -z "$said" ] || { echo "$said"; return 1; }
}
# This machine's; another release's by hand, by lintian-of.
check "lintian has no error, no warning" lintian --allow-root --fail-on error,warning "$deb"
check "rpmlint has no error, no warning" bash -c "
    rpmlint -c '$packaging/rpm/rpmlint.toml' '$rpm' | grep -q ' 0 errors, 0 warnings'"
# unstretched PAGE: whether at 80 columns no line is longer, and none has blanks put into it; beside a
# short tag its text begins where all text does. The first line and the last are man's own.
unstretched() {
    LC_ALL=C.UTF-8 MANWIDTH=80 man -l "$1" | awk '
        { line[NR] = $0 }
        END {
            for (n = 2; n < NR; n++) {
                text = line[n]
                if (match(text, /[^ ]  +[^ ]/) && RSTART + RLENGTH - 2 != 14 && RSTART + RLENGTH - 2 != 21 ||
                    length(text) > 80) { print n ": " text; bad = 1 }
            }
            exit bad || NR < 50
        }'
}
for page in man8/adit.8 man5/adit.conf.5; do
    gunzip <"$unpacked/usr/share/man/$page.gz" >"$unpacked/$(basename $page)"
    check "mandoc has nothing to say of $page" silent mandoc -Tlint "$unpacked/$(basename $page)"
    check "at 80 columns no line is stretched" unstretched "$unpacked/$(basename $page)"
    check "man neither" silent bash -c "LC_ALL=C.UTF-8 man --warnings -l '$unpacked/$(basename $page)' >/dev/null"
done
check "bash reads its completion" bash -n "$unpacked/usr/share/bash-completion/completions/adit"
completes() {
    # shellcheck disable=SC2016,SC1090
    bash -c 'source "$1"; COMP_WORDS=(adit "$2"); COMP_CWORD=1; compopt() { :; }; _adit; printf "%s\n" "${COMPREPLY[@]}"' \
        - "$unpacked/usr/share/bash-completion/completions/adit" "$1" | grep -qx -e "$2"
}
check "and completes commands" completes rel relay
check "and flags" completes --verifyS --verifyServer
check "zsh reads its completion" zsh -n "$unpacked/usr/share/zsh/vendor-completions/_adit"
check "fish reads its completion" fish -n "$unpacked/usr/share/fish/vendor_completions.d/adit.fish"
check "the AppArmor profile can be compiled" apparmor_parser -QK "$unpacked/etc/apparmor.d/usr.bin.adit"
check "shellcheck has nothing to say of the scripts" silent shellcheck -x -P "$here" \
    "$packaging/build" "$packaging/stage" "$packaging/deb/build" "$packaging/deb/depends" "$packaging/rpm/build" "$packaging/container/build" \
    "$packaging/systemd/restart-check" "$here/cross" "$here/lintian-of" \
    "$packaging"/deb/p*inst "$packaging"/deb/p*rm "$packaging/init.d/adit" \
    "$packaging/examples/certbot-deploy-hook" "$packaging/examples/acme.sh-reload"
check "every crate in the binary has its licence told" bash -c "
    cd '$packaging/..' && cargo tree --locked -e normal,no-proc-macro --prefix none --no-dedupe -f '{p}' |
    awk '\$1 != \"adit\" { sub(/^v/, \"\", \$2); print \"Files: vendor/\" \$1 \"-\" \$2 \"/*\" }' | sort -u |
    while read -r line; do grep -qxF \"\$line\" '$unpacked/usr/share/doc/adit/copyright' || { echo \"\$line\"; exit 1; }; done"
for guide in mail-programs old-programs status failures logs metrics more-machines oauth; do
    check "the package has $guide.md" cmp "$packaging/../docs/$guide.md" "$unpacked/usr/share/doc/adit/$guide.md"
done
sbom=$unpacked/usr/share/doc/adit/adit.cdx.json
lists_what_is_linked() {
    (cd "$packaging/.." && cargo tree --locked -e normal,no-proc-macro --prefix none --no-dedupe -f '{p}') |
        awk '$1 != "adit" { sub(/^v/, "", $2); print "pkg:cargo/" $1 "@" $2 }' | sort -u >"$unpacked/linked"
    jq -r '.components[].purl | select(startswith("pkg:cargo/"))' "$sbom" | sort >"$unpacked/listed"
    [ "$(wc -l <"$unpacked/linked")" -gt 50 ] && diff "$unpacked/linked" "$unpacked/listed"
}
check "the bill of materials lists every crate in the binary and no other" lists_what_is_linked
check "and AWS-LC, which one of them brings" jq -e '
    [.components[] | select(.name == "aws-lc") | .version | test("^[0-9.]+$")] == [true]' "$sbom"
check "each of them has its checksum and its licence" jq -e '
    [.components[] | select(.purl | startswith("pkg:cargo/")) | .hashes[0].content and .licenses[0].expression] | all' "$sbom"
check "and what each needs is listed" jq -e '
    ([.components[]."bom-ref", .metadata.component."bom-ref"] | sort) as $known |
    ([.dependencies[] | .ref, .dependsOn[]] | unique) - $known == []' "$sbom"
check "it names no folder of the machine that built it" bash -c "! grep -e 'path+file' -e '$HOME' '$sbom'"
check "the rpm has the same one" bash -c "rpm2cpio '$rpm' | cpio -i --quiet --to-stdout ./usr/share/doc/adit/adit.cdx.json | cmp - '$sbom'"
newest() {
    objdump -T "$unpacked/usr/bin/adit" | grep -o 'GLIBC_[0-9.]*' | sort -Vu | tail -n 1
}
needs_no_newer() {
    [ "$(printf '%s\n' "$(newest)" "GLIBC_$1" | sort -V | tail -n 1)" = "GLIBC_$1" ] || { newest; return 1; }
}
check "the binary needs no glibc later than $GLIBC" needs_no_newer "$GLIBC"
check "manual pages that cannot be written fail the build" bash -c "
    ! '$packaging/stage' /bin/true /bin/false '$unpacked/staged' /zsh nogroup adm"
rm -rf "$unpacked/staged"
check "a 32-bit target is refused in plain words by packaging/build" bash -c "
    '$packaging/build' --target armv7-unknown-linux-gnueabihf 2>&1 | grep 'adit runs on 64-bit Linux alone'"
check "and by cargo" bash -c "
    cd '$packaging/..' && rustc --edition 2024 -o '$unpacked/build-script' build.rs &&
    CARGO_CFG_TARGET_OS=linux CARGO_CFG_TARGET_POINTER_WIDTH=32 CARGO_CFG_TARGET_ARCH=arm '$unpacked/build-script' |
        grep '^cargo::error=adit runs on 64-bit Linux alone'"
# Of a Rust program that Debian's compiler linked. One that Zig linked dpkg-shlibdeps takes for newer than
# it is: it does not know that older threads are in a library of their own, libpthread.so.0.
mkdir -p "$unpacked/shlibs/debian" && printf 'Source: adit\n\nPackage: adit\nArchitecture: any\n' >"$unpacked/shlibs/debian/control"
check "dependencies are what dpkg-shlibdeps finds" bash -c "
    found=\$(cd '$unpacked/shlibs' && dpkg-shlibdeps -O ../build-script 2>/dev/null)
    [ \"\${found#*=}\" = \"\$('$packaging/deb/depends' '$unpacked/build-script')\" ]"
rm -r "$unpacked/build-script" "$unpacked/shlibs"
check "the version tells target, commit and libraries" bash -c "
    '$unpacked/usr/bin/adit' -version | grep -E '^Compiled for .*-linux-gnu from commit [0-9a-f]{12}' &&
    '$unpacked/usr/bin/adit' -version | grep 'rustls [0-9]'"
check "units are where systemd has them" bash -c "
    [ -e '$unpacked/usr/lib/systemd/system/adit.service' ] && [ ! -e '$unpacked/lib' ]"
check "the binary is stripped" bash -c "! readelf -S '$unpacked/usr/bin/adit' | grep -q '\.symtab'"
check "no file has a path of the machine that built it" bash -c "
    ! grep -rqF -e '$(cd "$packaging/.." && pwd)/' -e '${CARGO_HOME:-$HOME/.cargo}/' '$unpacked'"
check "both packages have the same program" bash -c "
    cd '$unpacked' && mkdir rpm && cd rpm && rpm2cpio '$rpm' | cpio -id --quiet && cmp usr/bin/adit ../usr/bin/adit"
