#include <set>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <graft/loader.h>
#include <graft/text_dataset.h>

#include "support/expect_error.h"

namespace graft {
namespace {

Tokenizer letters(std::int64_t max_length = 512) {
  std::vector<std::string> pieces{"[PAD]", "[UNK]", "[CLS]", "[SEP]"};
  for (char c = 'a'; c <= 'z'; ++c) pieces.emplace_back(1, c);
  return Tokenizer(pieces, {.max_length = max_length});
}

TextDataset some_texts() {
  return TextDataset({"a b c d e f", "a", "b c", "", "z y x", "c c c c"}, {0, 1, 0, 1, 0, 1}, {"x", "y"});
}

std::vector<std::int64_t> row_of(const at::Tensor& batch, std::int64_t row) {
  const auto one = batch[row].contiguous();
  return {one.const_data_ptr<std::int64_t>(), one.const_data_ptr<std::int64_t>() + one.numel()};
}

TEST(TextLoader, ABatchIsAsLongAsItsLongestText) {
  const auto data = some_texts();
  const auto tokenizer = letters();
  DataLoader loader(data, tokenizer, {.batch_size = 4});
  const auto first = loader.next(), second = loader.next();
  EXPECT_FALSE(loader.next());
  ASSERT_EQ(first->images.sizes(), (std::vector<std::int64_t>{4, 8}));
  EXPECT_EQ(second->images.sizes(), (std::vector<std::int64_t>{2, 6}));
  EXPECT_EQ(first->images.scalar_type(), at::kLong);
  EXPECT_EQ(row_of(first->images, 1), (std::vector<std::int64_t>{2, 4, 3, 0, 0, 0, 0, 0}));
  EXPECT_EQ(row_of(first->images, 3), (std::vector<std::int64_t>{2, 3, 0, 0, 0, 0, 0, 0}));
  EXPECT_EQ(row_of(second->images, 0), (std::vector<std::int64_t>{2, 29, 28, 27, 3, 0}));
  EXPECT_TRUE(at::equal(first->labels, at::tensor({0, 1, 0, 1}, at::kLong)));

  DataLoader cut_off(data, letters(3), {.batch_size = 6});
  EXPECT_EQ(cut_off.next()->images.sizes(), (std::vector<std::int64_t>{6, 3}));
}

TEST(TextLoader, TheSameForAnyNumberOfThreads) {
  const auto data = some_texts();
  std::vector<std::vector<at::Tensor>> all;
  for (const int threads : {1, 3}) {
    DataLoader loader(data, letters(), {.batch_size = 2, .shuffle = true, .seed = 5, .threads = threads});
    auto& batches = all.emplace_back();
    for (int epoch = 0; epoch < 3; ++epoch) {
      if (epoch > 0) loader.start_epoch(static_cast<std::uint64_t>(epoch));
      while (const auto batch = loader.next()) batches.push_back(batch->images);
    }
  }
  ASSERT_EQ(all[0].size(), 9u);
  for (std::size_t i = 0; i < all[0].size(); ++i) EXPECT_TRUE(at::equal(all[0][i], all[1][i]));
}

TEST(TextLoader, TextsThatAreNotWantedAreLeftOut) {
  const auto data = some_texts();
  DataLoader loader(data, letters(),
                    {.batch_size = 6, .skip_image = [](std::size_t index, std::uint64_t) { return index != 2; }});
  const auto batch = loader.next();
  EXPECT_EQ(batch->size(), 6);
  EXPECT_EQ(batch->image_rows, (std::vector<std::int64_t>{2}));
  EXPECT_EQ(batch->images.sizes(), (std::vector<std::int64_t>{1, 4}));
  EXPECT_EQ(loader.load(*batch, {0, 3}).sizes(), (std::vector<std::int64_t>{2, 8}));

  DataLoader none(data, letters(), {.batch_size = 6, .skip_image = [](std::size_t, std::uint64_t) { return true; }});
  EXPECT_EQ(none.next()->images.numel(), 0);
}

TEST(TextLoader, PicturesAndTextsAreNotMixedUp) {
  const auto data = some_texts();
  DataLoader loader(data, Preprocessing());
  EXPECT_GRAFT_ERROR(loader.next(), kMismatch, "this network takes pictures, which this data set has none of");
}

}  // namespace
}  // namespace graft
