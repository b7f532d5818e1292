# Sourced: fetches Debian packages, also of another architecture, without a change to dpkg and apt of this machine. Nothing
# is installed, and root is not needed.

# shellcheck shell=bash

# private_apt FOLDER ARCHITECTURE STATUS: an apt with its own lists and cache in FOLDER. STATUS is the file that says which
# packages are installed.
private_apt() {
  local folder=$1 architecture=$2 status=$3
  mkdir -p "$folder"/{lists/partial,cache/archives/partial,parts}
  [[ -e $status ]] || : >"$status"
  # This machine's mirrors, without security updates: these reach the architectures at different times, and then packages of
  # two architectures do not fit together.
  # shellcheck disable=SC2016  # the dollars are for apt
  apt-get indextargets --format 'deb $(SITE) $(RELEASE) $(COMPONENT)' \
    'Created-By: Packages' 'Origin: Debian' 'Label: Debian' 2>/dev/null \
    | sort -u | grep -Ev ' [a-z]+-(updates|backports|proposed-updates) ' >"$folder/sources.list" || true
  if [[ ! -s $folder/sources.list ]]; then
    echo "apt knows no mirror of Debian: run apt-get update first, or build with cross (README)." >&2
    return 1
  fi
  cat >"$folder/apt.conf" <<CONF
APT::Architecture "$architecture";
APT::Architectures { "$architecture"; };
APT::Sandbox::User "";
APT::Install-Recommends "false";
Dir::State "$folder";
Dir::State::lists "$folder/lists";
Dir::State::status "$status";
Dir::Cache "$folder/cache";
Dir::Etc::SourceList "$folder/sources.list";
Dir::Etc::SourceParts "$folder/parts";
Dir::Etc::PreferencesParts "$folder/parts";
Debug::NoLocking "true";
CONF
  APT_CONFIG=$folder/apt.conf apt-get -qq update
}

# unpack FOLDER ROOT: unpacks every fetched package below ROOT.
unpack() {
  local package
  for package in "$1"/cache/archives/*.deb; do
    # dpkg-deb --extract would replace a link such as /lib with a folder.
    dpkg-deb --fsys-tarfile "$package" | tar --extract --no-same-owner --keep-directory-symlink --directory "$2"
  done
}
