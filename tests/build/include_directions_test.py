#!/usr/bin/env python3
"""Includes run only in the directions of docs/design.md: walks the include graph and fails on any other arrow."""
import pathlib
import re
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]

# What each room may include besides itself and the public headers.
SEES = {
    "base": set(),
    "image": {"base"},
    "text": {"base"},
    "data": {"base", "image", "text"},
    "graph": {"base"},
    "engine": {"base", "graph"},
    "model": {"base", "image", "text", "graph", "engine"},
    "explain": {"base", "image", "engine", "model"},
    "dist": {"base"},
    "train": {"base", "data", "model", "dist"},
    "testing": {"base", "model", "train"},
    "report": {"base", "train"},
    "cli": set(),
    "opencv": set(),
}
# Headers of libraries that stay in their rooms, or in the file named.
CONFINED = {
    r"torch/csrc/jit|torch/script\.h|caffe2/serialize": {"graph", "engine"},
    r"opencv2/|stb_image": {"image", "opencv", "opencv.h"},
    r"CLI/": {"cli"},
    r"mpi\.h": {"dist"},
    r"(arrow|parquet)/": {"parquet_module.cpp"},
    r"nlohmann/": {"base", "model", "report", "cli"},
    r"openssl/": {"base"},
    r"unicode/": {"text"},
    r"torch/torch\.h|torch/nn": {"custom_head.h"},
}
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)


def violations(root):
    found = []
    sources = [p for folder in ("src", "include", "examples") for p in sorted((root / folder).rglob("*"))
               if p.suffix in (".h", ".cpp", ".in") and p.is_file()]
    for path in sources:
        parts = path.relative_to(root).parts
        room = parts[1] if parts[0] == "src" and len(parts) > 2 else parts[0]
        for bracket, header in INCLUDE.findall(path.read_text()):
            where = f"{path.relative_to(root)} includes {header}"
            for pattern, rooms in CONFINED.items():
                if re.match(pattern, header) and not rooms & {room, path.name}:
                    found.append(f"{where}: only {sorted(rooms)} may")
            if bracket == '"':
                target = header.split("/")[0]
                if room == "examples" and (path.parent / header).is_file():
                    continue  # examples may share a head
                if room in ("include", "examples"):
                    found.append(f"{where}: only <graft/...> may be included here")
                elif target != room and target not in SEES.get(room, set()):
                    found.append(f"{where}: {room} does not see {target}")
    return found


class IncludeDirections(unittest.TestCase):
    def test_every_room_is_known(self):
        rooms = {p.name for p in (ROOT / "src").iterdir() if p.is_dir() and any(p.iterdir())}
        self.assertLessEqual(rooms, set(SEES))

    def test_no_include_runs_the_wrong_way(self):
        self.assertEqual(violations(ROOT), [])

    def test_planted_violations_are_found(self):
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            for name, text in {"src/image/a.cpp": '#include "model/impl.h"\n', "src/train/b.cpp": "#include <torch/script.h>\n",
                               "src/cli/c.cpp": '#include "base/text.h"\n', "examples/d.cpp": '#include "model/impl.h"\n',
                               "src/data/e.cpp": "#include <opencv2/core.hpp>\n"}.items():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_text(text)
            self.assertEqual(len(violations(root)), 5)

    def test_public_headers_are_short(self):
        for path in (ROOT / "include" / "graft").glob("*.h"):
            self.assertLessEqual(len(path.read_text().splitlines()), 150, path.name)

    def test_examples_are_short(self):
        for path in (ROOT / "examples").glob("*.cpp"):
            self.assertLessEqual(len(path.read_text().splitlines()), 100, path.name)


if __name__ == "__main__":
    unittest.main()
