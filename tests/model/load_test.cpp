// Files that Model::load must not take, and how it finds out.

#include <graft/model.h>

#include <atomic>
#include <cmath>
#include <map>
#include <memory>
#include <thread>

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <graft/files.h>

#include "base/safetensors.h"
#include "base/sha256.h"
#include "engine/runner.h"
#include "graph/network.h"
#include "model/built_in.h"
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

/// ResNet50's tensors under torchvision's names, for three classes; the last factor makes its answers moderate.
std::map<std::string, at::Tensor> resnet50_weights() {
  const auto generator = at::detail::createCPUGenerator(5);
  std::map<std::string, at::Tensor> weights;
  const auto convolution = [&](const std::string& name, std::int64_t in, std::int64_t out, std::int64_t side) {
    weights[name + ".weight"] = at::randn({out, in, side, side}, generator) * std::sqrt(2. / double(in * side * side));
  };
  const auto norm = [&](const std::string& name, std::int64_t channels) {
    weights[name + ".weight"] = at::rand({channels}, generator) * 0.5;
    weights[name + ".bias"] = at::randn({channels}, generator) * 0.1;
    weights[name + ".running_mean"] = at::randn({channels}, generator) * 0.1;
    weights[name + ".running_var"] = at::rand({channels}, generator) + 0.5;
  };
  convolution("conv1", 3, 64, 7);
  norm("bn1", 64);
  std::int64_t in = 64;
  for (const auto& [stage, blocks] : {std::pair(1, 3), {2, 4}, {3, 6}, {4, 3}})
    for (int block = 0; block < blocks; ++block) {
      const auto name = "layer" + std::to_string(stage) + "." + std::to_string(block) + ".";
      const std::int64_t width = 32 << stage;
      convolution(name + "conv1", in, width, 1);
      convolution(name + "conv2", width, width, 3);
      convolution(name + "conv3", width, 4 * width, 1);
      norm(name + "bn1", width);
      norm(name + "bn2", width);
      norm(name + "bn3", 4 * width);
      if (block == 0) {
        convolution(name + "downsample.0", in, 4 * width, 1);
        norm(name + "downsample.1", 4 * width);
      }
      in = 4 * width;
    }
  weights["fc.weight"] = at::randn({3, 2048}, generator) * 0.02;
  weights["fc.bias"] = at::randn({3}, generator);
  return weights;
}

/// He et al. 2015, written out with ATen's functions.
at::Tensor resnet50(const std::map<std::string, at::Tensor>& w, at::Tensor x) {
  const auto layer = [&](const at::Tensor& input, const std::string& conv, const std::string& bn, int stride,
                         int padding) {
    return at::batch_norm(at::conv2d(input, w.at(conv + ".weight"), {}, stride, padding), w.at(bn + ".weight"),
                          w.at(bn + ".bias"), w.at(bn + ".running_mean"), w.at(bn + ".running_var"), false, 0.1, 1e-5,
                          false);
  };
  x = at::max_pool2d(layer(x, "conv1", "bn1", 2, 3).relu(), 3, 2, 1);
  for (const auto& [stage, blocks] : {std::pair(1, 3), {2, 4}, {3, 6}, {4, 3}})
    for (int block = 0; block < blocks; ++block) {
      const auto name = "layer" + std::to_string(stage) + "." + std::to_string(block) + ".";
      const int stride = block == 0 && stage > 1 ? 2 : 1;
      auto y = layer(x, name + "conv1", name + "bn1", 1, 0).relu();
      y = layer(y, name + "conv2", name + "bn2", stride, 1).relu();
      y = layer(y, name + "conv3", name + "bn3", 1, 0);
      if (block == 0) x = layer(x, name + "downsample.0", name + "downsample.1", stride, 0);
      x = (x + y).relu();
    }
  return at::linear(x.mean({2, 3}), w.at("fc.weight"), w.at("fc.bias"));
}

TEST(Safetensors, FillTheBuiltInResNet50) {
  const Scratch scratch;
  const auto weights = resnet50_weights();
  const auto path = scratch / "resnet50.safetensors";
  base::write_safetensors(path, {weights, {}});
  auto model = Model::from_safetensors(path);
  EXPECT_EQ(model.inspect().family, "resnet50");
  EXPECT_EQ(model.head_name(), "fc");
  EXPECT_EQ(model.stages().size(), 4u);
  const auto input = at::randn({2, 3, 96, 64}, at::detail::createCPUGenerator(6));
  const auto expected = resnet50(weights, input);
  EXPECT_TRUE(testing::close(model.forward(input), expected, 1e-3 * expected.abs().max().item<double>()));

  // It is as good as one from TorchScript: it trains, and is saved as TorchScript.
  model.replace_head(heads::linear({.classes = 2}));
  model.freeze();
  model.train();
  model.forward(input).sum().backward();
  model.eval();
  model.save(scratch / "saved.pt");
  EXPECT_TRUE(testing::close(Model::load(scratch / "saved.pt").forward(input), model.forward(input), 1e-5));
}

TEST(Safetensors, NamesAndShapesAreChecked) {
  const auto refused = [whole = resnet50_weights()](const auto& change) {
    auto weights = whole;
    change(weights);
    return model::built_in(weights);
  };
  EXPECT_GRAFT_ERROR(refused([](auto& w) { w.erase("layer3.5.conv2.weight"); }), kMismatch,
                     "missing: layer3.5.conv2.weight");
  EXPECT_GRAFT_ERROR(refused([](auto& w) { w["layer9.weight"] = at::ones({1}); }), kMismatch,
                     "belonging to nothing: layer9.weight");
  EXPECT_GRAFT_ERROR(refused([](auto& w) { w["fc.bias"] = at::ones({4}); }), kMismatch, "fc.bias (expected [3]");
  EXPECT_GRAFT_ERROR(refused([](auto& w) { w["bn1.bias"] = at::ones({64}, at::kLong); }), kMismatch, "of Long");
  EXPECT_GRAFT_ERROR(refused([](auto& w) { w = {{"some.weight", at::ones({1})}}; }), kMismatch, "found neither");
}

TEST(Safetensors, FilesAreChecked) {
  const Scratch scratch;
  const auto path = scratch / "weights.safetensors";
  auto weights = resnet50_weights();
  for (auto& [name, tensor] : weights) tensor = tensor.to(at::kBFloat16);
  base::write_safetensors(path, {weights, {}});
  EXPECT_EQ(Model::from_safetensors(path).named_parameters().at("fc.weight").scalar_type(), at::kFloat);
  EXPECT_GRAFT_ERROR(Model::load(path), kMismatch, "Model::from_safetensors");
  EXPECT_GRAFT_ERROR(Model::from_safetensors(path, {.limits = {.total_bytes = 1000}}), kLimit, "at most 1000 bytes");
  EXPECT_GRAFT_ERROR(Model::from_safetensors(path, {.sha256_manifest = scratch.write("SHA256SUMS", "\n").string()}),
                     kMismatch, "lists");
  weights["bn1.bias"] = at::full({64}, NAN);
  base::write_safetensors(path, {weights, {}});
  EXPECT_GRAFT_ERROR(Model::from_safetensors(path), kNumeric, "bn1.bias");

  EXPECT_GRAFT_ERROR(Model::from_safetensors(golden("networks/vgg_scripted.pt")), kFormat, "safetensors");
  // Two tensors over the same bytes: a file of some kilobytes could ask for any amount of memory.
  const std::string header =
      R"({"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},"b":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}})";
  scratch.write("weights.safetensors",
                std::string(1, static_cast<char>(header.size())) + std::string(7, '\0') + header + "12345678");
  EXPECT_GRAFT_ERROR(Model::from_safetensors(path), kFormat, "its tensors overlap");
}

}  // namespace
}  // namespace graft
