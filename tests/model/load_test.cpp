// Files that Model::load must not take, and how it finds out.

#include <graft/model.h>

#include <atomic>
#include <fstream>
#include <memory>
#include <thread>

#include <ATen/ATen.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <graft/files.h>

#include "base/sha256.h"
#include "engine/runner.h"
#include "graph/network.h"
#include "support/expect_error.h"
#include "support/golden.h"

namespace graft {
namespace {

using graft::testing::golden;
using graft::testing::Scratch;
using graft::testing::slurp;

/// A classifier of two classes whose outputs are the sums of the pictures, times `weight`; `before` runs first.
std::string classifier(double weight, const std::string& before = "") {
  const auto fc = graph::NetworkBuilder("Linear")
                      .parameter("weight", at::full({2, 30'000}, weight))
                      .build("return torch.linear(x, self.weight)");
  return graph::NetworkBuilder("Net", fc)
      .child("fc", fc)
      .build(before + "return self.fc.forward(torch.flatten(x, 1)[:, :30000])")
      .save({});
}

float first_logit(const Model& model) { return model.forward(at::ones({1, 3, 224, 224})).flatten()[0].item<float>(); }

/// The file permissions of somebody who is not root.
class Unprivileged {
 public:
  Unprivileged() : was_(::geteuid()), dropped_(was_ != 0 || ::seteuid(65534) == 0) {}
  ~Unprivileged() {
    if (was_ == 0) dropped_ = ::seteuid(0) == 0;
  }
  bool dropped() const { return dropped_; }

 private:
  uid_t was_;
  bool dropped_;
};

TEST(BadModels, Case8ALoopOfLinks) {
  const Scratch scratch;
  std::filesystem::create_symlink(scratch / "b.pt", scratch / "a.pt");
  std::filesystem::create_symlink(scratch / "a.pt", scratch / "b.pt");
  EXPECT_GRAFT_ERROR(Model::load(scratch / "a.pt"), kIo, "symbolic links");
}

TEST(BadModels, Case9PipesAndDevicesAreNotWaitedFor) {
  const Scratch scratch;
  ASSERT_EQ(::mkfifo((scratch / "pipe.pt").c_str(), 0600), 0);
  EXPECT_GRAFT_ERROR(Model::load(scratch / "pipe.pt"), kIo, "expected a regular file, found a device, pipe or socket");
  EXPECT_GRAFT_ERROR(Model::load("/dev/zero"), kIo, "expected a regular file, found a device, pipe or socket");
}

TEST(BadModels, Case10Unreadable) {
  const Scratch scratch;
  const auto path = scratch.write("secret.pt", slurp(golden("networks/vgg_scripted.pt")));
  std::filesystem::permissions(scratch.path(), std::filesystem::perms(0755));
  std::filesystem::permissions(path, std::filesystem::perms::none);
  const Unprivileged somebody;
  if (!somebody.dropped()) GTEST_SKIP() << "root reads everything, and this one cannot become somebody else";
  EXPECT_GRAFT_ERROR(Model::load(path), kIo, "Permission denied");
}

TEST(BadModels, Case26CudaInTheCode) {
  if (at::hasCUDA()) GTEST_SKIP() << "it runs where there is CUDA";
  const Scratch scratch;
  const auto path = scratch.write("cuda.pt", classifier(1, "x = x.to(torch.device(\"cuda:0\"))\n"));
  EXPECT_GRAFT_ERROR(Model::load(path), kMismatch, "asks for the device cuda:0");
}

// A network is a program: nothing bounds what its forward does. docs/security.md says so.
TEST(BadModels, Case36EndlessLoopIsDocumentedAsUntrustedCode) {
  const auto text = slurp(std::filesystem::path(GRAFT_SOURCE_DIR) / "docs" / "security.md");
  EXPECT_THAT(text, ::testing::HasSubstr("endless loop"));
  const Scratch scratch;
  const auto path = scratch.write("loops.pt", classifier(1,
                                                         "n = 0\n"
                                                         "while n < 100000:\n"
                                                         "    n += 1\n"
                                                         "assert n < 0, \"went round \" + str(n) + \" times\"\n"));
  EXPECT_GRAFT_ERROR(Model::load(path), kMismatch, "went round 100000 times");
}

/// One file first, from some read on another of the same size.
class ReplacedSource final : public base::ByteSource {
 public:
  ReplacedSource(std::string first, std::string second, int after)
      : first_(std::move(first)), second_(std::move(second)), left_(after) {}
  std::uint64_t size() const override { return first_.size(); }
  void read(std::uint64_t offset, std::span<std::byte> out) const override {
    const auto& now = left_-- > 0 ? first_ : second_;
    base::MemorySource(std::as_bytes(std::span(now))).read(offset, out);
  }
  bool replaced() const { return left_ < 0; }

 private:
  std::string first_, second_;
  mutable int left_;
};

// One or the other, or an error: never a mixture.
TEST(BadModels, Case37ReplacedBetweenAnyTwoReads) {
  const auto ones = classifier(1), twos = classifier(2);
  ASSERT_EQ(ones.size(), twos.size());
  const auto input = at::ones({1, 3, 100, 100});
  int refused = 0;
  for (int after = 0;; ++after) {
    const ReplacedSource source(ones, twos, after);
    graph::ExtraFiles none;
    try {
      const auto network = graph::Network::load(source, "x.pt", none);
      const auto logit = engine::Runner(network).run(input).flatten()[0].item<float>();
      EXPECT_TRUE(logit == 30'000.f || logit == 60'000.f) << after << ": " << logit;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kFormat) << error.what();
      ++refused;
    }
    if (!source.replaced()) break;
  }
  EXPECT_GT(refused, 0);
}

TEST(BadModels, Case37ReplacedWhileItLoads) {
  const Scratch scratch;
  const auto path = scratch / "model.pt";
  const auto ones = classifier(1), twos = classifier(2);
  scratch.write("model.pt", ones);
  std::atomic<bool> done = false;
  std::thread writer([&] {
    for (int i = 0; !done; ++i) {
      const auto& bytes = i % 2 ? ones : twos;
      if (i % 4 < 2) {
        write_atomically(path, bytes);
      } else {
        scratch.write("model.pt", bytes);  // as cp does: cut off, then filled again
      }
    }
  });
  int loaded = 0;
  for (int i = 0; i < 60; ++i) {
    try {
      const auto logit = first_logit(Model::load(path));
      EXPECT_TRUE(logit == 30'000.f || logit == 60'000.f) << logit;
      ++loaded;
    } catch (const Error& error) {
      EXPECT_TRUE(error.code() == ErrorCode::kFormat || error.code() == ErrorCode::kIo) << error.what();
    }
  }
  done = true;
  writer.join();
  EXPECT_GT(loaded, 0);
}

TEST(Manifest, ListsTheFilesThatAreMeant) {
  const Scratch scratch;
  const auto bytes = slurp(golden("networks/vgg_scripted.pt"));
  const auto path = scratch.write("models/a.pt", bytes);
  const auto hash = base::Sha256().update(bytes).hex();
  const auto manifest = [&](const std::string& text) { return scratch.write("SHA256SUMS", text).string(); };

  for (const auto& line :
       {hash + "  models/a.pt\n", hash + " *./models/a.pt\r\n", "\n" + hash + "  models/../models/a.pt"})
    EXPECT_NO_THROW(Model::load(path, {.sha256_manifest = manifest(line)})) << line;
  const std::string zeros(64, '0');
  EXPECT_GRAFT_ERROR(Model::load(path, {.sha256_manifest = manifest(zeros + "  models/a.pt\n")}), kMismatch,
                     "found " + hash);
  EXPECT_GRAFT_ERROR(Model::load(path, {.sha256_manifest = manifest(hash + "  a.pt\n")}), kMismatch, "lists");
  EXPECT_GRAFT_ERROR(Model::load(path, {.sha256_manifest = manifest("a.pt " + hash)}), kFormat, "line 1");
  EXPECT_GRAFT_ERROR(Model::load(path, {.sha256_manifest = (scratch / "none").string()}), kIo, "cannot open");
}

}  // namespace
}  // namespace graft
