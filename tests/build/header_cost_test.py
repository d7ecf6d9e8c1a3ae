#!/usr/bin/env python3
"""A program that includes <graft/graft.h> and classifies one picture compiles in at most 0.2 of the time that an empty main
behind <torch/torch.h> takes; both are compiled in turn, three times, and the medians compared.

    header_cost_test.py CXX INCLUDE_DIR...
"""
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

PROGRAMS = {
    "graft": """#include <graft/graft.h>
int main(int, char** argv) {
  const auto model = graft::Model::load(argv[1]);
  return static_cast<int>(model.classify(graft::Image::read(argv[2])).front().index);
}
""",
    "torch": "#include <torch/torch.h>\nint main() {}\n",
    "tensor": "#include <ATen/core/Tensor.h>\nint main() {}\n",
}
LIMIT = 0.2


def main():
    compiler, includes = sys.argv[1], [f"-I{folder}" for folder in sys.argv[2:]]
    seconds = {name: [] for name in PROGRAMS}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(3):
            for name, program in PROGRAMS.items():
                source = pathlib.Path(folder) / f"{name}.cpp"
                source.write_text(program)
                start = time.monotonic()
                subprocess.run([compiler, "-std=c++20", "-O2", *includes, "-c", str(source), "-o", f"{folder}/{name}.o"], check=True)
                seconds[name].append(time.monotonic() - start)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    ratio = median["graft"] / median["torch"]
    print(f"graft.h {median['graft']:.2f} s, torch/torch.h {median['torch']:.2f} s, ATen/core/Tensor.h {median['tensor']:.2f} s: "
          f"ratio {ratio:.3f}, at most {LIMIT}")
    sys.exit(ratio > LIMIT)


if __name__ == "__main__":
    main()
