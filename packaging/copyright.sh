#!/usr/bin/env bash
# Prints the package's copyright file: our licence, and what the licence of gst-plugin-fmp4 wants its recipients to be told.
set -euo pipefail
cd "$(dirname "$0")/.."

# version CRATE: as Cargo.lock has it.
version() { sed -n "/^name = \"$1\"\$/{n;s/^version = \"\\(.*\\)\"\$/\\1/p;q}" Cargo.lock; }

cat <<TEXT
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: kasacam
Comment:
 The program contains libraries under licences of their own, linked statically. All but the one below are under
 MIT, Apache-2.0, BSD, ISC, Zlib or Unicode terms; Cargo.lock names each with its version, and "cargo vendor" fetches
 the source of all, their licences included. GStreamer and GLib (LGPL-2.1+) are linked dynamically.

Files: *
Copyright: the Kasa Cam firmware authors
License: Apache-2.0

Files: usr/bin/kasacamd
Copyright: the authors of gst-plugin-fmp4, for the part of it that is theirs
License: MPL-2.0
Comment:
 usr/bin/kasacamd contains the crate gst-plugin-fmp4 $(version gst-plugin-fmp4), unmodified. Under section 3.2 of the
 Mozilla Public License 2.0 you may have its source: it is the crate of that name and version in Rust's package
 registry ("cargo vendor" fetches it), sent on request by whoever gave you this package. The rest of the program is not
 under that licence.

License: MPL-2.0
 This Source Code Form is subject to the terms of the Mozilla Public License, v. 2.0. If a copy of the MPL was not
 distributed with this file, You can obtain one at https://mozilla.org/MPL/2.0/. On Debian it is in
 /usr/share/common-licenses/MPL-2.0.

License: Apache-2.0
TEXT
sed 's/^$/./; s/^/ /' LICENSE
