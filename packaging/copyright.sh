#!/usr/bin/env bash
# Prints the package's copyright file: our licence, and what the libraries in the program are under.
set -euo pipefail
cd "$(dirname "$0")/.."

cat <<TEXT
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: kasacam
Comment:
 The program contains libraries under licences of their own, linked statically. They are under
 MIT, Apache-2.0, BSD, ISC or Unicode terms. third-party-licences.gz beside this file has the text of each, with the
 names and versions of what it covers. GStreamer and GLib (LGPL-2.1+) are linked dynamically.

Files: *
Copyright: the Kasa Cam firmware authors
License: Apache-2.0

License: Apache-2.0
TEXT
sed 's/^$/./; s/^/ /' LICENSE
