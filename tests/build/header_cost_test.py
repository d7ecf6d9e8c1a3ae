#!/usr/bin/env python3
"""What an include costs, compiled in turn in one run:
a program that includes <graft/graft.h> and classifies one picture takes at most 0.2 of the time of an empty main behind
<torch/torch.h>, medians of 3; every public header takes at most twice the time of ATen/core/Tensor.h, but graft/custom_head.h, which is
for those who write torch::nn modules anyway. Prints the table of docs/performance.md.

    header_cost_test.py CXX INCLUDE_DIR...
"""
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

from public_headers import public_headers

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


def main():
    compiler, folders = sys.argv[1], sys.argv[2:]
    includes = [f"-I{folder}" for folder in folders]
    headers = public_headers(folders)
    programs = {name: f"#include <{name}>\nint main() {{}}\n" for name in ["torch/torch.h", TENSOR, *headers]}
    programs["program"] = PROGRAM
    seconds = {name: [] for name in programs}
    with tempfile.TemporaryDirectory() as folder:
        for round_number in range(3):
            for name, program in programs.items():
                if round_number == 2 and name in headers:
                    continue  # two rounds are enough for a bound this wide
                source = pathlib.Path(folder) / "program.cpp"
                source.write_text(program)
                start = time.monotonic()
                subprocess.run([compiler, "-std=c++20", "-O2", "-w", *includes, "-c", str(source), "-o", f"{folder}/program.o"], check=True)
                seconds[name].append(time.monotonic() - start)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    fastest = {name: min(values) for name, values in seconds.items()}

    print("| header | fastest of 2 or 3 | of ATen/core/Tensor.h |\n|---|---|---|")
    for name in [TENSOR, *headers, "torch/torch.h"]:
        print(f"| `{name}` | {fastest[name]:.2f} s | {fastest[name] / fastest[TENSOR]:.2f} |")
    program = median["program"] / median["torch/torch.h"]
    print(f"graft.h and a program that classifies: {median['program']:.2f} s, {program:.3f} of torch/torch.h, at most {PROGRAM_LIMIT}")
    too_dear = [name for name in headers if name not in UNBOUND and fastest[name] > HEADER_LIMIT * fastest[TENSOR]]
    for name in too_dear:
        print(f"{name} costs more than {HEADER_LIMIT} of {TENSOR}")
    sys.exit(program > PROGRAM_LIMIT or bool(too_dear))


if __name__ == "__main__":
    main()
