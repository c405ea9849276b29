#!/usr/bin/python3
"""Turns a folder of .deb files into RPMs (no scriptlets), usr-merged: the packages of the mini
distribution. Owns what such an RPM contains, provides and requires; must never be used for
anything that is shipped, and never writes outside OUTDIR and OUTDIR.deb2rpm-work.

usage: deb2rpm.py DEBDIR OUTDIR [JOBS]
Dependencies become unversioned Requires between the packages of the set;
alternatives take the first name that is in the set; anything not in the set is
dropped.  File lists, modes and owners come from the .deb payload.
"""
import glob
import os
import re
import shutil
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

debdir, outdir = sys.argv[1], sys.argv[2]
ARCH = os.environ.get("MINI_ARCH", "x86_64")   # label for the x86-64 binaries; armv5tel gives a pretend ARM distribution
jobs = int(sys.argv[3]) if len(sys.argv) > 3 else 2
work = os.path.abspath(outdir).rstrip("/") + ".deb2rpm-work"
shutil.rmtree(work, ignore_errors=True)
os.makedirs(work); os.makedirs(outdir, exist_ok=True)

SKIP = re.compile(r"^/usr/share/(doc|man|info|locale|lintian|bug|linda|doc-base|bash-completion)(/|$)"
                  r"|^/usr/lib/systemd/|^/etc/(cron|logrotate)|^/etc/init\.d(/|$)|^/usr/share/perl5/Debconf|^/(dev|proc|sys|run)(/|$)")
# usr-merge links and alternatives are owned by mini-filesystem
OWNED_ELSEWHERE = {"/usr/bin/sh", "/usr/bin/awk", "/usr/bin/which", "/usr/bin/cc", "/usr/bin/c++",
                   "/etc/rpm/macros", "/usr/bin/pager"}
# Debian-isms that nobody needs inside the chroot
DROP_PKGS = {"debconf", "usrmerge", "init-system-helpers", "libfile-find-rule-perl",
             "libnumber-compare-perl", "libtext-glob-perl", "util-linux-extra", "dpkg"}
EXTRA_PROVIDES = {"bash": ["/bin/sh", "/bin/bash", "/usr/bin/sh"],
                  "coreutils": ["/usr/bin/env", "/bin/env"],
                  "passwd": ["shadow-utils"], "xz-utils": ["xz"], "g++": ["gcc-c++"],
                  "rpm": ["rpm-build", "/usr/bin/rpmbuild"],
                  "libc6-dev": ["glibc-devel"], "libc6": ["glibc", "rtld(GNU_HASH)"], "libpopt-dev": ["popt-devel"], "libselinux1-dev": ["libselinux-devel"],
                  "libsepol-dev": ["libsepol-devel"],
                  "perl": ["/usr/bin/perl"], "procps": ["procps-ng"], "mawk": ["gawk", "/usr/bin/awk"]}

EXTRA_REQUIRES = {"gcc": ["libc6-dev"], "g++": ["libc6-dev"]}   # Recommends on Debian

def field(deb):
    out = subprocess.run(["dpkg-deb", "-f", deb], capture_output=True, text=True, check=True).stdout
    d, cur = {}, None
    for line in out.splitlines():
        if line[:1] in " \t":
            d[cur] += "\n" + line
        else:
            cur, _, v = line.partition(":")
            d[cur] = v.strip()
    return d

debs = [(p, field(p)) for p in sorted(glob.glob(os.path.join(debdir, "*.deb")))]
names = {f["Package"] for _, f in debs} - DROP_PKGS
provides = {}
for _, f in debs:
    for p in filter(None, re.split(r"\s*,\s*", f.get("Provides", ""))):
        provides.setdefault(re.sub(r"[:(\s].*", "", p), f["Package"])

def deps(f, key):
    out = []
    for clause in filter(None, re.split(r"\s*,\s*", f.get(key, ""))):
        for alt in clause.split("|"):
            n = re.sub(r"[:(\s\[].*", "", alt.strip())
            if n in names or n in provides and provides[n] in names:
                out.append(n); break
    return sorted(set(out))

def rpmver(v):
    epoch, v = v.split(":", 1) if ":" in v else ("", v)
    up, _, rel = v.rpartition("-") if "-" in v else (v, "", "1")
    return epoch, re.sub(r"[^A-Za-z0-9.+~^_]", "_", up), re.sub(r"[^A-Za-z0-9.+~^_]", "_", rel)

def one(item):
    deb, f = item
    n = f["Package"]
    if n in DROP_PKGS:
        return
    base = os.path.join(work, n); root = os.path.join(base, "root"); os.makedirs(root)
    subprocess.run(["dpkg-deb", "-x", deb, root], check=True)
    for d in ("bin", "sbin", "lib", "lib64", "lib32", "libx32"):          # usr-merge
        src = os.path.join(root, d)
        if os.path.isdir(src) and not os.path.islink(src):
            dst = os.path.join(root, "usr", d); os.makedirs(dst, exist_ok=True)
            subprocess.run(["cp", "-a", src + "/.", dst], check=True); shutil.rmtree(src)
    lines = []
    for dp, dns, fns in os.walk(root):
        rel = dp[len(root):] or "/"
        for x in list(dns):
            if os.path.islink(os.path.join(dp, x)):
                fns.append(x); dns.remove(x)
        if SKIP.match(rel):
            dns[:] = []; continue
        special = rel != "/" and (stat.S_IMODE(os.lstat(dp).st_mode) != 0o755)
        if rel != "/" and ((not dns and not fns) or special or n == "base-files") \
                and rel not in ("/bin", "/sbin", "/lib", "/lib64"):
            lines.append('%%dir "%s"' % rel)
        for fn in fns:
            p = os.path.join(rel, fn)
            if SKIP.match(p) or p in OWNED_ELSEWHERE or p in ("/lib64", "/bin", "/sbin", "/lib"):
                continue
            lines.append(('%%config "%s"' if p.startswith("/etc/") and
                          not os.path.islink(os.path.join(root, p[1:])) else '"%s"') % p.replace("%", "%%"))
    epoch, v, r = rpmver(f["Version"])
    arch = "noarch" if f["Architecture"] == "all" else ARCH
    req = [d for d in deps(f, "Depends") if d != n] + EXTRA_REQUIRES.get(n, []); pre = [d for d in deps(f, "Pre-Depends") if d != n]
    prov = [re.sub(r"[:(\s].*", "", p) for p in filter(None, re.split(r"\s*,\s*", f.get("Provides", "")))]
    spec = ["Name: " + n, "Version: " + v, "Release: %s.mini" % r]
    if epoch: spec.append("Epoch: " + epoch)
    spec += ["Summary: " + f.get("Description", n).splitlines()[0].replace("%", "%%"),
             "License: Distributable", "AutoReq: no", "Requires(pre): mini-filesystem"]
    if arch == "noarch": spec.append("BuildArch: noarch")
    spec += ["Requires(pre): " + d for d in pre] + ["Requires: " + d for d in req]
    spec += ["Provides: " + p for p in prov + EXTRA_PROVIDES.get(n, [])]
    spec += ["%description", "Debian package %s %s repackaged as RPM." % (n, f["Version"]),
             "%install", "cp -a %s/. %%{buildroot}/" % root,
             "%files -f " + os.path.join(base, "files")]
    open(os.path.join(base, "files"), "w").write("\n".join(lines) + "\n")
    sp = os.path.join(base, n + ".spec"); open(sp, "w").write("\n".join(spec) + "\n")
    r = subprocess.run(["rpmbuild", "-bb", "--quiet", "--target", arch,
        "--define", "_topdir " + base, "--define", "_rpmdir " + outdir,
        "--define", "_rpmfilename %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm",
        "--define", "__os_install_post %{nil}", "--define", "__arch_install_post %{nil}",
        "--define", "_build_id_links none", "--define", "debug_package %{nil}",
        "--define", "__check_files %{nil}", "--define", "_binary_payload w1.zstdio",
        "--define", "_unpackaged_files_terminate_build 0", sp], capture_output=True, text=True)
    if r.returncode:
        print("FAILED", n, r.stdout[-2000:], r.stderr[-2000:], file=sys.stderr)
    else:
        shutil.rmtree(base)
    return n, r.returncode

bad = 0
with ThreadPoolExecutor(jobs) as ex:
    for res in ex.map(one, debs):
        if res and res[1]: bad += 1
shutil.rmtree(work, ignore_errors=True)
print("converted %d packages, %d failed" % (len(names) - bad, bad))
sys.exit(1 if bad else 0)
