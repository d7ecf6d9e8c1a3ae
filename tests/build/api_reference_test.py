#!/usr/bin/env python3
"""The API reference: made without a warning, complete, and a warning is an error.

    api_reference_test.py CMAKE BUILD_DIR DOXYGEN
"""
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
CMAKE, BUILD, DOXYGEN = sys.argv[1:]
del sys.argv[1:]


class ApiReference(unittest.TestCase):
    def test_the_target_writes_a_page_for_every_class_and_header(self):
        result = subprocess.run([CMAKE, "--build", BUILD, "--target", "docs"], capture_output=True, text=True)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        html = pathlib.Path(BUILD) / "api" / "html"
        self.assertIn("Where to begin", (html / "index.html").read_text())
        pages = {page.name for page in html.iterdir()}
        checked = 0
        for header in sorted((ROOT / "include" / "graft").glob("*.h")):
            self.assertIn(header.stem.replace("_", "__") + "_8h.html", pages)
            for kind, name in re.findall(r"^(class|struct) (?:GRAFT_EXPORT )?(\w+)(?: final)?(?: : [^{]+)? \{", header.read_text(), re.M):
                self.assertTrue(any(re.fullmatch(rf"{kind}graft_1_1(?:\w+_1_1)?{name}\.html", page) for page in pages),
                                f"{header.name}: no page for {kind} {name}")
                checked += 1
        self.assertGreater(checked, 30)

    def script(self, header):
        with tempfile.TemporaryDirectory() as scratch:
            include = pathlib.Path(scratch) / "include"
            shutil.copytree(ROOT / "include" / "graft", include / "graft")
            (include / "graft" / "more.h").write_text(header)
            return subprocess.run([CMAKE, f"-DGRAFT_DOXYGEN={DOXYGEN}", f"-DGRAFT_DOCS_INCLUDE={include}",
                                   f"-DGRAFT_DOCS_OUTPUT={scratch}/api", "-P", str(ROOT / "cmake" / "GraftDocs.cmake")],
                                  capture_output=True, text=True)

    def test_what_lacks_a_comment_or_has_a_wrong_one_is_named(self):
        top = "/// Things.\n#pragma once\nnamespace graft {\n"
        fine = self.script(top + "/// A thing.\nstruct Thing {\n  int size_px = 1;\n  bool big() const;\n};\n}  // namespace graft\n")
        self.assertEqual(fine.returncode, 0, fine.stderr)
        for declaration, named in (("struct Bare {\n  int x = 0;\n};", "Bare"), ("void bare(int x);", "bare"), ("enum class Bare { kA };", "Bare"),
                                   ("/// \\param y no such thing\nvoid bare(int x);", "y"), ("/// See \\ref nowhere.\nvoid f();", "nowhere")):
            result = self.script(top + declaration + "\n}  // namespace graft\n")
            self.assertNotEqual(result.returncode, 0, declaration)
            self.assertRegex(result.stderr, rf"more\.h:\d+: warning: .*\b{named}\b")


if __name__ == "__main__":
    unittest.main()
