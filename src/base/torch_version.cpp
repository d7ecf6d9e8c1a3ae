#include "base/torch_version.h"

#include <string>

#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/headeronly/version.h>

#include <graft/error.h>

namespace graft::base {

namespace {

constexpr int kSeriesShift = 48;  // below lie the patch level and a tag

std::string text(std::uint64_t version) {
  const auto byte = [&](int shift) { return std::to_string(version >> shift & 0xff); };
  return byte(56) + "." + byte(48) + "." + byte(40);
}

}  // namespace

std::string running_torch_version() { return text(aoti_torch_abi_version()); }

void check_torch_version() { check_torch_version(aoti_torch_abi_version()); }

void check_torch_version(std::uint64_t running) {
  constexpr std::uint64_t kBuiltWith = TORCH_ABI_VERSION;
  if (running >> kSeriesShift != kBuiltWith >> kSeriesShift)
    throw Error(ErrorCode::kMismatch, "LibTorch: this Graft was built with " + text(kBuiltWith) +
                                          ", the program runs with " + text(running) +
                                          "; the major and minor version must be the same");
}

}  // namespace graft::base
