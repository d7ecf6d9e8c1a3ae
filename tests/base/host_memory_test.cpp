#include "base/host_memory.h"

#include <cstring>
#include <memory>

#include <gtest/gtest.h>

#include "support/sanitized.h"

namespace graft::base {
namespace {

constexpr std::int64_t kMebibyte = 1 << 20;

/// Bytes that are held, and given back.
void hold(std::size_t bytes) {
  const auto memory = std::make_unique_for_overwrite<char[]>(bytes);
  std::memset(memory.get(), 1, bytes);
  EXPECT_EQ(memory[bytes / 2], 1);
}

TEST(HostMemory, ThePeakIsWhatWasHeldAtOnce) {
  if (testing::kSanitized) GTEST_SKIP() << "sanitizers keep what is freed";
  const HostMemoryPeak peak;
  hold(64 * kMebibyte);
  hold(48 * kMebibyte);
  EXPECT_GE(peak.growth(), 62 * kMebibyte);
  EXPECT_LE(peak.growth(), 80 * kMebibyte);
  peak.restart();
  EXPECT_LE(peak.growth(), 16 * kMebibyte);
  hold(32 * kMebibyte);
  EXPECT_GE(peak.growth(), 30 * kMebibyte);
  EXPECT_LE(peak.growth(), 48 * kMebibyte);
}

TEST(HostMemory, SomeIsFree) {
  ASSERT_TRUE(free_host_bytes().has_value());
  EXPECT_GT(*free_host_bytes(), kMebibyte);
}

}  // namespace
}  // namespace graft::base
