#!/usr/bin/env python3
"""The code in README.md and docs/: C++ blocks compile, Python blocks parse, shell blocks parse, and every option that a
`graft` command is shown with exists.

    docs_test.py COMPILER INCLUDE_DIR...          (GRAFT_PROGRAM: the program)
"""
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
COMPILER, *INCLUDES = sys.argv[1:]
del sys.argv[1:]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "models" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(language):
    """(page:line, text) of every fenced block in this language."""
    for page in PAGES:
        text = page.read_text()
        for found in re.finditer(rf"^```{language}\n(.*?)^```", text, re.M | re.S):
            yield f"{page.relative_to(ROOT)}:{text.count(chr(10), 0, found.start()) + 2}", found[1]


def as_functions(cpp_blocks):
    """One source file: the blocks' includes first, then each block as a function of its own."""
    includes, functions = {"#include <graft/graft.h>", "#include <cstdio>"}, []
    for number, (place, text) in enumerate(cpp_blocks):
        lines = text.split("\n")
        includes |= {line for line in lines if line.startswith("#include")}
        body = "\n".join("" if line.startswith("#include") else line for line in lines)
        page, line = place.split(":")
        position = f'#line {line} "{page}"\n'
        if "int main(" in body:
            functions.append(position + body.replace("int main(", f"int block_{number}("))
        else:
            functions.append(f"void block_{number}() {{\n{position}{body}}}")
    return "\n".join(sorted(includes)) + "\n" + "\n".join(functions)


class Documents(unittest.TestCase):
    def test_cpp_compiles(self):
        found = list(blocks("cpp"))
        self.assertGreater(len(found), 5)
        with tempfile.TemporaryDirectory() as scratch:
            source = pathlib.Path(scratch) / "documents.cpp"
            source.write_text(as_functions(found))
            result = subprocess.run([COMPILER, "-std=c++20", "-fsyntax-only", *(f"-I{d}" for d in INCLUDES), str(source)],
                                    capture_output=True, text=True)
        self.assertEqual(result.returncode, 0, result.stderr)

    def test_python_parses(self):
        for place, text in blocks("python"):
            compile(text, place, "exec")

    def test_shell_parses(self):
        for place, text in blocks("sh"):
            result = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True)
            self.assertEqual(result.returncode, 0, f"{place}: {result.stderr}")

    def test_options_exist(self):
        program = os.environ["GRAFT_PROGRAM"]
        checked = 0
        for place, text in blocks("sh"):
            for line in text.replace("\\\n", " ").split("\n"):
                found = re.match(r"\s*(?:\S*/)?graft\s+(\w+)([^#]*)", line)
                if not found:
                    continue
                help_text = subprocess.run([program, found[1], "--help"], capture_output=True, text=True)
                self.assertEqual(help_text.returncode, 0, f"{place}: graft {found[1]}")
                for option in re.findall(r"--[\w-]+", found[2]):
                    self.assertRegex(help_text.stdout, rf"{option}\b", f"{place}: graft {found[1]} {option}")
                checked += 1
        self.assertGreater(checked, 4)

    def test_links_lead_somewhere(self):
        for page in PAGES:
            for target in re.findall(r"\]\((?!http)([^)#]+)[^)]*\)", page.read_text()):
                self.assertTrue((page.parent / target).exists(), f"{page.relative_to(ROOT)}: {target}")


if __name__ == "__main__":
    unittest.main()
