#include <graft/tokenizer.h>

#include <chrono>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "support/expect_error.h"
#include "support/files.h"
#include "support/scratch.h"

namespace graft {
namespace {

using ::testing::ElementsAre;

std::vector<std::string> small_vocabulary() {
  return {"[PAD]",  "[UNK]", "[CLS]", "[SEP]", "[MASK]", "un",          "##aff",
          "##able", "a",     "##b",   "ab",    ",",      "caf\xc3\xa9", "cafe"};
}

TokenizerOptions options_of(const nlohmann::json& given) {
  TokenizerOptions options;
  options.max_length = given.value("max_length", std::int64_t{1'000'000});
  options.lower_case = given.value("lowercase", true);
  options.split_cjk = given.value("handle_chinese_chars", true);
  options.special_tokens_in_text = given.value("special_tokens_in_text", true);
  if (given.contains("strip_accents")) options.strip_accents = given["strip_accents"].get<bool>();
  return options;
}

TEST(Tokenizer, TokensAreThoseOfThePythonPackage) {
  std::size_t texts = 0;
  for (const auto& entry : nlohmann::json::parse(testing::slurp(testing::golden("text/tokens.json")))) {
    const auto tokenizer = Tokenizer::read(testing::golden("text/vocab.txt"), options_of(entry["options"]));
    for (const auto& [text, tokens] :
         entry["texts"].get<std::vector<std::pair<std::string, std::vector<std::int64_t>>>>()) {
      EXPECT_EQ(tokenizer.encode(text), tokens) << entry["options"] << ' ' << nlohmann::json(text);
      ++texts;
    }
  }
  EXPECT_GT(texts, 900u);
}

TEST(Tokenizer, TheLongestPieceFromTheLeftGoesFirst) {
  const Tokenizer tokenizer(small_vocabulary());
  EXPECT_THAT(tokenizer.tokenize("UNAFFABLE, ab"), ElementsAre("un", "##aff", "##able", ",", "ab"));
  EXPECT_THAT(tokenizer.tokenize("abb aba"), ElementsAre("ab", "##b", "[UNK]"));
  EXPECT_THAT(tokenizer.tokenize("Caf\xc3\xa9"), ElementsAre("cafe"));
  EXPECT_THAT(Tokenizer(small_vocabulary(), {.lower_case = false}).tokenize("caf\xc3\xa9 Ab"),
              ElementsAre("caf\xc3\xa9", "[UNK]"));
  EXPECT_THAT(tokenizer.tokenize(""), ElementsAre());
  EXPECT_THAT(tokenizer.encode(""), ElementsAre(2, 3));
}

TEST(Tokenizer, ABatchIsAsLongAsItsLongestText) {
  const Tokenizer tokenizer(small_vocabulary(), {.max_length = 4});
  const auto batch = tokenizer.encode(std::vector<std::string>{"a", "unaffable", ""});
  ASSERT_EQ(batch.sizes(), (std::vector<std::int64_t>{3, 4}));
  const auto rows = batch.accessor<std::int64_t, 2>();
  const std::vector<std::vector<std::int64_t>> expected{{2, 8, 3, 0}, {2, 5, 6, 3}, {2, 3, 0, 0}};
  for (int row = 0; row < 3; ++row)
    for (int column = 0; column < 4; ++column) EXPECT_EQ(rows[row][column], expected[row][column]);
  EXPECT_EQ(tokenizer.padding_index(), 0);
  EXPECT_GRAFT_ERROR(tokenizer.encode(std::vector<std::string>{}), kConfig, "a text at least");
  EXPECT_GRAFT_ERROR(tokenizer.encode(std::vector<std::string>{"a", "b\xff"}), kFormat,
                     "text 2: byte 2: expected UTF-8");
}

TEST(Tokenizer, SpecialTokensWithoutEndTakeTimeInProportion) {  // once each, not once for each of them
  const Tokenizer tokenizer(small_vocabulary(), {.max_length = 1'000'000});
  std::string text;
  for (int i = 0; i < 200'000; ++i) text += "[SEP]";
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(tokenizer.encode(text).size(), 200'002u);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));  // it took minutes
}

TEST(Tokenizer, AWordOfTenMegabytesIsUnknown) {
  const Tokenizer tokenizer(small_vocabulary());
  EXPECT_THAT(tokenizer.encode(std::string(10 << 20, 'a')), ElementsAre(2, 1, 3));
}

TEST(Tokenizer, ReadsAVocabularyWithAnyLineEnds) {
  const testing::Scratch scratch;
  const auto read = [&](const std::string& text) { return Tokenizer::read(scratch.write("vocab.txt", text)); };
  EXPECT_EQ(read("[PAD]\r\n[UNK]\r\n[CLS]\r\n[SEP]\r\na").vocabulary().size(), 5u);
  EXPECT_EQ(read("[PAD]\n[UNK]\n[CLS]\n[SEP]\n"), read("[PAD]\r\n[UNK]\r\n[CLS]\r\n[SEP]\r\n"));
  EXPECT_GRAFT_ERROR(read(""), kMismatch, "expected the token \"[UNK]\" among 0 pieces");
  EXPECT_GRAFT_ERROR(read("[PAD]\n[UNK]\n[CLS]\n"), kMismatch, "vocab.txt: vocabulary: expected the token \"[SEP]\"");
  EXPECT_GRAFT_ERROR(read("[PAD]\n\n[UNK]"), kMismatch, "line 2: expected a piece of a word, found a blank line");
  EXPECT_GRAFT_ERROR(read("[PAD]\n[UNK]\n[PAD]"), kMismatch,
                     "line 3: expected every piece once, found \"[PAD]\" again (line 1)");
  EXPECT_GRAFT_ERROR(read("[PAD]\n\xff"), kFormat, "line 2: expected UTF-8");
  EXPECT_GRAFT_ERROR(Tokenizer::read(scratch / "none.txt"), kIo, "none.txt");
}

TEST(Tokenizer, OptionsOutOfRangeAreRefused) {
  EXPECT_GRAFT_ERROR(Tokenizer(small_vocabulary(), {.max_length = 1}), kConfig,
                     "max_length: expected 2 or more, found 1");
  EXPECT_GRAFT_ERROR(Tokenizer(small_vocabulary(), {.max_word_length = 0}), kConfig, "max_word_length");
  EXPECT_GRAFT_ERROR(Tokenizer(small_vocabulary(), {.padding = "<pad>"}), kMismatch, "expected the token \"<pad>\"");
}

}  // namespace
}  // namespace graft
