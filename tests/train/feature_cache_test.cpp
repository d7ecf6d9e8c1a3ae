#include "train/feature_cache.h"

#include <chrono>
#include <fstream>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "base/sha256.h"
#include "support/expect_error.h"
#include "support/scratch.h"

namespace graft::train {
namespace {

namespace fs = std::filesystem;
using graft::testing::Scratch;
using graft::testing::slurp;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr std::int64_t kRoom = 1 << 20;
const std::string kSpace(64, 'a'), kOtherSpace(64, 'b');

std::string key(int number) {
  const std::string text = std::to_string(number);
  return std::string(64 - text.size(), '0') + text;
}
std::vector<std::string> keys(int first, int last) {
  std::vector<std::string> list;
  for (int i = first; i <= last; ++i) list.push_back(key(i));
  return list;
}

/// [count, 3, 2]: which row it is, is in the numbers.
at::Tensor some_rows(std::int64_t count, float first = 0) {
  return at::arange(count * 6, at::kFloat).view({count, 3, 2}) + first * 6;
}
constexpr std::int64_t kRowBytes = 6 * 4, kRecordBytes = kRowBytes + 128, kHeaderBytes = 512;

TEST(FeatureCache, YieldsTheRowsOfTheKeysAskedFor) {
  FeatureCache cache(kRoom);
  EXPECT_FALSE(cache.contains(key(0)));
  EXPECT_TRUE(cache.insert(keys(0, 3), some_rows(4)));
  EXPECT_TRUE(cache.insert(keys(2, 4), some_rows(3, 100)));  // what is there stays
  const std::vector<std::string> wanted{key(4), key(2), key(4)};
  EXPECT_TRUE(at::equal(cache.rows(wanted), at::stack({some_rows(1, 102)[0], some_rows(4)[2], some_rows(1, 102)[0]})));
}

TEST(FeatureCache, KeepsMapsWithTheirChannelsLast) {
  const auto maps = at::rand({3, 5, 4, 2});
  for (const auto& given : {maps, maps.contiguous(at::MemoryFormat::ChannelsLast)}) {
    FeatureCache cache(kRoom);
    EXPECT_TRUE(cache.insert(keys(0, 2), given));
    const auto found = cache.rows(keys(0, 2));
    EXPECT_TRUE(at::equal(found, maps));
    EXPECT_TRUE(found.is_contiguous(at::MemoryFormat::ChannelsLast));
  }
}

TEST(FeatureCache, KeepsToItsBoundAndToOneShape) {
  FeatureCache cache(2 * kRowBytes);
  EXPECT_FALSE(cache.insert(keys(0, 2), some_rows(3)));
  EXPECT_TRUE(cache.contains(key(1)));
  EXPECT_FALSE(cache.contains(key(2)));
  FeatureCache other(kRoom);
  EXPECT_TRUE(other.insert(keys(0, 0), some_rows(1)));
  EXPECT_FALSE(other.insert(keys(1, 1), at::rand({1, 7})));
  EXPECT_FALSE(other.contains(key(1)));
}

/// A directory, and what was said about the caches in it.
class FeatureFiles : public ::testing::Test {
 protected:
  FeatureCache cache(const std::string& space = kSpace, std::int64_t max_bytes = kRoom) {
    return FeatureCache(
        max_bytes, std::make_unique<FeatureFile>(directory(), space, max_bytes,
                                                 [&](std::string_view text) { warnings += std::string(text) + "\n"; }));
  }
  fs::path directory() const { return scratch_ / "cache"; }
  fs::path file(const std::string& space = kSpace) const { return directory() / (space.substr(0, 32) + ".features"); }
  /// Writes over a byte.
  void spoil(std::int64_t at) const {
    std::fstream stream(file(), std::ios::in | std::ios::out | std::ios::binary);
    stream.seekg(at);
    const char old = static_cast<char>(stream.get());
    stream.seekp(at);
    stream.put(static_cast<char>(old ^ 1));
  }
  std::string warnings;

 private:
  Scratch scratch_;
};

TEST_F(FeatureFiles, AreThereForTheNext) {
  const auto maps = at::rand({3, 5, 4, 2});
  EXPECT_TRUE(cache().insert(keys(0, 1), maps.narrow(0, 0, 2)));
  EXPECT_TRUE(cache().insert(keys(2, 2), maps.narrow(0, 2, 1)));
  const auto third = cache();
  EXPECT_TRUE(at::equal(third.rows(keys(0, 2)), maps));
  EXPECT_TRUE(third.rows(keys(0, 2)).is_contiguous(at::MemoryFormat::ChannelsLast));
  EXPECT_FALSE(cache(kOtherSpace).contains(key(0)));
  EXPECT_THAT(warnings, IsEmpty());
}

TEST_F(FeatureFiles, ADamagedOneIsNeverUsed) {
  // In the magic, the space, the shape, a key, a checksum, and a row that is not the last.
  for (const std::int64_t at : {std::int64_t{3}, std::int64_t{30}, std::int64_t{82}, kHeaderBytes + 5,
                                kHeaderBytes + 70, kHeaderBytes + 130, kHeaderBytes + kRecordBytes + 140}) {
    fs::remove_all(directory());
    EXPECT_TRUE(cache().insert(keys(0, 2), some_rows(3)));
    EXPECT_THAT(warnings, IsEmpty());
    spoil(at);
    {
      auto again = cache();
      EXPECT_THAT(warnings, HasSubstr("damaged")) << at;
      for (int i = 0; i < 3; ++i) EXPECT_FALSE(again.contains(key(i))) << at;
      EXPECT_TRUE(again.insert(keys(1, 1), some_rows(1, 7)));
    }
    warnings.clear();
    EXPECT_TRUE(at::equal(cache().rows(keys(1, 1)), some_rows(1, 7)));
    EXPECT_THAT(warnings, IsEmpty());
  }
}

TEST_F(FeatureFiles, ADamagedLastRowIsLeftOutAndReplaced) {
  EXPECT_TRUE(cache().insert(keys(0, 2), some_rows(3)));
  spoil(kHeaderBytes + 2 * kRecordBytes + 140);
  EXPECT_FALSE(cache().contains(key(2)));
  fs::resize_file(file(),
                  static_cast<std::uintmax_t>(kHeaderBytes + 3 * kRecordBytes - 10));  // as a process left it that died
  {
    auto again = cache();
    EXPECT_TRUE(at::equal(again.rows(keys(0, 1)), some_rows(2)));
    EXPECT_FALSE(again.contains(key(2)));
    EXPECT_TRUE(again.insert(keys(3, 4), some_rows(2, 3)));
  }
  EXPECT_TRUE(
      at::equal(cache().rows(std::vector{key(0), key(1), key(3), key(4)}), at::cat({some_rows(2), some_rows(2, 3)})));
  EXPECT_THAT(warnings, IsEmpty());
}

TEST_F(FeatureFiles, AForeignOneIsNeverUsed) {
  fs::create_directories(directory());
  for (const auto& content : {std::string("not a cache"), std::string(5000, '\0')}) {
    std::ofstream(file(), std::ios::binary) << content;
    warnings.clear();
    EXPECT_TRUE(cache().insert(keys(0, 0), some_rows(1)));
    EXPECT_THAT(warnings, HasSubstr("made anew"));
  }
  EXPECT_TRUE(cache(kOtherSpace).insert(keys(5, 5), some_rows(1)));
  fs::copy_file(file(kOtherSpace), file(), fs::copy_options::overwrite_existing);
  warnings.clear();
  EXPECT_FALSE(cache().contains(key(5)));
  EXPECT_THAT(warnings, HasSubstr("made anew"));
}

TEST_F(FeatureFiles, ARowThatNoMemoryHoldsIsNone) {
  fs::create_directories(directory());
  // In bytes modulo 2^64: 0, and such that a record's bytes are none.
  for (const std::string shape : {"4611686018427387904 4 ", "4611686018427387872 ", "9223372036854775807 "}) {
    std::string header = "graft features 1\n" + kSpace + "\n" + shape + "\n";
    header += base::Sha256().update(header).hex();
    header.resize(kHeaderBytes, '\n');
    std::ofstream(file(), std::ios::binary) << header << std::string(1000, '\0');
    warnings.clear();
    EXPECT_TRUE(cache().insert(keys(0, 0), some_rows(1))) << shape;
    EXPECT_THAT(warnings, HasSubstr("made anew")) << shape;
  }
}

TEST_F(FeatureFiles, OneProcessWrites) {
  auto first = cache();
  EXPECT_TRUE(first.insert(keys(0, 1), some_rows(2)));
  EXPECT_THAT(warnings, IsEmpty());
  const auto size = fs::file_size(file());
  auto second = cache();
  EXPECT_THAT(warnings, HasSubstr("another process writes"));
  EXPECT_TRUE(at::equal(second.rows(keys(0, 1)), some_rows(2)));
  EXPECT_TRUE(second.insert(keys(2, 2), some_rows(1, 2)));
  EXPECT_TRUE(at::equal(second.rows(keys(0, 2)), some_rows(3)));
  EXPECT_EQ(fs::file_size(file()), size);
  EXPECT_TRUE(first.insert(keys(3, 3), some_rows(1, 3)));
  EXPECT_TRUE(at::equal(second.rows(keys(0, 2)), some_rows(3)));
}

TEST_F(FeatureFiles, OneThatIsCutOffMeanwhileIsAnError) {
  const auto big = at::rand({3, 40'000});  // pages of its own for each row
  EXPECT_TRUE(cache().insert(keys(0, 2), big));
  auto cut = cache();
  fs::resize_file(file(), static_cast<std::uintmax_t>(kHeaderBytes + 2 * (40'000 * 4 + 128) - 10));
  EXPECT_TRUE(at::equal(cut.rows(keys(0, 0)), big.narrow(0, 0, 1)));
  EXPECT_GRAFT_ERROR(cut.rows(keys(0, 1)), kIo, "has cut the feature cache off");
  EXPECT_GRAFT_ERROR(cut.rows(keys(2, 2)), kIo, "has cut the feature cache off");
}

TEST_F(FeatureFiles, WhatOthersTakeMeanwhileIsNotTakenTwice) {
  constexpr std::int64_t bound = kHeaderBytes + 100 * kRecordBytes;
  auto mine = cache(kSpace, bound);
  EXPECT_TRUE(mine.insert(keys(0, 0), some_rows(1)));
  {  // another process's cache grows, which is at work
    auto other = cache(kOtherSpace, bound);
    EXPECT_TRUE(other.insert(keys(0, 39), some_rows(40)));
    EXPECT_FALSE(mine.insert(keys(1, 99), some_rows(99, 1)));
    EXPECT_TRUE(mine.contains(key(49)));
    EXPECT_LE(fs::file_size(file()) + fs::file_size(file(kOtherSpace)), static_cast<std::uintmax_t>(bound));
  }
  EXPECT_THAT(warnings, IsEmpty());
}

TEST_F(FeatureFiles, TheOldestGoesWhereThereIsNoRoom) {
  constexpr std::int64_t bound = 2 * (kHeaderBytes + 2 * kRecordBytes);
  const std::vector<std::string> spaces{std::string(64, 'c'), std::string(64, 'd'), std::string(64, 'e')};
  EXPECT_TRUE(cache(spaces[0], bound).insert(keys(0, 1), some_rows(2)));
  EXPECT_TRUE(cache(spaces[1], bound).insert(keys(0, 1), some_rows(2)));
  fs::last_write_time(file(spaces[0]), fs::file_time_type::clock::now() - std::chrono::hours(1));
  EXPECT_TRUE(cache(spaces[0], bound).contains(key(0)));  // used: no longer the oldest
  fs::last_write_time(file(spaces[1]), fs::file_time_type::clock::now() - std::chrono::minutes(1));
  {
    auto third = cache(spaces[2], bound);
    EXPECT_TRUE(third.insert(keys(0, 1), some_rows(2)));
    EXPECT_TRUE(fs::exists(file(spaces[0])));
    EXPECT_FALSE(fs::exists(file(spaces[1])));
    const auto held = cache(spaces[0], bound);  // another process has it open
    EXPECT_FALSE(third.insert(keys(2, 2), some_rows(1, 2)));
    EXPECT_TRUE(at::equal(third.rows(keys(0, 1)), some_rows(2)));
    EXPECT_TRUE(fs::exists(file(spaces[0])));
  }
  EXPECT_FALSE(cache(spaces[2], kHeaderBytes + 2 * kRecordBytes).insert(keys(2, 2), some_rows(1, 2)));
  EXPECT_THAT(warnings, IsEmpty());
}

TEST_F(FeatureFiles, ADirectoryThatCannotBeUsedIsAnError) {
  std::ofstream(directory()) << "a file";
  EXPECT_GRAFT_ERROR(cache(), kIo, "cache");
}

}  // namespace
}  // namespace graft::train
