"""What the scripts that measure Graft beside its peers share: an environment with the peers, the model files, processes
that wait for their turn, and the form of the results. Needs the standard library alone; what needs more is peers.py, which
runs in that environment."""
import argparse
import functools
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
MODELS = HERE.parent / "models"
PACKAGES = ("torch==2.13.0", "numpy", "pillow", "onnx", "onnxruntime", "openvino")
WISHED_FOR = ("nncf",)  # without it OpenVINO's int8 is ONNX Runtime's
LAST_LINES = 3


def parser(description):
    """Options that all of these scripts have."""
    p = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--build", type=pathlib.Path, default=pathlib.Path("build/release"), help="where Graft was built, with GRAFT_BUILD_BENCHMARKS")
    p.add_argument("--place", type=pathlib.Path, default=pathlib.Path("build/bench"), help="where the peers' environment and the model files go, and stay")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--threads", type=int, default=2, help="of every subject")
    p.add_argument("--json", type=pathlib.Path, help="writes all figures to this file")
    return p


def environment(place):
    """The Python of a virtual environment with the peers, made if it is not there or was made for other packages."""
    folder, wanted = place / "venv", " ".join((*PACKAGES, *WISHED_FOR))
    stamp, python = folder / "bench-stamp", folder / "bin" / "python"
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    print(f"installing {wanted} into {folder}", file=sys.stderr)
    subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
    install = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    subprocess.run([*install, *PACKAGES], check=True)
    for package in WISHED_FOR:
        if subprocess.run([*install, package]).returncode != 0:
            print(f"{package} cannot be installed here", file=sys.stderr)
    stamp.write_text(wanted)
    return python


class Unavailable(Exception):
    """A subject cannot run; the text says why."""


def last_words(text):
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return "; ".join(lines[-LAST_LINES:]) or "it says nothing"


class Files:
    """The networks' files for each subject, with random weights, made when they are first asked for and kept."""

    def __init__(self, place, build, python):
        self.folder, self.graft, self.python = place / "models", build / "graft", python
        self.folder.mkdir(parents=True, exist_ok=True)

    def path(self, network, kind):
        """`kind` is pt, onnx or xml (OpenVINO's), behind "int8." if quantised. Throws Unavailable."""
        path = self.folder / f"{network}.{kind}"
        if not path.exists():
            print(f"making {path}", file=sys.stderr)
            self.make(network, kind, path)
        return path

    @functools.cache
    def calibration(self):
        folder = self.folder / "calibration"
        if not folder.exists():
            self.call(self.python, HERE / "peers.py", "pictures", folder)
        return folder

    def photo(self):
        return sorted(self.calibration().iterdir())[0]

    def make(self, network, kind, path):
        peers, source = (self.python, HERE / "peers.py"), functools.partial(self.path, network)
        if kind == "pt":
            self.call(self.python, MODELS / "export_torchscript.py", network, "--weights", "random", "--out", path)
        elif kind == "onnx":
            self.call(self.python, MODELS / "export_onnx.py", source("pt"), "--out", path)
        elif kind == "xml":
            self.call(*peers, "openvino", source("onnx"), path)
        elif kind == "int8.pt":
            self.call(self.graft, "quantize", source("pt"), "--calibration", self.calibration(), "--out", path)
        elif kind == "int8.onnx":
            self.call(*peers, "quantize-onnx", source("onnx"), self.calibration(), path)
        elif kind == "int8.xml":
            try:
                self.call(*peers, "quantize-openvino", source("onnx"), self.calibration(), path)
            except Unavailable as error:
                print(f"{path}: from ONNX Runtime's quantised model: {error}", file=sys.stderr)
                self.call(*peers, "openvino", source("int8.onnx"), path)

    @staticmethod
    def call(*command):
        result = subprocess.run([str(part) for part in command], capture_output=True, text=True)
        if result.returncode != 0:
            raise Unavailable(last_words(result.stderr))


class Subject:
    """A process that has prepared itself and waits: it prints "ready", and a line of figures for each line it is given."""

    def __init__(self, command, environment=None):
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen([str(part) for part in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors,
                                        text=True, env=os.environ | (environment or {}))
        self.expect("ready")

    def expect(self, *words):
        line = self.process.stdout.readline().strip()
        if line and (not words or line in words):
            return line
        self.close()
        self.errors.seek(0)
        raise Unavailable(last_words(self.errors.read()))

    def figures(self, line):
        print(line, file=self.process.stdin, flush=True)
        return [float(word) for word in self.expect().split()]

    def figure(self, line):
        return self.figures(line)[0]

    def peak_mb(self):
        """The most memory it ever held, its libraries' pages included."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def median_ratio(ours, theirs):
    """Of the rounds' ratios, which a machine that others use as well spoils less than a ratio of medians."""
    return statistics.median(a / b for a, b in zip(ours, theirs))


def machine():
    with open("/proc/cpuinfo") as file:
        model = next((line.split(":")[1].strip() for line in file if line.startswith("model name")), platform.machine())
    return {"processor": model, "cores": os.cpu_count(), "system": platform.platform(), "load": os.getloadavg()[0]}


def write_json(path, **content):
    if path:
        path.write_text(json.dumps({"machine": machine(), **content}, indent=1) + "\n")


def print_row(cells):
    print(f"| {' | '.join(str(cell) for cell in cells)} |", flush=True)


def print_header(cells):
    print_row(cells)
    print("|" + "---|" * len(cells), flush=True)
