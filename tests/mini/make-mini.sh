#!/bin/sh
# make-mini.sh OUT [ARCH]: builds OUT/mini-ARCH, a small RPM distribution made of this Debian release's own
# packages (usr-merged, no scriptlets), indexed with createrepo_c. ARCH defaults to x86_64; armv5tel labels
# the same x86-64 binaries armv5tel, which is enough to test everything but the machine code.
# Owns: which Debian packages are in it. Must never install anything on this machine or need more than
# apt, rpmbuild, createrepo_c and python3 (half a minute on two cores).
# MINI_ROOTS names another set of Debian packages to start from.
set -eu
here=$(cd "$(dirname "$0")" && pwd) out=$(mkdir -p "$1" && cd "$1" && pwd) arch=${2:-x86_64}
roots=${MINI_ROOTS:-bash coreutils sed grep mawk tar gzip bzip2 xz-utils zstd make patch diffutils findutils
  cpio file rpm passwd libc-bin util-linux debianutils base-files perl-base hostname gcc libc6-dev}
debs=$out/debs
mkdir -p "$debs/partial"
: > "$out/empty-status"
# Resolve the whole closure as if nothing were installed.
# shellcheck disable=SC2086
apt-get -q -o Dir::State::status="$out/empty-status" -o Dir::Cache::archives="$debs" -o Debug::NoLocking=1 \
  -o APT::Sandbox::User=root -o APT::Keep-Downloaded-Packages=true -o Acquire::Retries=3 \
  --no-install-recommends --download-only -y install $roots > "$out/debs.log" 2>&1 \
  || { tail -5 "$out/debs.log" >&2; exit 1; }
rm -rf "$out/mini-$arch"
MINI_ARCH=$arch /usr/bin/python3 "$here/deb2rpm.py" "$debs" "$out/mini-$arch" "$(nproc)"
rpmbuild -bb --quiet --define "_topdir $out/rpmbuild" --define "_rpmdir $out/mini-$arch" \
  --define '_rpmfilename %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm' "$here/mini-filesystem.spec"
createrepo_c -q "$out/mini-$arch"
rm -rf "$debs" "$out/rpmbuild" "$out/empty-status"
