#include "base/torch_version.h"

#include <gtest/gtest.h>
#include <torch/headeronly/version.h>

#include "support/expect_error.h"

namespace graft::base {
namespace {

constexpr std::uint64_t version(std::uint64_t major, std::uint64_t minor, std::uint64_t patch) {
  return major << 56 | minor << 48 | patch << 40;
}

TEST(TorchVersion, TheOneTestedWithIsRight) { EXPECT_NO_THROW(check_torch_version()); }

TEST(TorchVersion, PatchLevelsMayDiffer) {
  EXPECT_NO_THROW(check_torch_version(version(TORCH_VERSION_MAJOR, TORCH_VERSION_MINOR, 200)));
}

TEST(TorchVersion, AnotherMinorVersionIsRefused) {
  EXPECT_GRAFT_ERROR(check_torch_version(version(TORCH_VERSION_MAJOR, TORCH_VERSION_MINOR - 1, 1)), kMismatch,
                     "the program runs with 2." + std::to_string(TORCH_VERSION_MINOR - 1) + ".1");
  EXPECT_GRAFT_ERROR(check_torch_version(version(TORCH_VERSION_MAJOR + 1, TORCH_VERSION_MINOR, 0)), kMismatch,
                     "built with " TORCH_VERSION);
}

}  // namespace
}  // namespace graft::base
