#include <graft/dataset.h>

#include <algorithm>

#include <gtest/gtest.h>

#include "support/drawn_dataset.h"
#include "support/expect_error.h"

namespace graft {
namespace {

using graft::testing::DrawnDataset;

TEST(Subset, HasWhatTheDataSetSaysOfItsExamples) {
  DrawnDataset all(7, 3);
  all.changes = {.horizontal_flip = true};
  all.policy = OnBadImage::kSkip;
  const Subset some(all, {5, 0, 5});
  ASSERT_EQ(some.size(), 3u);
  EXPECT_EQ(some.classes(), all.classes());
  EXPECT_EQ(some.label(0), 2);
  EXPECT_EQ(some.label(1), 0);
  EXPECT_EQ(some.targets(2), all.targets(5));
  EXPECT_EQ(some.name(2), "picture 5");
  EXPECT_EQ(some.original(0), 5u);
  const auto found = some.image(0), expected = all.image(5);
  EXPECT_TRUE(std::ranges::equal(found.rgb(), expected.rgb()));
  EXPECT_EQ(some.augment(), all.augment());
  EXPECT_EQ(some.on_bad_image(), OnBadImage::kSkip);
  EXPECT_GRAFT_ERROR(some.text(0), kMismatch, "texts");
  EXPECT_GRAFT_ERROR(Subset(all, {7}), kConfig, "0 to below 7, found 7");
  EXPECT_GRAFT_ERROR(some.original(3), kConfig, "below 3, found 3");
  EXPECT_GRAFT_ERROR(some.label(3), kConfig, "below 3, found 3");
}

TEST(Subset, MayBeOfASubsetAndEmpty) {
  const DrawnDataset all(7, 3);
  const Subset some(all, {6, 4, 2}), fewer(some, {2});
  EXPECT_EQ(fewer.name(0), "picture 2");
  EXPECT_EQ(Subset(all, {}).size(), 0u);
}

}  // namespace
}  // namespace graft
