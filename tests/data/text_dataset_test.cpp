#include <graft/text_dataset.h>

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/expect_error.h"
#include "support/scratch.h"

namespace graft {
namespace {

using ::testing::ElementsAre;
using ::testing::EndsWith;

class TextData : public ::testing::Test {
 protected:
  TextDataset csv(const std::string& content, const TextOptions& options = {}) const {
    return TextDataset(scratch_.write("data.csv", content), options);
  }

  testing::Scratch scratch_;
};

std::vector<std::string> texts_of(const TextDataset& data) {
  std::vector<std::string> texts;
  for (std::size_t i = 0; i < data.size(); ++i) texts.push_back(data.text(i));
  return texts;
}

TEST_F(TextData, ACsvFileIsReadAsRfc4180HasIt) {
  const auto data =
      csv("\xEF\xBB\xBFid,label,text\r\n"
          "1,sea,\"a ship, \"\"large\"\"\"\r\n"
          "\r\n"
          "2,town,\"two\nlines\"\n"
          "3,sea,\n"
          "4,\"air\",plain");
  EXPECT_THAT(texts_of(data), ElementsAre("a ship, \"large\"", "two\nlines", "", "plain"));
  EXPECT_THAT(data.classes(), ElementsAre("air", "sea", "town"));
  EXPECT_THAT((std::vector{data.label(0), data.label(1), data.label(2), data.label(3)}), ElementsAre(1, 2, 1, 0));
  EXPECT_THAT(data.name(0), EndsWith("data.csv:2"));
  EXPECT_THAT(data.name(2), EndsWith("data.csv:6"));  // behind a text of two lines and a blank one
  EXPECT_NE(data.content_id(0), data.content_id(1));
  EXPECT_EQ(data.content_id(0).size(), 64u);
  EXPECT_GRAFT_ERROR(data.text(4), kConfig, "expected an example below 4, found 4");
  EXPECT_GRAFT_ERROR(data.image(0), kMismatch, "this network takes pictures");
}

TEST_F(TextData, ColumnsAndClassesCanBeNamed) {
  const TextOptions options{.text_column = "body", .label_column = "topic", .classes = {"b", "a"}};
  const auto data = csv("topic,body\na,x\nb,y\n", options);
  EXPECT_THAT(data.classes(), ElementsAre("b", "a"));
  EXPECT_EQ(data.label(0), 1);
  EXPECT_GRAFT_ERROR(csv("topic,body\na,x\nc,y\n", options), kMismatch,
                     "data.csv: line 3: expected one of the classes \"b\", \"a\", found \"c\"");
  EXPECT_GRAFT_ERROR(csv("topic,body\na,x\n", options), kMismatch, "expected texts of class \"b\", found none");
}

TEST_F(TextData, TextsAndLabelsAreInTwoColumns) {
  EXPECT_GRAFT_ERROR(csv("body,topic\nx,a\n", {.text_column = "topic", .label_column = "topic"}), kConfig,
                     "text_column and label_column: expected two columns, found \"topic\" for both");
}

TEST_F(TextData, LinesEndAsOnAnySystem) {
  for (const std::string end : {"\n", "\r\n", "\r"}) {
    const auto data = csv("text,label" + end + "a,x" + end + end + "\"b" + end + "c\",y" + end + "d,x");
    EXPECT_THAT(data.classes(), ElementsAre("x", "y"));
    EXPECT_THAT(texts_of(data), ElementsAre("a", "b" + end + "c", "d"));
  }
  EXPECT_THAT(csv("text,label\r\na,x\r\nb,y\r").classes(), ElementsAre("x", "y"));  // cut off in its last line end
}

TEST_F(TextData, WhatIsNoCsvIsRefusedByLine) {
  const std::string head = "text,label\n";
  for (const auto& [content, code, message] : std::vector<std::tuple<std::string, ErrorCode, std::string>>{
           {"", ErrorCode::kFormat, "line 1: expected the names of the columns, found an empty file"},
           {"\n\n", ErrorCode::kFormat, "line 1: expected the names of the columns"},
           {head, ErrorCode::kMismatch, "expected texts behind the names of the columns, found none"},
           {"words,label\nx,a\n", ErrorCode::kFormat, "line 1: expected a column \"text\", found \"words\", \"label\""},
           {"text,class\nx,a\n", ErrorCode::kFormat, "line 1: expected a column \"label\""},
           {"text,class\n", ErrorCode::kFormat, "line 1: expected a column \"label\""},
           {"text,text,label\nx,y,a\n", ErrorCode::kFormat, "line 1: expected one column \"text\", found several"},
           {head + "x,Pos\ny,pos\n", ErrorCode::kMismatch, "\"Pos\" and \"pos\" are the same but for upper and lower"},
           {head + "x,a\ny\n", ErrorCode::kFormat, "line 3: expected 2 fields as in line 1, found 1"},
           {head + "x,a,b\n", ErrorCode::kFormat, "line 2: expected 2 fields as in line 1, found 3"},
           {head + "x,a\ny,\n", ErrorCode::kMismatch, "line 3: expected a class in column \"label\", found nothing"},
           {head + "x,a\ny,a\n", ErrorCode::kMismatch, "expected at least two classes, found only \"a\""},
           {head + "x,a\n\"y,b\nz,b\n", ErrorCode::kFormat, "line 3: this is no CSV: expected the quote that ends"},
           {head + "x,a\ny \"z\",b\n", ErrorCode::kFormat, "line 3: this is no CSV: found a quote in a field"},
           {head + "\"y\" z,b\n", ErrorCode::kFormat,
            "line 2: this is no CSV: expected a comma or the end of the line"},
           {head + "x,a\ncaf\xe9,b\n", ErrorCode::kFormat,
            "line 3: expected UTF-8, found another byte (233) as its byte 4"},
           {head + "x,a\n\n" + std::string("y\0z,b\n", 6), ErrorCode::kFormat,
            "line 4: expected text, found a NUL byte"},
           {head + "x,a\n" + std::string(10 << 20, 'y') + ",b\n", ErrorCode::kLimit,
            "line 3: expected at most 1048576 bytes in a text, found more"},
           {head + "x,a\n\"" + std::string(10 << 20, 'y') + "\",b\n", ErrorCode::kLimit, "line 3: expected at most"},
       }) {
    try {
      csv(content);
      ADD_FAILURE() << "no error for " << content.substr(0, 60);
    } catch (const Error& error) {
      EXPECT_EQ(to_string(error.code()), to_string(code)) << error.what();
      EXPECT_THAT(error.what(), ::testing::HasSubstr(message));
      EXPECT_THAT(error.what(), ::testing::HasSubstr("data.csv: "));
    }
  }
  EXPECT_GRAFT_ERROR(TextDataset(scratch_ / "none.csv"), kIo, "none.csv");
  EXPECT_GRAFT_ERROR(csv("text,label\nx,a\n", {.max_file_bytes = 10}), kLimit, "data.csv");
}

TEST_F(TextData, AFolderForEachClass) {
  for (const auto* name : {"sea/1.txt", "sea/deep/2.txt", "town/3"})
    scratch_.write(name, std::string("text of ") + name + "\n");
  const TextDataset data(scratch_.path());
  EXPECT_THAT(texts_of(data), ElementsAre("text of sea/1.txt\n", "text of sea/deep/2.txt\n", "text of town/3\n"));
  EXPECT_THAT(data.classes(), ElementsAre("sea", "town"));
  EXPECT_THAT(data.name(2), EndsWith("town/3"));

  scratch_.write("town/4", "one\ntwo\xff\n");
  EXPECT_GRAFT_ERROR(TextDataset(scratch_.path()), kFormat,
                     "4: line 2: expected UTF-8, found another byte (255) as its byte 4");
  scratch_.write("town/4", "one\n" + std::string(2 << 20, 'x'));
  EXPECT_GRAFT_ERROR(TextDataset(scratch_.path()), kLimit, "4: line 2: expected at most 1048576 bytes in a text");
}

TEST_F(TextData, TextsWithoutClasses) {
  const auto lines = scratch_.write("lines.txt", "one\r\n\ntwo, three");
  const auto table = scratch_.write("table.CSV", "n,text\n1,\"a, b\"\n");
  scratch_.write("folder/x", "whole\nfile");
  const auto data = TextDataset::unlabelled({lines, table, scratch_ / "folder"});
  EXPECT_THAT(texts_of(data), ElementsAre("one", "", "two, three", "a, b", "whole\nfile"));
  EXPECT_THAT(data.name(2), EndsWith("lines.txt:3"));
  EXPECT_THAT(data.name(3), EndsWith("table.CSV:2"));
  EXPECT_THAT(data.name(4), EndsWith("folder/x"));
  EXPECT_EQ(data.classes().size(), 1u);
  EXPECT_GRAFT_ERROR(TextDataset::unlabelled({scratch_.write("e.txt", "")}), kMismatch,
                     "line 1: expected a text on each line, found an empty file");
  EXPECT_GRAFT_ERROR(TextDataset::unlabelled({scratch_.write("e.txt", "a\n" + std::string(10 << 20, 'b') + "\nc")}),
                     kLimit, "e.txt: line 2: expected at most 1048576 bytes in a text, found 10485760");
  EXPECT_GRAFT_ERROR(TextDataset::unlabelled({scratch_.write("e.txt", std::string("a\nb\0", 4))}), kFormat,
                     "e.txt: line 2: expected text, found a NUL byte");
}

TEST_F(TextData, TextsAtHandAndTheirSplit) {
  std::vector<std::string> texts;
  std::vector<std::int64_t> labels;
  for (int i = 0; i < 40; ++i) {
    texts.push_back("text " + std::to_string(i));
    labels.push_back(i % 4 == 0);
  }
  const TextDataset data(texts, labels, {"a", "b"});
  const auto [first, second] = data.split(0.2, 7);
  EXPECT_EQ(first.size(), 32u);
  EXPECT_EQ(second.size(), 8u);
  const auto [again, other] = data.split(0.2, 7);
  EXPECT_EQ(texts_of(other), texts_of(second));
  EXPECT_NE(texts_of(data.split(0.2, 8).second), texts_of(second));
  std::int64_t of_b = 0;
  for (std::size_t i = 0; i < second.size(); ++i) of_b += second.label(i);
  EXPECT_EQ(of_b, 2);
  const TextDataset hundred(std::vector<std::string>(100, "x"), std::vector<std::int64_t>(100), {"a"});
  EXPECT_EQ(hundred.split(0.29, 1).second.size(), 29u);  // 0.29 * 100 is less than 29 in float64
  EXPECT_GRAFT_ERROR(data.split(1), kConfig, "expected a fraction between 0 and 1");
  EXPECT_GRAFT_ERROR(TextDataset({"a"}, {0, 1}, {"x"}), kMismatch, "expected a label for each of 1 texts, found 2");
  EXPECT_GRAFT_ERROR(TextDataset({"a", "b"}, {0, 1}, {"x"}), kMismatch, "text 2: expected a label below 1, found 1");
  EXPECT_GRAFT_ERROR(TextDataset({"a", "\xff"}, {0, 0}, {"x"}), kFormat, "text 2: line 1: expected UTF-8");
}

}  // namespace
}  // namespace graft
