#include "base/host_memory.h"

#include <cstring>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include <gtest/gtest.h>

#include "support/sanitized.h"
#include "support/scratch.h"

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

TEST(HostMemory, EveryControlGroupAroundTheProgramsOwnCounts) {
  const testing::Scratch scratch;
  const auto group = [&](const std::string& folder, const char* limit, const char* most, const char* used,
                         const char* now) {
    std::filesystem::create_directories(scratch / folder);
    scratch.write(folder + "/" + limit, most);
    scratch.write(folder + "/" + used, now);
  };
  const auto second = [&](const std::string& folder, const char* most, const char* now) {
    group(folder, "memory.max", most, "memory.current", now);
  };
  second("two/job", "1000\n", "900\n");
  second("two/job/step", "5000\n", "50\n");
  second("two/job/step/task", "max\n", "50\n");
  second("two/other", "10\n", "10\n");
  const auto within = [&](const std::string& lines, const char* mounted) {
    return free_in_control_groups(scratch.write("cgroup", lines), scratch / mounted);
  };
  EXPECT_EQ(within("0::/job/step/task\n", "two"), 100);
  EXPECT_EQ(within("0::/\n", "two"), std::nullopt);
  EXPECT_EQ(within("0::/../elsewhere\n", "two"), std::nullopt);
  second("two", "200\n", "150\n");  // as a container sees its own
  EXPECT_EQ(within("0::/unseen\n", "two"), 50);
  EXPECT_EQ(within("0::/other\n", "two"), 0);

  group("one/memory/job", "memory.limit_in_bytes", "700", "memory.usage_in_bytes", "650");
  group("one/memory/job/step", "memory.limit_in_bytes", "9223372036854771712", "memory.usage_in_bytes", "650");
  EXPECT_EQ(within("9:cpu:/\n4:hugetlb,memory:/job/step\n0::/\n", "one"), 50);
  EXPECT_EQ(within("4:hugetlb:/job/step\n", "one"), std::nullopt);
  EXPECT_EQ(within("", "one"), std::nullopt);
}

}  // namespace
}  // namespace graft::base
