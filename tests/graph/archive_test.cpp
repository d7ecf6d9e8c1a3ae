#include "graph/archive.h"

#include <random>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "engine/runner.h"
#include "graph/network.h"
#include "graph/pickle.h"
#include "support/expect_error.h"
#include "support/golden.h"
#include "support/zip_file.h"

namespace graft::graph {
namespace {

using engine::Runner;
using graft::testing::golden;
using graft::testing::slurp;
using graft::testing::ZipFile;

Network load(const std::string& bytes, const ArchiveLimits& limits = {}) {
  ExtraFiles none;
  return Network::load(base::MemorySource(std::as_bytes(std::span(bytes))), "x.pt", none, limits);
}

/// x * [1, 1], with its source stored so that it can be changed.
std::string small() {
  static const std::string bytes = [] {
    auto file = ZipFile::read(
        NetworkBuilder("Net").parameter("weight", at::ones({2})).build("return x * self.weight").save({}));
    file.put("graft.py", R"(class Net(Module):
  __parameters__ = ["weight", ]
  __buffers__ = []
  training : bool
  weight : Tensor
  def forward(self: __torch__.graft.Net,
    x: Tensor) -> Tensor:
    weight = self.weight
    return torch.mul(x, weight)
)");
    return file.bytes();
  }();
  return bytes;
}

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  const auto at = text.find(from);
  if (at == std::string::npos) throw std::runtime_error("nothing to replace");
  return text.replace(at, from.size(), to);
}

/// small() with one record changed and its CRC made right again.
std::string small_with(std::string_view record, std::string_view from, std::string_view to) {
  auto file = ZipFile::read(small());
  file.put(record, replaced(file.at(record).content, from, to));
  return file.bytes();
}

std::string flipped(std::string bytes, std::size_t bit) {
  bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ 1 << bit % 8);
  return bytes;
}

TEST(Archive, WhatIsWholeLoads) {
  EXPECT_TRUE(at::equal(Runner(load(small())).run(at::full({1, 2}, 3.0)), at::full({1, 2}, 3.0)));
  for (const std::string name : {"resnet_scripted", "resnet_traced", "resnet_frozen", "half", "described"})
    EXPECT_NO_THROW(load(slurp(golden("networks/" + name + ".pt")))) << name;
}

// A deflated record has bits that mean nothing, and may have two forms: what is unpacked is the same then.
TEST(Archive, NoBitChangesUnseen) {
  const auto bytes = slurp(golden("networks/described.pt"));
  const auto entries = graph::read_zip(base::MemorySource(std::as_bytes(std::span(bytes))), {});
  const auto deflated = [&](std::size_t byte) {
    return std::ranges::any_of(entries, [&](const ZipEntry& entry) {
      return entry.deflated && byte >= entry.data && byte < entry.data + entry.packed;
    });
  };
  std::mt19937_64 random(8);
  int unseen = 0;
  for (int i = 0; i < 3000; ++i) {
    const auto bit = random() % (bytes.size() * 8);
    try {
      load(flipped(bytes, bit));
      ++unseen;
      EXPECT_TRUE(deflated(bit / 8)) << "bit " << bit;
    } catch (const Error& error) {
      EXPECT_TRUE(error.code() == ErrorCode::kFormat || error.code() == ErrorCode::kLimit) << error.what();
    }
  }
  EXPECT_LT(unseen, 30);
}

TEST(Archive, OfASavedFileNoBitAtAll) {
  const auto bytes = load(slurp(golden("networks/vgg_scripted.pt"))).save({{"x", "y"}});
  for (const auto& entry : read_zip(base::MemorySource(std::as_bytes(std::span(bytes))), {})) {
    EXPECT_FALSE(entry.deflated) << entry.name;
    EXPECT_FALSE(entry.name.ends_with(".debug_pkl")) << entry.name;
  }
  std::mt19937_64 random(9);
  for (int i = 0; i < 10'000; ++i) {
    const auto bit = random() % (bytes.size() * 8);
    EXPECT_THROW(load(flipped(bytes, bit)), Error) << "bit " << bit;
  }
}

TEST(Archive, NoEndIsMissedAndNothingIsAdded) {
  const auto bytes = small();
  for (std::size_t size = 0; size < bytes.size(); ++size)
    EXPECT_GRAFT_ERROR(load(bytes.substr(0, size)), kFormat, "expected a");
  EXPECT_GRAFT_ERROR(load(bytes + "x"), kFormat, "end record");
  EXPECT_GRAFT_ERROR(load("x" + bytes), kFormat, "no zip archive");
}

/// A file of which only some parts are not zero.
class SparseSource final : public base::ByteSource {
 public:
  void put(std::uint64_t offset, std::string bytes) {
    size_ = std::max(size_, offset + bytes.size());
    parts_.emplace_back(offset, std::move(bytes));
  }
  std::uint64_t size() const override { return size_; }
  using ByteSource::read;
  void read(std::uint64_t offset, std::span<std::byte> out) const override {
    std::ranges::fill(out, std::byte{0});
    for (const auto& [begin, bytes] : parts_)
      for (std::size_t i = 0; i < bytes.size(); ++i)
        if (begin + i >= offset && begin + i - offset < out.size())
          out[begin + i - offset] = static_cast<std::byte>(bytes[i]);
  }

 private:
  std::vector<std::pair<std::uint64_t, std::string>> parts_;
  std::uint64_t size_ = 0;
};

// As PyTorch's writer lays it out: sizes in the local header are zero, and stand in its extra field and behind the
// data.
TEST(Zip, BeyondFourGigabytes) {
  const auto n = ZipFile::number;
  const std::uint64_t size = 5'000'000'000;
  const std::string kind = n(0, 2) + n(0x0808, 2) + n(0, 2) + n(0, 4), none(12, 0), large = n(0xffffffff, 4);
  const auto file = [&](std::uint64_t stated) {
    SparseSource source;
    source.put(
        0, n(0x04034b50, 4) + kind + none + n(3, 2) + n(20, 2) + "a/x" + n(1, 2) + n(16, 2) + n(stated, 8) + n(0, 8));
    const std::uint64_t second = 53 + size + 24;
    source.put(53 + size, n(0x08074b50, 4) + n(7, 4) + n(size, 8) + n(size, 8));
    source.put(second, n(0x04034b50, 4) + kind + none + n(3, 2) + n(12, 2) + "a/y" + n(1, 2) + n(8, 2) + n(second, 8) +
                           "yy" + n(0x08074b50, 4) + n(9, 4) + n(2, 8) + n(2, 8));
    const std::uint64_t directory = second + 47 + 24;
    const auto rest = n(0, 2) + n(0, 2) + n(0, 2) + n(0, 4);
    const std::string central = n(0x02014b50, 4) + n(0, 2) + kind + n(7, 4) + large + large + n(3, 2) + n(20, 2) +
                                rest + n(0, 4) + "a/x" + n(1, 2) + n(16, 2) + n(size, 8) + n(size, 8) +
                                n(0x02014b50, 4) + n(0, 2) + kind + n(9, 4) + n(2, 4) + n(2, 4) + n(3, 2) + n(12, 2) +
                                rest + large + "a/y" + n(1, 2) + n(8, 2) + n(second, 8);
    const auto end = directory + central.size();
    source.put(directory, central + n(0x06064b50, 4) + n(44, 8) + n(0x031e, 2) + n(45, 2) + n(0, 8) + n(2, 8) +
                              n(2, 8) + n(central.size(), 8) + n(directory, 8) + n(0x07064b50, 4) + n(0, 4) +
                              n(end, 8) + n(1, 4) + n(0x06054b50, 4) + n(0, 4) + n(2, 2) + n(2, 2) +
                              n(central.size(), 4) + large + n(0, 2));
    return read_zip(source, {});
  };
  const auto entries = file(size);
  ASSERT_EQ(entries.size(), 2u);
  EXPECT_EQ(entries[0].size, size);
  EXPECT_EQ(entries[0].data, 53u);
  EXPECT_EQ(entries[1].data, 53 + size + 24 + 45);
  EXPECT_GRAFT_ERROR(file(size + 1), kFormat, "described in two ways");
}

TEST(BadModels, Case6TruncatedMidTensor) {
  const auto bytes = slurp(golden("networks/resnet_scripted.pt"));
  EXPECT_GRAFT_ERROR(load(bytes.substr(0, 500)), kFormat, "damaged or cut off");  // in data/0, the first record
}

TEST(BadModels, Case15BitFlipWithAStaleCrc) {
  const auto bytes = slurp(golden("networks/resnet_scripted.pt"));
  EXPECT_GRAFT_ERROR(load(flipped(bytes, 500 * 8 + 30)), kFormat, "\"data/0\" damaged: its CRC-32 does not hold");
  const auto large = NetworkBuilder("Net").parameter("weight", at::ones({100'000})).build("return x").save({});
  EXPECT_GRAFT_ERROR(load(flipped(large, 300'000 * 8)), kFormat, "\"data/0\" damaged: its CRC-32 does not hold");
}

TEST(BadModels, Case17AnEntryLargerThanTheFile) {
  for (const std::uint16_t method : {0, 8}) {
    auto file = ZipFile::read(small());
    file.records.push_back({"archive/data/1", "tiny", method, 2'200'000'000});
    EXPECT_GRAFT_ERROR(load(file.bytes()), kLimit, "2200000000 bytes");
  }
}

TEST(BadModels, Case18AHugePickleContainer) {
  // 'r', LONG_BINPUT: LibTorch would make room for 4,294,967,295 values.
  EXPECT_GRAFT_ERROR(load(small_with("data.pkl", std::string("q\x00", 2), "r\xff\xff\xff\xff")), kLimit, "4294967295");
  EXPECT_GRAFT_ERROR(load(small(), {.pickle_bytes = 100}), kLimit, "at most 100 bytes");
  EXPECT_GRAFT_ERROR(load(small(), {.code_bytes = 100}), kLimit, "its source: expected at most 100 bytes");
  EXPECT_GRAFT_ERROR(load(small(), {.records = 2}), kLimit, "at most 2 records");
  EXPECT_GRAFT_ERROR(load(small(), {.total_bytes = 300}), kLimit, "bytes in all records");
}

TEST(BadModels, Case19ACompressionBomb) {
  auto file = ZipFile::read(small());
  file.records.push_back({"archive/extra/bomb", std::string(2000, '\0'), 8, 2'000'000});
  EXPECT_GRAFT_ERROR(load(file.bytes()), kLimit, "100 times the size");
  file.records.pop_back();
  for (int i = 0; i < 100; ++i)
    file.records.push_back({"archive/extra/" + std::to_string(i), std::string(100, '\0'), 8, 1'000'000});
  EXPECT_GRAFT_ERROR(load(file.bytes()), kLimit, "all records: expected at most 100 times");
}

TEST(BadModels, Case20NamesTwiceOrOutside) {
  for (const std::string name : {"archive/data/0", "archive/DATA/0"}) {
    auto file = ZipFile::read(small());
    file.records.push_back({name, "another"});
    EXPECT_GRAFT_ERROR(load(file.bytes()), kFormat, "twice");
  }
  for (const std::string name : {"archive/../../etc/passwd", "/etc/passwd", "..", "C:/x"}) {
    auto file = ZipFile::read(small());
    file.records.push_back({name, ""});
    EXPECT_GRAFT_ERROR(load(file.bytes()), kFormat, "leads out of it");
  }
  for (const auto& name : {std::string("archive/a\0b", 11), std::string("archive\\x"), std::string("archive/x/")}) {
    auto file = ZipFile::read(small());
    file.records.push_back({name, ""});
    EXPECT_GRAFT_ERROR(load(file.bytes()), kFormat, "names of files");
  }
  auto file = ZipFile::read(small());
  file.records.push_back({"elsewhere/x", ""});
  EXPECT_GRAFT_ERROR(load(file.bytes()), kFormat, "outside of its folder");
}

TEST(BadModels, Case21BrokenCode) {
  EXPECT_GRAFT_ERROR(load(small_with("graft.py", "return", "retrun")), kFormat, "LibTorch cannot read");
  EXPECT_GRAFT_ERROR(load(small_with("graft.py", "torch.mul(x, weight)", "torch.mul(x, ")), kFormat,
                     "LibTorch cannot read");
  // LibTorch's parser calls itself for each bracket.
  const auto deep = std::string(100'000, '(') + "x" + std::string(100'000, ')');
  EXPECT_GRAFT_ERROR(load(small_with("graft.py", "torch.mul(x, weight)", deep)), kLimit, "at most 200 deep");
}

TEST(BadModels, Case22CorruptDebugRecordsAndAWrongShape) {
  auto file = ZipFile::read(slurp(golden("networks/resnet_scripted.pt")));
  for (auto& record : file.records)
    if (record.name.ends_with(".debug_pkl")) file.put(record.name, std::string("\x80\x02]q\xff.", 6));
  const auto network = load(file.bytes());
  EXPECT_GRAFT_ERROR(Runner(network).run(at::zeros({1, 7, 32, 32})), kMismatch, "7 channels");
}

TEST(BadModels, Case23ANewerFormatVersion) {
  EXPECT_GRAFT_ERROR(load(small_with("version", "3", "99")), kFormat, "format version 10 at most");
  EXPECT_GRAFT_ERROR(load(small_with("version", "3", "99")), kFormat, "found version 99");
  EXPECT_GRAFT_ERROR(load(small_with("version", "3", "three")), kFormat, "no number");
  // Where the network has operators of newer versions, its file has the version elsewhere.
  const auto newer = testing::slurp(testing::golden("text/tiny.pt"));
  EXPECT_THAT(newer, ::testing::HasSubstr("/.data/version"));
  EXPECT_NO_THROW(load(newer));
}

TEST(BadModels, Case24UnknownOperator) {
  EXPECT_GRAFT_ERROR(load(small_with("graft.py", "torch.mul(x, weight)", "ops.mylib.unheard_of(x)")), kFormat,
                     "mylib::unheard_of");
}

TEST(BadModels, Case25SavedOnCuda) {
  const auto network =
      load(small_with("data.pkl", std::string("X\x03\0\0\0cpu", 8), std::string("X\x06\0\0\0cuda:0", 11)));
  EXPECT_TRUE(network.named_parameters().at(0).second.device().is_cpu());
  EXPECT_TRUE(at::equal(Runner(network).run(at::ones({2})), at::ones({2})));
}

TEST(Pickle, NamesAndInstructionsAreAClosedList) {
  EXPECT_GRAFT_ERROR(load(small_with("data.pkl", "ccollections\nOrderedDict\n", "cposix\nsystem\n")), kFormat,
                     "posix.system");
  EXPECT_GRAFT_ERROR(
      load(small_with("data.pkl", "ccollections\nOrderedDict\n", "ctorch._utils\n_rebuild_sparse_tensor\n")), kFormat,
      "_rebuild_sparse_tensor");
  EXPECT_GRAFT_ERROR(load(small_with("constants.pkl", ").", "I1\n.")), kFormat, "the instruction 73 at byte 2");
  EXPECT_GRAFT_ERROR(load(small_with("constants.pkl", ").", ")")), kFormat, "cut off");
  EXPECT_GRAFT_ERROR(load(small_with("constants.pkl", ").", ")..")), kFormat, "bytes behind its end");
  EXPECT_GRAFT_ERROR(load(small_with("constants.pkl", ").", ")).")), kFormat, "leaves 2 values");
}

// LibTorch takes what the pickle says of a tensor as it is: it would read other memory.
TEST(Pickle, TensorsStayInTheirStorage) {
  EXPECT_GRAFT_ERROR(
      load(small_with("data.pkl", std::string("K\0(K\x02t(K\x01t", 10), std::string("K\0(K\x03t(K\x01t", 10))), kFormat,
      "reaches beyond its storage of 2 elements");
  EXPECT_GRAFT_ERROR(
      load(small_with("data.pkl", std::string("K\0(K\x02t(K\x01t", 10), std::string("K\1(K\x02t(K\x01t", 10))), kFormat,
      "reaches beyond");
  EXPECT_GRAFT_ERROR(
      load(small_with("data.pkl", std::string("K\0(K\x02t(K\x01t", 10), std::string("K\0(K\x02t(K\x02t", 10))), kFormat,
      "reaches beyond");
  EXPECT_GRAFT_ERROR(load(small_with("data.pkl", "K\x02tQ", "K\x03tQ")), kFormat, "whose record has 8");
  EXPECT_GRAFT_ERROR(load(small_with("data.pkl", "FloatStorage", "DoubleStorage")), kFormat, "16 bytes");
  EXPECT_GRAFT_ERROR(load(small_with("data.pkl",
                                     std::string("X\1\0\0\0"
                                                 "0",
                                                 6),
                                     std::string("X\1\0\0\0"
                                                 "9",
                                                 6))),
                     kFormat, "is missing");
}

void follow(const std::string& pickle) {
  check_pickle(std::as_bytes(std::span(pickle)), [](std::string_view) { return 8; }, 32);
}

TEST(Pickle, WhatWouldGoWrongInLibTorchIsRefused) {
  const std::string begin = "\x80\x02";
  EXPECT_NO_THROW(follow(begin + "](K\x01K\x02"
                                 "e."));
  EXPECT_NO_THROW(follow(begin + "}(X\x01" + std::string(3, '\0') + "aNu."));
  EXPECT_GRAFT_ERROR(follow("\x80\x04N."), kFormat, "protocol");
  EXPECT_GRAFT_ERROR(follow(begin + "N(\x86."), kFormat, "without its operands");  // through the mark
  EXPECT_GRAFT_ERROR(follow(begin + "t."), kFormat, "not begun");
  EXPECT_GRAFT_ERROR(follow(begin + "(NNNd."), kFormat, "without a value");
  EXPECT_GRAFT_ERROR(follow(begin + "s."), kFormat, "without its operands");
  EXPECT_GRAFT_ERROR(follow(begin + "h\x05."), kFormat, "memo number that was not given");
  EXPECT_GRAFT_ERROR(follow(begin + std::string("]q\0(h\0e.", 8)), kFormat, "no empty container");  // in itself
  EXPECT_GRAFT_ERROR(follow(begin + "K\x01NR."), kFormat, "other arguments");                       // calls number 1
  EXPECT_GRAFT_ERROR(follow(begin + "}(]Nu."), kFormat, "neither text nor a number");
  std::string deep = begin + "N";
  deep.append(100'000, '\x85');
  EXPECT_GRAFT_ERROR(follow(deep + "."), kLimit, "nested");
}

// LibTorch reads a record anew for each reference: a few bytes could ask for any amount of memory.
TEST(Pickle, RepetitionIsLimited) {
  const auto text = [](const std::string& words) { return "X" + ZipFile::number(words.size(), 4) + words; };
  const auto storage =
      "(" + text("storage") + "ctorch\nFloatStorage\n" + text("0") + text("cpu") + "K\x02t" + std::string("q\0Q", 3);
  const auto times = [&](int references) {
    std::string pickle = "\x80\x02(" + storage;
    for (int i = 1; i < references; ++i) pickle += std::string("h\0Q", 3);
    return pickle + "t.";
  };
  EXPECT_NO_THROW(follow(times(4)));
  EXPECT_GRAFT_ERROR(follow(times(5)), kLimit, "more than 32 bytes");

  const auto expanded = [&](const std::string& size) {
    return "\x80\x02"
           "ctorch._utils\n_rebuild_tensor_v2\n(" +
           storage + std::string("K\0(", 3) + size + std::string("t(K\0t\x89NtR.", 10);
  };
  EXPECT_NO_THROW(follow(expanded("K\x05")));
  EXPECT_GRAFT_ERROR(follow(expanded("J" + ZipFile::number(2'000'000'000, 4))), kLimit,
                     "2000000000 elements that are 2");
}

TEST(Nesting, IsThatOfTheParser) {
  EXPECT_EQ(nesting("x"), 0u);
  EXPECT_EQ(nesting("((x))"), 2u);
  EXPECT_EQ(nesting("f(a, b, c)\ng(a, b)\n"), 1u);
  EXPECT_EQ(nesting("\"((((\""), 0u);
  const auto grows = [](std::string_view part) {
    std::string text;
    for (int i = 0; i < 1000; ++i) text += part;
    return nesting(text) > kDeepestNesting;
  };
  for (const char* chain : {"(", "-", "not ", "a + ", "a.b", "a if b else ", "f(a, b)", "if x:\n", "elif x:\n"})
    EXPECT_EQ(grows(chain), std::string(chain) != "if x:\n") << chain;
  EXPECT_FALSE(grows("a + b, "));
  EXPECT_FALSE(grows("x = torch.add(x, 1)\n"));
}

}  // namespace
}  // namespace graft::graph
