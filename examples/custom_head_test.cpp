// Unit tests for a head of your own. check_head puts it behind a small network made on the spot, so the tests run in
// seconds and need no weights; where something is wrong, the message says what was seen and what to look at.
#include <gtest/gtest.h>

#include <graft/testing.h>

#include "two_branch_head.h"

TEST(TwoBranch, DoesWhatAHeadMust) { EXPECT_TRUE(graft::check_head(two_branch_head(4), {.outputs = 4})); }

TEST(TwoBranch, FitsOtherShapes) {
  EXPECT_TRUE(graft::check_head(two_branch_head(2), {.features = {32, 7, 7}, .batch_sizes = {1, 8}}));
  EXPECT_TRUE(graft::check_head(two_branch_head(2), {.features = {64, 1, 1}}));
}

TEST(TwoBranch, NeedsAFeatureMap) {
  const auto report = graft::check_head(two_branch_head(2), {.features = {64}});
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.findings.front().check, "build") << report.text();
}
