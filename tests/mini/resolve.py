#!/usr/bin/python3
"""resolve.py JOBS: what dnf would install, without installing it, for many builds in one process.

Owns: dnf's own way from words to packages: `dnf install SETUP` into an empty root, then `dnf builddep` into a root that
holds the setup, with the classes that dnf and its plugin use. JOBS is a JSON file:

  folder    scratch: caches, roots
  weak      whether weak dependencies are installed
  setup     words of `dnf install`: packages, @groups
  root      an installroot that holds the setup, for the builds; absent: everything is installed at once
  full      [[id, folder, cost, best], ...]: repositories that every build sees
  builds    [{"name", "requires": [...], "thin": folder or null}, ...]

Prints a line of JSON for each: first that of the setup from the full repositories, then builds:

  {"name", "full": result, "thin": result, "thin_setup": result}

A result is {"install": [[NEVRA, id of its repository, its path there]...], "other": [[action and NEVRA]...]} (other is
everything else in the transaction) or {"error": text}; with "cpu_s", the seconds it took to resolve. "loaded_s" are those
that it took to load, which for the full repositories is done once.

Must never download, nor read or write outside the folders it was given.
"""
import importlib.util
import json
import os
import sys
import time

import dnf
import dnf.cli.demand
import dnf.rpm
import dnf.transaction

PLUGIN = os.path.join(os.path.dirname(os.path.dirname(dnf.__file__)), "dnf-plugins", "builddep.py")


def builddep():
    """The plugin's command, without a command line around it."""
    spec = importlib.util.spec_from_file_location("builddep", PLUGIN)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.BuildDepCommand


class Opts:
    skip_unavailable = False


class Cli:
    def __init__(self, base):
        self.base = base
        self.demands = dnf.cli.demand.DemandSheet()


class Resolver:
    """dnf with these repositories and this root; asked many times."""

    def __init__(self, folder, repositories, root, weak):
        os.makedirs(folder, exist_ok=True)
        self.command = None
        began = time.process_time()
        self.base = base = dnf.Base()
        conf = base.conf
        conf.installroot = root
        conf.cachedir = folder + "/cache"
        conf.persistdir = folder + "/persist"
        conf.logdir = folder
        conf.reposdir = []
        conf.substitutions["releasever"] = "1"
        conf.substitutions["basearch"] = conf.substitutions["arch"] = "x86_64"
        conf.module_platform_id = "platform:mini1"
        conf.install_weak_deps = weak
        conf.best = True
        conf.plugins = False
        conf.gpgcheck = False
        conf.obsoletes = True
        for name, path, cost, best in repositories:
            repo = dnf.repo.Repo(name, conf)
            repo.baseurl = ["file://" + path]
            repo.cost = cost
            repo.skip_if_unavailable = False
            repo.metadata_expire = 0
            base.repos.add(repo)
        base.fill_sack(load_system_repo=True)
        base.read_comps(arch_filter=True)
        self.loaded_s = time.process_time() - began

    def resolve(self, words, requires):
        """What is installed for words of `dnf install` and requirements of a source package."""
        base = self.base
        base.reset(goal=True)
        began = time.process_time()
        try:
            groups = [word[1:] for word in words if word.startswith("@")]
            names = [word for word in words if not word.startswith("@")]
            if words:
                base.install_specs(["@" + name for name in groups] + names, strict=True)
            done = True
            for text in requires:
                done &= self.builddep()._install(text)
            if not done:
                missing = [text for text in requires if not text.startswith("(") and not self.found(text)]
                raise dnf.exceptions.Error("No matching package to install: %s" % ", ".join(sorted(missing)))
            base.resolve(allow_erasing=False)
        except dnf.exceptions.Error as why:
            return {"error": str(why), "cpu_s": time.process_time() - began}
        install, other = [], []
        for item in base.transaction:
            if item.action == dnf.transaction.PKG_INSTALL:
                install.append([str(item.pkg), item.pkg.reponame, item.pkg.location])
            else:
                other.append(["%s %s" % (dnf.transaction.ACTIONS.get(item.action, item.action), item.pkg)])
        return {"install": sorted(install), "other": sorted(other), "cpu_s": time.process_time() - began}

    def builddep(self):
        if self.command is None:
            self.command = builddep()(Cli(self.base))
            self.command.opts = Opts
        return self.command

    def found(self, text):
        for key in ["provides"] + ["file"] * text.startswith("/"):
            selector = dnf.selector.Selector(self.base.sack)
            selector.set(**{key: text})
            if selector.matches():
                return True
        return False

    def close(self):
        self.command = None
        self.base.close()


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        jobs = json.load(file)
    import logging
    logging.disable(logging.CRITICAL)
    folder, setup, weak, root = jobs["folder"], jobs["setup"], jobs["weak"], jobs.get("root")
    empty = folder + "/empty"
    os.makedirs(empty, exist_ok=True)

    def both(at, repositories):
        """Of the setup and of the builds; one of the builds alone where there is no root with the setup."""
        first = Resolver(at, repositories, empty, weak)
        return first, Resolver(at, repositories, root, weak) if root else first

    before, full = both(folder + "/full", jobs["full"])
    result = before.resolve(setup, [])
    print(json.dumps({"name": "", "full": result, "loaded_s": before.loaded_s}), flush=True)
    words = [] if root else setup
    for number, build in enumerate(jobs["builds"]):
        line = {"name": build["name"], "full": full.resolve(words, build["requires"])}
        if build.get("thin"):
            at = "%s/thin-%d" % (folder, number)
            try:
                before, thin = both(at, [["thin", build["thin"], 1, True]])
            except dnf.exceptions.Error as why:
                line["thin"] = line["thin_setup"] = {"error": "%s" % why}
            else:
                line["thin_setup"] = before.resolve(setup, [])
                line["thin"] = thin.resolve(words, build["requires"])
                line["loaded_s"] = thin.loaded_s
                before.close()
                thin.close()
        print(json.dumps(line), flush=True)


main()
