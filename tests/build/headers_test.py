#!/usr/bin/env python3
"""All public headers in one file compile, with warnings that users may have switched on, with the compiler given. That each compiles alone is
seen where its cost is (header_cost_test.py).

    headers_test.py CXX INCLUDE_DIR...         LibTorch's and OpenCV's folders are system folders
"""
import subprocess
import sys

from public_headers import include_options, public_headers, WARNINGS


def main():
    compiler, folders = sys.argv[1], sys.argv[2:]
    source = "".join(f"#include <{name}>\n" for name in public_headers(folders))
    sys.exit(subprocess.run([compiler, "-std=c++20", "-fsyntax-only", *WARNINGS, *include_options(folders), "-x", "c++", "-"], input=source,
                            text=True).returncode)


if __name__ == "__main__":
    main()
