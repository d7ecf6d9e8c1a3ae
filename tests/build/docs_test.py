#!/usr/bin/env python3
"""Every code block of README.md and docs/ is checked, by its language:

    cpp     compiles; a page's program that a cmake block builds is built and run
    python  is run, a page's blocks one after the other; "# Keras" in the first line: only parsed, as "# needs a server" is,
            and what reads Parquet where this build has no Apache Arrow
    sh      each command runs, or is checked by a rule of RULES
    cmake   is configured against an installed Graft
    pbtxt   is what the page's `graft export` wrote
    text    is shown: trees and output

Any other language, none, or a command without a rule is an error. Pages run in scratch folders where graft_mini.pt stands in
for the networks they name and drawn pictures for photos.

    docs_test.py COMPILER CMAKE BUILD_DIR TORCH_DIR INCLUDE_DIR...          (GRAFT_PROGRAM: the program)
"""
import collections
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

from PIL import Image

from public_headers import public_headers

ROOT = pathlib.Path(__file__).resolve().parents[2]
COMPILER, CMAKE, BUILD, TORCH, *INCLUDES = sys.argv[1:]
del sys.argv[1:]
GRAFT = os.environ["GRAFT_PROGRAM"]
os.environ["OMP_NUM_THREADS"] = "1"  # the networks are small; beside other tests, two threads wait for each other
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "models" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PRESETS = json.loads((ROOT / "CMakePresets.json").read_text())

Block = collections.namedtuple("Block", "page place language text")
CHECKED = collections.Counter()


def blocks(page):
    text = page.read_text()
    for found in re.finditer(r"^```([^\n]*)\n(.*?)^```$", text, re.M | re.S):
        yield Block(page, f"{page.relative_to(ROOT)}:{text.count(chr(10), 0, found.start()) + 2}", found[1], found[2])


BLOCKS = [block for page in PAGES for block in blocks(page)]


def of(language):
    return [block for block in BLOCKS if block.language == language]


def is_program(block):
    return block.language == "cpp" and "int main(" in block.text


def as_functions(cpp_blocks):
    """One source file: the blocks' includes first, then each block as a function, or a program as a namespace of its own."""
    includes, functions = {"#include <graft/graft.h>", "#include <cstdio>"}, []
    for number, block in enumerate(cpp_blocks):
        lines = block.text.split("\n")
        includes |= {line for line in lines if line.startswith("#include")}
        body = "\n".join("" if line.startswith("#include") else line for line in lines)
        page, line = block.place.split(":")
        position = f'#line {line} "{page}"\n'
        if is_program(block):
            functions.append(f"namespace block_{number} {{\n{position}{body.replace('int main(', 'int program(')}}}")
        else:
            functions.append(f"void block_{number}() {{\n{position}{body}}}")
    return "\n".join(sorted(includes)) + "\n" + "\n".join(functions)


def commands(block):
    """The block's commands: lines without comments, continued ones joined, parted at &&."""
    for line in block.text.replace("\\\n", " ").split("\n"):
        line = re.sub(r"(^|\s)#.*", "", line)
        for command in line.split(" && "):
            if command.strip():
                yield re.sub(r"^time ", "", command.strip())


class Scratch:
    """Where a page's commands run."""

    def __init__(self, page):
        self.folder = tempfile.TemporaryDirectory()
        self.path = pathlib.Path(self.folder.name)
        for name in ("models", "bench", "examples", "cmake", ".venv"):
            (self.path / name).symlink_to(ROOT / name)
        pictures = sorted((ROOT / "examples" / "images").iterdir())
        for part in ("data/train", "data/val", "photos", "imagenet_sample"):
            for picture in pictures:
                folder = self.path / part / ("letter" if picture.stem.startswith("letter") else "shape")
                folder.mkdir(parents=True, exist_ok=True)
                shutil.copy(picture, folder)
        page_text = page.read_text()
        for name in sorted(set(re.findall(r"(?<![\w/.-])[\w-]+\.(?:jpg|png)\b", page_text))):
            Image.open(pictures[-1]).convert("RGB").save(self.path / name)
        for name in sorted(set(re.findall(r"(?<![\w.-])sections/\w+\.csv\b", page_text))):
            (self.path / "sections").mkdir(exist_ok=True)
            texts = [f"{word},{label}" for label in ("games", "math") for word in f"{label} are {label}/a {label} of chess/some {label}".split("/")]
            (self.path / name).write_text("\n".join(["text,label", *texts * 3]) + "\n")
        (self.path / "lines.txt").write_text("chess\na proof\n")
        for name in sorted(set(re.findall(r"(?<![\w/.-])[\w-]+\.pt\b", page_text))):
            if name in ("minilm.pt", "encoder.pt"):
                shutil.copy(ROOT / "tests" / "golden" / "text" / "tiny.pt", self.path / name)
                continue
            shutil.copy(Documents.tuned if name in ("mine.pt", "better.pt", "model.pt", "ten-classes.pt") else ROOT / "models" / "graft_mini.pt",
                        self.path / name)
        (self.path / "bin").mkdir()
        (self.path / "bin" / "graft").symlink_to(GRAFT)
        self.close = self.folder.cleanup
        self.environment = os.environ | {"PATH": f"{self.path / 'bin'}:{os.environ['PATH']}", "S": "0"}

    def run(self, command):
        return subprocess.run(["bash", "-c", command], cwd=self.path, env=self.environment, capture_output=True, text=True)


class Refused(Exception):
    pass


def demand(condition, message):
    if not condition:
        raise Refused(message)


def finished(result):
    demand(result.returncode == 0, f"exit status {result.returncode}: {result.stdout[-2000:]}{result.stderr[-2000:]}")
    return "run"


def run_graft(command, scratch):
    """All options exist; runs, for one epoch."""
    name = command.split()[1]
    help_text = subprocess.run([GRAFT, name, "--help"], capture_output=True, text=True)
    demand(help_text.returncode == 0, f"there is no command {name}")
    for option in re.findall(r"(?<!\S)--[\w-]+", command):
        demand(re.search(rf"{option}\b", help_text.stdout), f"graft {name} has no {option}")
    if re.search(r"quantize|int8", command) and "vnni" not in pathlib.Path("/proc/cpuinfo").read_text():
        return "checked"  # no int8 arithmetic in this processor
    if "--format parquet" in command and os.environ.get("GRAFT_PARQUET") != "ON":
        return "checked"
    if "minilm.pt" in command:
        command = re.sub(r"stages:\d", "stages:2", command)  # the small one has three
    return finished(scratch.run(re.sub(r"--epochs \d+", "--epochs 1", command)))


def run_processes(command, scratch):
    """Runs under mpirun as run_graft does, with two processes, if this build has MPI; srun is not here."""
    words = command[re.search(r"\bgraft \w+", command).start():]
    mpirun = os.environ.get("GRAFT_MPIRUN")
    if not mpirun or command.startswith("srun"):
        return "checked"
    return finished(scratch.run(f"{mpirun} -np 2 {re.sub(r'--epochs [0-9]+', '--epochs 1', words)}"))


RUNNABLE = ("models/bag_of_words.py", "models/digits_folder.py", "models/reset_weights.py", "models/export_onnx.py", "models/check_in_python.py")


def run_python(command, scratch):
    """The script exists and knows its options; it runs unless it fetches, trains or measures for long."""
    script, *arguments = command.split()[1:]
    file = ROOT / script if (ROOT / script).exists() else ROOT / "models" / script  # after a cd models
    demand(file.exists(), f"there is no {script}")
    known = file.read_text()
    if re.search(r"^import common$", known, re.MULTILINE):
        known += (file.parent / "common.py").read_text()
    for option in re.findall(r"(?<!\S)--[\w-]+", command):
        demand(f'"{option}"' in known, f"{script} has no {option}")
    if script in RUNNABLE or "--weights random" in command:
        return finished(scratch.run(re.sub(r"^\S+", ".venv/bin/python", command)))
    return "checked"


def check_script(command, scratch):
    script = ROOT / command.split()[1]
    demand(script.exists(), f"there is no {script.name}")
    demand(subprocess.run(["bash", "-n", str(script)]).returncode == 0, f"{script.name} does not parse")
    return "checked"


def check_preset(command, scratch):
    """Presets exist, and a program that is asked for is one that this project has."""
    kind = "test" if command.startswith("ctest") else "build" if "--build" in command else "configure"
    name = re.search(r"--preset[ =]([\w-]+)", command)[1]
    demand(any(preset["name"] == name for preset in PRESETS[f"{kind}Presets"]), f"there is no {kind} preset {name}")
    target = re.search(r"--target (\S+)", command)
    if target:
        known = subprocess.run([CMAKE, "--build", BUILD, "--target", "help"], capture_output=True, text=True).stdout
        demand(re.search(rf"^{re.escape(target[1])}:", known, re.M), f"there is no target {target[1]}")
    return "checked"


def check_build_folder(command, scratch):
    name = re.search(r"build/([\w-]+)", command)[1]
    demand(any(preset["name"] == name for preset in PRESETS["configurePresets"]), f"no preset builds in build/{name}")
    return "checked"


def check_folder(command, scratch):
    demand((ROOT / command.split()[1]).is_dir(), "there is no such folder")
    return "checked"


def run_shell(command, scratch):
    return finished(scratch.run(command))


def show(command, scratch):
    return "shown"


# The first that fits decides. A command that may run here, runs.
RULES = [
    (r"graft \w+", run_graft),
    (r"(mpirun|srun) .*\bgraft \w+", run_processes),
    (r"mpirun .*\bbuild/", show),
    (r"(\S*/)?python3? \S+\.py\b", run_python),
    (r"bash \S+\.sh\b", check_script),
    (r"(cmake|ctest) .*--preset\b", check_preset),
    (r"cmake --install build/", check_build_folder),
    (r"cd \S+$", check_folder),
    (r"sha256sum [\w.]+ > [\w.]+$", run_shell),
    # What a reader does in folders of their own, or with programs that are not here. test_cmake_configures does the first.
    (r"cmake (-S \S+ -B|--build) \S+", show),
    (r"\./build/\S+", show),
    (r"g\+\+ .*pkg-config", show),  # package_test.sh does it
    (r"export \w+=", show),
    (r"(\S*/)?python3? -m (pip|venv)\b", show),
    (r"\S+/bin/pip install\b", show),
    (r"(sudo )?(apt-get|docker|git|tritonserver|vcpkg|conan)\b", show),
]


def configure(source, prefix):
    return subprocess.run([CMAKE, "-S", source, "-B", source / "build", "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release",
                           f"-DCMAKE_PREFIX_PATH={prefix}", f"-DCMAKE_CXX_COMPILER={COMPILER}", f"-DTorch_DIR={TORCH}"],
                          capture_output=True, text=True)


class Documents(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.shared = tempfile.TemporaryDirectory()
        cls.tuned = ROOT / "models" / "graft_mini.pt"  # what the first scratch folder is filled with
        scratch = Scratch(ROOT / "README.md")
        finished(scratch.run("graft finetune models/graft_mini.pt --train data/train --val data/val --out tuned.pt --epochs 8 --lr 0.02"))
        cls.tuned = pathlib.Path(cls.shared.name) / "tuned.pt"
        shutil.copy(scratch.path / "tuned.pt", cls.tuned)
        scratch.close()

    @classmethod
    def tearDownClass(cls):
        cls.shared.cleanup()
        print("\n" + ", ".join(f"{what}: {count}" for what, count in sorted(CHECKED.items())), file=sys.stderr)

    def test_every_block_has_a_known_language(self):
        known = {"cpp", "python", "sh", "cmake", "pbtxt", "text"}
        for block in BLOCKS:
            self.assertIn(block.language, known, f"{block.place}: a block that nothing checks")
        for page in PAGES:  # no block that the pattern above did not see, indented ones among them
            fences = re.findall(r"^\s*(?:```|~~~)", page.read_text(), re.M)
            self.assertEqual(len(fences), 2 * sum(block.page == page for block in BLOCKS), page)
        CHECKED["text shown"] = len(of("text"))

    def test_cpp_compiles(self):
        known = public_headers(INCLUDES)
        found = [block for block in of("cpp") if set(re.findall(r"#include <(graft/[^>]+)>", block.text)) <= set(known)]
        self.assertGreater(len(found), 8)
        with tempfile.TemporaryDirectory() as scratch:
            source = pathlib.Path(scratch) / "documents.cpp"
            source.write_text(as_functions(found))
            result = subprocess.run([COMPILER, "-std=c++20", "-fsyntax-only", *(f"-I{d}" for d in INCLUDES), str(source)],
                                    capture_output=True, text=True)
        self.assertEqual(result.returncode, 0, result.stderr)
        CHECKED["cpp compiled"] = len(found)

    def run_commands(self, block, scratch):
        parsed = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True)
        self.assertEqual(parsed.returncode, 0, f"{block.place}: {parsed.stderr}")
        for command in commands(block):
            handler = next((handler for pattern, handler in RULES if re.match(pattern, command)), None)
            self.assertIsNotNone(handler, f"{block.place}: no rule of docs_test.py checks: {command}")
            try:
                CHECKED[f"sh commands {handler(command, scratch)}"] += 1
            except Refused as error:
                self.fail(f"{block.place}: {command}: {error}")

    def run_python_block(self, block, names):
        code = compile(block.text, block.place, "exec")
        if re.match(r"# (Keras|needs a server)", block.text) or "pyarrow" in block.text and os.environ.get("GRAFT_PARQUET") != "ON":
            CHECKED["python parsed"] += 1
            return
        names.pop("label", None)
        try:
            exec(code, names)
        except Exception as error:
            self.fail(f"{block.place}: {error!r}")
        CHECKED["python run"] += 1
        if "label" in names:  # the block classified photo.jpg with mine.pt: so does the program
            answer = subprocess.run([GRAFT, "classify", "mine.pt", "photo.jpg", "--json", "--quiet"], check=True, capture_output=True)
            top = json.loads(answer.stdout)["predictions"][0]["top"][0]
            self.assertEqual(names["label"], top["label"], block.place)
            self.assertAlmostEqual(float(names["probability"]), top["probability"], delta=1e-3, msg=block.place)
            CHECKED["python compared with graft classify"] += 1

    def compare_config(self, block, scratch):
        written = [file.read_text() for file in scratch.path.rglob("config.pbtxt")]
        self.assertIn(block.text, written, f"{block.place}: not what graft export writes")
        CHECKED["pbtxt compared"] += 1

    def test_commands_and_python_run(self):
        import torch
        here = os.getcwd()
        self.addCleanup(os.chdir, here)
        for page in PAGES:
            page_blocks = [block for block in BLOCKS if block.page == page and block.language in ("sh", "python", "pbtxt")]
            if not page_blocks:
                continue
            scratch = Scratch(page)
            os.chdir(scratch.path)
            names = {"batch": torch.zeros(2, 3, 64, 64)}
            for block in page_blocks:
                if block.language == "sh":
                    self.run_commands(block, scratch)
                elif block.language == "python":
                    self.run_python_block(block, names)
                else:
                    self.compare_config(block, scratch)
            os.chdir(here)
            scratch.close()
        self.assertGreater(CHECKED["sh commands run"], 20)
        self.assertGreater(CHECKED["python run"], 2)
        self.assertGreaterEqual(CHECKED["python compared with graft classify"], 2)

    def test_cmake_configures(self):
        found = of("cmake")
        self.assertGreater(len(found), 1)
        with tempfile.TemporaryDirectory() as folder:
            prefix = pathlib.Path(folder) / "prefix"
            result = subprocess.run([CMAKE, "--install", BUILD, "--prefix", prefix], capture_output=True, text=True)
            self.assertEqual(result.returncode, 0, result.stderr)
            for number, block in enumerate(found):
                source = pathlib.Path(folder) / str(number)
                source.mkdir()
                (source / "graft").symlink_to(ROOT)
                programs = [other for other in BLOCKS if other.page == block.page and is_program(other)]
                whole = "project(" in block.text
                (source / "main.cpp").write_text(programs[0].text if whole else "int main() {}\n")
                (source / "CMakeLists.txt").write_text(block.text if whole else
                    f"cmake_minimum_required(VERSION 3.25)\nproject(app CXX)\nadd_executable(app main.cpp)\n{block.text}")
                result = configure(source, prefix)
                self.assertEqual(result.returncode, 0, f"{block.place}: {result.stdout}{result.stderr}")
                CHECKED["cmake configured"] += 1
                if not whole:
                    continue
                result = subprocess.run([CMAKE, "--build", source / "build"], capture_output=True, text=True)
                self.assertEqual(result.returncode, 0, f"{block.place}: {result.stdout}{result.stderr}")
                scratch = Scratch(block.page)
                finished(scratch.run(str(source / "build" / "app")))
                scratch.close()
                CHECKED["programs built and run"] += 1
        self.assertGreater(CHECKED["programs built and run"], 0)

    def test_links_lead_somewhere(self):
        for page in PAGES:
            prose = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
            for target in re.findall(r"\]\((?!http)([^)#]+)[^)]*\)", prose):
                self.assertTrue((page.parent / target).exists(), f"{page.relative_to(ROOT)}: {target}")

    def test_files_that_are_named_exist(self):
        checked = 0
        for page in PAGES:
            for path in re.findall(r"`((?:src|include|tests|models|cmake|docs|examples|bench)/[\w./-]+)`", page.read_text()):
                if "NAME" not in path:
                    self.assertTrue((ROOT / path).exists(), f"{page.relative_to(ROOT)}: {path}")
                    checked += 1
        self.assertGreater(checked, 50)

    def test_every_page_is_listed(self):
        readme = (ROOT / "README.md").read_text()
        for page in sorted((ROOT / "docs").glob("*.md")):
            self.assertIn(f"(docs/{page.name})", readme, f"README.md does not lead to docs/{page.name}")


if __name__ == "__main__":
    unittest.main()
