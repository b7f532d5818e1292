#!/usr/bin/env bash
# Builds a Debian package from the binary that was built for TARGET, the unit, the board files and the documents.
#
#   scripts/deb.sh TARGET
#
# LICENCES names a file with the licences of the libraries; without it, that file is made.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=cross/target.sh
. cross/target.sh
target_is "${1:-}"

out=${CARGO_TARGET_DIR:-target}
binary=$out/$target/release/kasacamd
[[ -x $binary ]] || { echo "$binary is not built: make cross TARGET=$target" >&2; exit 1; }
command -v dpkg-deb >/dev/null || { echo "dpkg-deb is missing: install dpkg" >&2; exit 1; }

version=$(sed -n 's/^version = "\(.*\)"/\1/p;T;q' Cargo.toml)
root=$out/deb/$target
rm -rf "$root"
# The same commit gives the same package: all dates are those of the commit.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
export SOURCE_DATE_EPOCH

put() { install -D --mode="$1" "$2" "$root/$3"; }
put 755 "$binary" usr/bin/kasacamd
put 644 systemd/kasacamd.service usr/lib/systemd/system/kasacamd.service
put 644 systemd/kasacam.sysusers.conf usr/lib/sysusers.d/kasacam.conf
put 644 systemd/kasacam.tmpfiles.conf usr/lib/tmpfiles.d/kasacam.conf
put 644 systemd/environment etc/kasacam/environment
for board in board-configs/*.toml; do put 644 "$board" "usr/share/kasacam/boards/${board##*/}"; done
put 644 README.md usr/share/doc/kasacam/README.md
while IFS= read -r document; do
  put 644 "$document" "usr/share/doc/kasacam/${document#docs/}"
done < <(find docs -type f)
for example in systemd/examples/*; do put 644 "$example" "usr/share/doc/kasacam/examples/${example##*/}"; done
# The links of the README lead to docs/; here all documents are in one folder.
sed -i 's|](docs/|](|g; s|](LICENSE)|](copyright)|g' "$root/usr/share/doc/kasacam/README.md"
gzip --best --no-name --stdout CHANGELOG.md >"$root/usr/share/doc/kasacam/changelog.gz"
packaging/copyright.sh >"$root/usr/share/doc/kasacam/copyright"
if [[ -z ${LICENCES:-} ]]; then
  LICENCES=$out/third-party-licences.txt
  scripts/licences.sh "$target" >"$LICENCES"
fi
gzip --best --no-name --stdout <"$LICENCES" >"$root/usr/share/doc/kasacam/third-party-licences.gz"

install -d "$root/DEBIAN"
for script in postinst prerm postrm; do install --mode=755 "packaging/$script" "$root/DEBIAN/$script"; done
echo /etc/kasacam/environment >"$root/DEBIAN/conffiles"
find "$root" -path "$root/DEBIAN" -prune -o -type d -exec chmod 755 {} +
(cd "$root" && find . -path ./DEBIAN -prune -o -type f -printf '%P\0' | LC_ALL=C sort -z | xargs -0 md5sum) \
  >"$root/DEBIAN/md5sums"
sed -e "s/@VERSION@/$version/; s/@ARCHITECTURE@/$debian/" \
  -e "s/@SIZE@/$(du -sk --exclude=DEBIAN "$root" | cut -f1)/" packaging/control >"$root/DEBIAN/control"

package=$out/kasacam_${version}_$debian.deb
find "$root" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
dpkg-deb --root-owner-group -Zxz --build "$root" "$package" >&2
packaging/check.sh "$package" >&2
echo "$package"
