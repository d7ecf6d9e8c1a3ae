#!/usr/bin/env python3
"""The recipes of cmake/vcpkg and cmake/conan name this version and options that exist; the port's portfile is run with
vcpkg's functions replaced by ones that write down how they were called; where conan is installed, it reads its recipe and
takes the sources from a tag.
"""
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROJECT = (ROOT / "CMakeLists.txt").read_text()
VERSION = re.search(r"project\(graft VERSION ([\d.]+)", PROJECT)[1]
OPTIONS = set(re.findall(r"(?:option|set)\((GRAFT_\w+)", PROJECT)) | {"BUILD_SHARED_LIBS"}
NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")

# What the portfile calls of vcpkg. Each call becomes a line of the output: its name and its arguments.
VCPKG = """cmake_minimum_required(VERSION 3.25)
foreach(name vcpkg_cmake_configure vcpkg_cmake_install vcpkg_cmake_config_fixup vcpkg_fixup_pkgconfig vcpkg_install_copyright)
  cmake_language(EVAL CODE "function(${name})\n message(NOTICE \\"${name};\\${ARGN}\\")\nendfunction()")
endforeach()
function(vcpkg_from_git)
  message(NOTICE "vcpkg_from_git;${ARGN}")
  cmake_parse_arguments(ARG "" "OUT_SOURCE_PATH" "" ${ARGN})
  set(${ARG_OUT_SOURCE_PATH} /sources PARENT_SCOPE)
endfunction()
"""


def git(folder, *arguments):
    return subprocess.run(["git", "-C", str(folder), "-c", "user.name=test", "-c", "user.email=test@localhost", *arguments],
                          check=True, capture_output=True, text=True).stdout.strip()


def tagged_clone(scratch):
    """A repository with the files a recipe needs and the release's tag, and a clone of it."""
    origin = pathlib.Path(scratch) / "origin"
    origin.mkdir()
    for name in ("CMakeLists.txt", "LICENSE", "cmake", "tests/package"):
        source, target = ROOT / name, origin / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
    git(origin, "init", "-q")
    git(origin, "add", "-A", "-f")
    git(origin, "commit", "-q", "-m", "release")
    git(origin, "tag", f"v{VERSION}")
    git(scratch, "clone", "-q", str(origin), "clone")
    return origin, pathlib.Path(scratch) / "clone"


class Vcpkg(unittest.TestCase):
    def test_manifests(self):
        for name in ("graft", "consumer"):
            manifest = json.loads((ROOT / "cmake/vcpkg" / name / "vcpkg.json").read_text())
            self.assertLessEqual(set(manifest), {"name", "version", "description", "license", "supports", "dependencies", "features"})
            self.assertEqual(manifest["version"], VERSION)
            wanted = list(manifest["dependencies"])
            for feature, content in manifest.get("features", {}).items():
                self.assertTrue(NAME.fullmatch(feature), feature)
                self.assertTrue(content["description"])
                wanted += content.get("dependencies", [])
            for dependency in wanted:
                if isinstance(dependency, dict):
                    self.assertLessEqual(set(dependency), {"name", "host", "features", "default-features"})
                    dependency = dependency["name"]
                self.assertTrue(NAME.fullmatch(dependency), dependency)

    def run_portfile(self, folder, features=""):
        script = pathlib.Path(folder) / "run.cmake"
        script.write_text(f'{VCPKG}\nset(VERSION {VERSION})\nset(FEATURES "core;{features}")\n'
                          f'set(CURRENT_PORT_DIR "{folder}/clone/cmake/vcpkg/graft")\nset(CURRENT_PACKAGES_DIR "{folder}/packages")\n'
                          'include("${CURRENT_PORT_DIR}/portfile.cmake")\n')
        return subprocess.run(["cmake", "-P", str(script)], capture_output=True, text=True)

    def test_portfile(self):
        with tempfile.TemporaryDirectory() as folder:
            origin, clone = tagged_clone(folder)
            for features, expected, icu in (("", "OFF", "OFF"), ("opencv", "ON", "OFF"), ("text", "OFF", "ON")):
                result = self.run_portfile(folder, features)
                self.assertEqual(result.returncode, 0, result.stderr)
                calls = {line.split(";")[0]: line.split(";")[1:] for line in result.stderr.splitlines()}
                fetched = calls["vcpkg_from_git"]
                for key, value in (("URL", str(origin)), ("REF", git(origin, "rev-parse", "HEAD")), ("FETCH_REF", f"v{VERSION}")):
                    self.assertEqual(fetched[fetched.index(key) + 1], value)
                configured = calls["vcpkg_cmake_configure"]
                self.assertIn("/sources", configured)
                given = dict(re.fullmatch(r"-D(\w+)=(\w+)", option).groups() for option in configured if option.startswith("-D"))
                self.assertLessEqual(set(given), OPTIONS)
                self.assertEqual((given["GRAFT_WITH_OPENCV"], given["GRAFT_BUILD_OPENCV"], given["GRAFT_WITH_ICU"]), (expected, expected, icu))
                self.assertLessEqual({"vcpkg_cmake_install", "vcpkg_cmake_config_fixup", "vcpkg_install_copyright"}, set(calls))

            git(clone, "tag", "-d", f"v{VERSION}")
            result = self.run_portfile(folder)
            self.assertNotEqual(result.returncode, 0)
            self.assertIn(f"has no tag v{VERSION}", " ".join(result.stderr.split()))


class Conan(unittest.TestCase):
    RECIPE = ROOT / "cmake/conan/conanfile.py"

    def test_version_and_options(self):
        text = self.RECIPE.read_text()
        compile(text, str(self.RECIPE), "exec")
        self.assertIn(f'version = "{VERSION}"', text)
        used = set(re.findall(r"GRAFT_(?!REPOSITORY)\w+", text))
        self.assertGreater(len(used), 3)
        self.assertLessEqual(used, OPTIONS)

    @unittest.skipUnless(shutil.which("conan"), "conan is not installed")
    def test_conan_takes_the_tag(self):
        with tempfile.TemporaryDirectory() as folder:
            origin, clone = tagged_clone(folder)
            environment = {**os.environ, "CONAN_HOME": f"{folder}/home"}

            def conan(*arguments):
                result = subprocess.run(["conan", *arguments], cwd=clone, env=environment, capture_output=True, text=True)
                self.assertEqual(result.returncode, 0, result.stderr)
                return result.stdout

            conan("profile", "detect")
            conan("export", "cmake/conan")
            info = json.loads(conan("graph", "info", "--no-remote", f"--requires=graft/{VERSION}", "-s", "compiler.cppstd=20", "-o", "graft/*:shared=True",
                                    "-o", "graft/*:system_dependencies=True", "--format=json"))
            graft = next(node for node in info["graph"]["nodes"].values() if node["name"] == "graft")
            self.assertEqual(graft["conandata"]["repository"], str(origin))
            self.assertEqual(graft["options"]["shared"], "True")
            self.assertNotIn("fPIC", graft["options"])

            # source() itself, beside the recipe as exported.
            exported = pathlib.Path(conan("cache", "path", f"graft/{VERSION}").strip())
            conan("source", str(exported))
            self.assertEqual((exported / "src/CMakeLists.txt").read_text(), PROJECT)


if __name__ == "__main__":
    unittest.main()
