"""The public headers, as tests of them see them."""
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]


def public_headers(include_dirs):
    """Names as in #include <...>, sorted; graft/opencv.h only where OpenCV's headers are on the include path."""
    names = sorted(f"graft/{path.name}" for path in (ROOT / "include" / "graft").glob("*.h"))
    if not any((pathlib.Path(folder) / "opencv2/core/mat.hpp").exists() for folder in include_dirs):
        names.remove("graft/opencv.h")
    return [*names, "graft/version.h"]
