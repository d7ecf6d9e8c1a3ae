#include <graft/tensorboard.h>

#include <algorithm>
#include <cstring>

#include <gtest/gtest.h>

#include "support/expect_error.h"
#include "support/scratch.h"

namespace graft {
namespace {

std::vector<std::filesystem::path> files(const std::filesystem::path& directory) {
  std::vector<std::filesystem::path> found;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) found.push_back(entry.path());
  std::ranges::sort(found);
  return found;
}

// TensorBoard itself reads what is written, checksums and all, in tests/cli/report_test.py.

TEST(TensorBoard, WritesRecordsAtOnce) {
  const testing::Scratch scratch;
  TensorBoard board(scratch / "run");
  const auto file = files(scratch / "run" / "train").at(0);
  EXPECT_TRUE(file.filename().string().starts_with("events.out.tfevents."));
  const auto begun = testing::slurp(file);
  // 9 bytes of wall time, then field 3 with 13 bytes of text.
  std::uint64_t length = 0;
  std::memcpy(&length, begun.data(), sizeof length);
  EXPECT_EQ(length, 9u + 2 + 13);
  EXPECT_EQ(begun.size(), 8 + 4 + length + 4);
  EXPECT_EQ(begun.substr(8 + 4 + 9, 2 + 13),
            "\x1A\x0D"
            "brain.Event:2");
  board.add_scalar("a", 1, 300);
  EXPECT_GT(testing::slurp(file).size(), begun.size());
}

TEST(TensorBoard, KeepsTrainingAndValidationApart) {
  const testing::Scratch scratch;
  TensorBoard board(scratch.path());
  EXPECT_FALSE(std::filesystem::exists(scratch / "validation"));
  board.add(StepInfo{.step = 1, .steps = 2, .validating = true});  // left out
  board.add(EpochInfo{.loss = 1});
  EXPECT_FALSE(std::filesystem::exists(scratch / "validation"));
  board.add(EpochInfo{.loss = 1, .val_loss = 2});
  EXPECT_EQ(files(scratch / "validation").size(), 1u);
  TensorBoard again(scratch.path());
  EXPECT_EQ(files(scratch / "train").size(), 2u);
}

TEST(TensorBoard, SaysWhatIsInTheWay) {
  const testing::Scratch scratch;
  scratch.write("file", "x");
  EXPECT_GRAFT_ERROR(TensorBoard(scratch / "file"), kIo, "file");
  TensorBoard board(scratch / "run"), other = std::move(board);
  EXPECT_GRAFT_ERROR(board.add_scalar("a", 1, 0), kConfig, "moved from");
}

}  // namespace
}  // namespace graft
