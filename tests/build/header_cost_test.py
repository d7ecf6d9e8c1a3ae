#!/usr/bin/env python3
"""Every public header compiles alone, with warnings that users may have switched on, and what it costs, compiled in turn in one run:
a program that includes <graft/graft.h> and classifies one picture takes at most 0.2 of the time of an empty main behind
<torch/torch.h>; every public header takes at most twice the time of ATen/core/Tensor.h, but graft/custom_head.h, which is
for those who write torch::nn modules anyway. Times are what the compiler used of a processor, the fastest of 3, or of 1 where that is
within bounds: what else the machine does can only lengthen them. Prints the table of docs/performance.md.

    header_cost_test.py CXX INCLUDE_DIR...
"""
import math
import pathlib
import resource
import subprocess
import sys
import tempfile

from public_headers import include_options, public_headers, WARNINGS

PROGRAM = """#include <graft/graft.h>
int main(int, char** argv) {
  const auto model = graft::Model::load(argv[1]);
  return static_cast<int>(model.classify(graft::Image::read(argv[2])).front().index);
}
"""
PROGRAM_LIMIT = 0.2
TENSOR = "ATen/core/Tensor.h"
HEADER_LIMIT = 2.0
UNBOUND = {"graft/custom_head.h"}


def compiler_seconds():
    """What children that have ended used of the processors."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main():
    compiler, folders = sys.argv[1], sys.argv[2:]
    options = ["-std=c++20", "-O2", *WARNINGS, *include_options(folders)]
    headers = public_headers(folders)
    sources = {name: f"#include <{name}>\nint main() {{}}\n" for name in ["torch/torch.h", TENSOR, *headers]}
    sources["program"] = PROGRAM
    fastest = {}

    def measure(name):
        with tempfile.TemporaryDirectory() as folder:
            source = pathlib.Path(folder) / "program.cpp"
            source.write_text(sources[name])
            start = compiler_seconds()
            subprocess.run([compiler, *options, "-c", str(source), "-o", f"{folder}/program.o"], check=True)
            fastest[name] = min(fastest.get(name, math.inf), compiler_seconds() - start)

    def is_too_dear(name):
        return name not in UNBOUND and fastest[name] > HEADER_LIMIT * fastest[TENSOR]

    for _ in range(3):
        for name in ["torch/torch.h", TENSOR, "program"]:
            measure(name)
        if fastest["program"] <= PROGRAM_LIMIT * fastest["torch/torch.h"]:
            break
    for name in headers:
        measure(name)
    for name in 2 * [name for name in headers if is_too_dear(name)]:
        measure(name)

    print("| header | compiled in | of ATen/core/Tensor.h |\n|---|---|---|")
    for name in [TENSOR, *headers, "torch/torch.h"]:
        print(f"| `{name}` | {fastest[name]:.2f} s | {fastest[name] / fastest[TENSOR]:.2f} |")
    program = fastest["program"] / fastest["torch/torch.h"]
    print(f"graft.h and a program that classifies: {fastest['program']:.2f} s, {program:.3f} of torch/torch.h, at most {PROGRAM_LIMIT}")
    too_dear = [name for name in headers if is_too_dear(name)]
    for name in too_dear:
        print(f"{name} costs more than {HEADER_LIMIT} of {TENSOR}")
    sys.exit(program > PROGRAM_LIMIT or bool(too_dear))


if __name__ == "__main__":
    main()
