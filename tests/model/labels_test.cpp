#include <graft/inspect.h>

#include <gtest/gtest.h>

#include <graft/model.h>

#include "support/expect_error.h"
#include "support/files.h"
#include "support/scratch.h"

namespace graft {
namespace {

using graft::testing::Scratch;

class ReadLabels : public ::testing::Test {
 protected:
  Scratch scratch_;
  std::vector<Label> read(std::string_view text) const { return read_labels(scratch_.write("labels.txt", text)); }
};

const std::vector<Label> kTwo{{"great white shark", "great white shark"}, {"Kätzchen", "Kätzchen"}};

TEST_F(ReadLabels, AClassOnEachLine) {
  EXPECT_EQ(read("great white shark\nKätzchen\n"), kTwo);
  EXPECT_EQ(read("great white shark\nKätzchen"), kTwo);
}

TEST_F(ReadLabels, JsonAsKerasWritesIt) {
  const auto labels = read(R"({"0": ["n01440764", "tench"], "1": ["n01443537", "goldfish"]})");
  EXPECT_EQ(labels, (std::vector<Label>{{"n01440764", "tench"}, {"n01443537", "goldfish"}}));
  EXPECT_EQ(read(R"(["great white shark", "K\u00e4tzchen"])"), kTwo);
  EXPECT_GRAFT_ERROR(read(R"({"0": "a", "2": "b"})"), kMismatch, "found no \"1\"");
  EXPECT_GRAFT_ERROR(read(R"(["a", 7])"), kFormat, "class 1: expected a name");
  EXPECT_GRAFT_ERROR(read(R"(["a", )"), kFormat, "damaged JSON");
  EXPECT_GRAFT_ERROR(read(std::string(1'000'000, '[')), kFormat, "damaged JSON");
  EXPECT_GRAFT_ERROR(read(std::string(100'000, '[') + std::string(100'000, ']')), kFormat, "found array");
}

TEST_F(ReadLabels, Case82AsManyAsOutputs) {
  LoadOptions options;
  options.labels = kTwo;
  EXPECT_GRAFT_ERROR(Model::load(testing::golden("networks/resnet_scripted.pt"), options), kMismatch, "found 2");
}

TEST_F(ReadLabels, LabelsThatAreNotUtf8AreNotKept) {
  auto model = Model::load(testing::golden("networks/resnet_scripted.pt"));
  const auto before = model.labels();
  auto labels = before;
  labels[1].name = "gr\xfcn";
  EXPECT_GRAFT_ERROR(model.set_labels(labels), kFormat, "labels: expected names in UTF-8, found \"gr\\xfcn\"");
  EXPECT_EQ(model.labels(), before);
  labels[1].name = "gr\xc3\xbcn";
  model.set_labels(labels);
  model.save(scratch_ / "named.pt");
  EXPECT_EQ(Model::load(scratch_ / "named.pt").labels(), labels);
}

TEST_F(ReadLabels, Case83LineEndsMarkBlanksDuplicates) {
  EXPECT_EQ(read("\xEF\xBB\xBFgreat white shark\r\nKätzchen\r\n\r\n"), kTwo);
  EXPECT_GRAFT_ERROR(read("a\n \nb\n"), kMismatch, "labels.txt: line 2: expected a class, found a blank line");
  EXPECT_GRAFT_ERROR(read("a\nb\na\n"), kMismatch, "\"a\" for classes 0 and 2");
  EXPECT_GRAFT_ERROR(read("\n\n"), kMismatch, "found none");
  EXPECT_GRAFT_ERROR(read(""), kMismatch, "found none");
  EXPECT_GRAFT_ERROR(read("a\nb\xff\n"), kFormat, "line 2: expected UTF-8");
}

TEST_F(ReadLabels, Case84NulByteAndEndlessLine) {
  EXPECT_GRAFT_ERROR(read(std::string_view("a\nb\0c\n", 6)), kLimit, "line 2: expected text, found a NUL byte");
  EXPECT_GRAFT_ERROR(read("a\n" + std::string(5000, 'x')), kLimit, "line 2: expected at most 4096 bytes, found 5000");
  const auto path = scratch_.write("large.txt", "a");
  std::filesystem::resize_file(path, 1ull << 30);  // a hole
  EXPECT_GRAFT_ERROR(read_labels(path), kLimit, "found 1073741824");
  EXPECT_GRAFT_ERROR(read_labels(scratch_ / "missing.txt"), kIo, "missing.txt");
}

}  // namespace
}  // namespace graft
