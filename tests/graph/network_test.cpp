#include "graph/network.h"

#include <algorithm>

#include <ATen/core/grad_mode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/runner.h"
#include "graph/flatten.h"
#include "graph/to_run.h"
#include "support/expect_error.h"
#include "support/golden.h"

namespace graft::graph {
namespace {

using engine::Runner;
using graft::testing::close;
using graft::testing::golden;
using graft::testing::golden_tensor;
using graft::testing::slurp;

Network load_bytes(const std::string& bytes) {
  ExtraFiles none;
  return Network::load(std::as_bytes(std::span(bytes.data(), bytes.size())), "x.pt", none);
}

Network load(const std::string& name) { return load_bytes(slurp(golden("networks/" + name + ".pt"))); }

at::Tensor input() { return golden_tensor("networks/input.f32", {2, 3, 32, 32}); }

std::vector<std::string> names(const NamedTensors& tensors) {
  std::vector<std::string> result;
  for (const auto& [name, tensor] : tensors) result.push_back(name);
  return result;
}

/// The reference's floats, in whatever shape we got.
::testing::AssertionResult equals_golden(const at::Tensor& found, const std::string& name) {
  return close(found.detach(), golden_tensor("networks/" + name + ".f32", found.sizes()), 1e-5);
}

class BothKinds : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Formats, BothKinds, ::testing::Values("scripted", "traced"),
                         [](const auto& param) { return std::string(param.param); });

TEST_P(BothKinds, RunsAsPyTorchDoes) {
  for (const std::string net : {"resnet", "vgg"})
    EXPECT_TRUE(equals_golden(Runner(load(net + "_" + GetParam())).run(input()), net + ".logits")) << net;
}

TEST_P(BothKinds, CutsBeforeAndAfterAnyChild) {
  for (const std::string layer : {"layer1", "layer2", "layer2.1.conv2", "avgpool", "fc"}) {
    const auto net = load(std::string("resnet_") + GetParam());
    EXPECT_TRUE(equals_golden(Runner(net.cut_before(layer)).run(input()), "resnet.before." + layer)) << layer;
    EXPECT_TRUE(equals_golden(Runner(net.cut_after(layer)).run(input()), "resnet.after." + layer)) << layer;
  }
  for (const std::string layer : {"features", "avgpool", "classifier.3", "classifier.6"}) {
    const auto net = load(std::string("vgg_") + GetParam());
    if (layer != "features") {  // nothing comes before it
      EXPECT_TRUE(equals_golden(Runner(net.cut_before(layer)).run(input()), "vgg.before." + layer)) << layer;
    }
    EXPECT_TRUE(equals_golden(Runner(net.cut_after(layer)).run(input()), "vgg.after." + layer)) << layer;
  }
}

TEST_P(BothKinds, ACutKeepsNamesAndDropsTheRest) {
  const auto net = load(std::string("resnet_") + GetParam());
  const auto cut = names(net.cut_before("layer2.1.conv2").named_parameters());
  EXPECT_THAT(cut, ::testing::IsSupersetOf({"conv1.weight", "layer2.0.downsample.0.weight", "layer2.1.bn1.bias"}));
  EXPECT_THAT(cut, ::testing::Not(::testing::Contains("layer2.1.conv2.weight")));
  EXPECT_THAT(cut, ::testing::Not(::testing::Contains("fc.weight")));
  const auto vgg = names(load(std::string("vgg_") + GetParam()).cut_after("features").named_parameters());
  EXPECT_THAT(vgg,
              ::testing::ElementsAre("features.0.weight", "features.0.bias", "features.3.weight", "features.3.bias"));
}

TEST_P(BothKinds, ACutCanBeSavedLoadedAndCutAgain) {
  const auto cut = load(std::string("resnet_") + GetParam()).cut_before("fc");
  const auto again = load_bytes(cut.save({}));
  EXPECT_TRUE(equals_golden(Runner(again).run(input()), "resnet.before.fc"));
  EXPECT_TRUE(equals_golden(Runner(again.cut_before("layer2.1.conv2")).run(input()), "resnet.before.layer2.1.conv2"));
}

TEST_P(BothKinds, ACutSharesItsTensors) {
  const auto net = load(std::string("vgg_") + GetParam());
  const auto cut = net.cut_after("features");
  EXPECT_TRUE(cut.named_parameters()[0].second.is_same(net.named_parameters()[0].second));
}

TEST_P(BothKinds, CallsComeInExecutionOrder) {
  std::vector<std::string> paths;
  for (const auto& call : load(std::string("resnet_") + GetParam()).calls()) paths.push_back(call.path);
  const std::vector<std::string> wanted{"conv1", "bn1", "relu", "maxpool", "layer1", "layer1.0", "layer1.0.conv1"};
  ASSERT_GE(paths.size(), wanted.size());
  EXPECT_EQ(std::vector<std::string>(paths.begin(), paths.begin() + 7), wanted);
  EXPECT_EQ(paths.back(), "fc");
}

TEST_P(BothKinds, ProbeSeesShapes) {
  const auto seen = engine::probe(load(std::string("resnet_") + GetParam()), input());
  EXPECT_EQ(seen.output_shape, (std::vector<std::int64_t>{2, 5}));
  for (const auto& call : seen.calls) {
    if (call.call.path == "layer2.1.conv2") {
      EXPECT_EQ(call.call.type, "Conv2d");
      EXPECT_EQ(call.input_shape, (std::vector<std::int64_t>{2, 8, 4, 4}));
    }
    if (call.call.path == "layer2") {
      EXPECT_EQ(call.output_shape, (std::vector<std::int64_t>{2, 16, 4, 4}));
    }
  }
}

TEST_P(BothKinds, AHeadIsJoinedAndSaved) {
  const auto backbone = load(std::string("resnet_") + GetParam()).cut_after("layer2");
  const auto fc = NetworkBuilder("Linear", backbone)
                      .parameter("weight", at::full({3, 16}, 0.5))
                      .parameter("bias", at::ones({3}))
                      .build("return torch.linear(x, self.weight, self.bias)");
  const auto head =
      NetworkBuilder("LinearHead", backbone).child("fc", fc).build("return self.fc.forward(x.mean([2, 3]))");
  const auto joined = backbone.followed_by("head", head);
  const auto expected = golden_tensor("networks/resnet.after.layer2.f32", {2, 16, 4, 4}).mean({2, 3}).sum(1) * 0.5 + 1;
  EXPECT_TRUE(
      close(Runner(load_bytes(joined.save({}))).run(input()).detach(), expected.unsqueeze(1).expand({2, 3}), 1e-5));
  EXPECT_THAT(names(joined.named_parameters()), ::testing::Contains("head.fc.bias"));
  EXPECT_GRAFT_ERROR(joined.followed_by("head", head), kMismatch, "\"head\"");
}

TEST_P(BothKinds, GradientsReachWhatIsTrainable) {
  const auto net = load(std::string("resnet_") + GetParam());
  for (auto& [name, tensor] : net.named_parameters()) tensor.set_requires_grad(name.starts_with("layer2"));
  Runner(net).run(input()).sum().backward();
  for (auto& [name, tensor] : net.named_parameters())
    EXPECT_EQ(tensor.grad().defined(), name.starts_with("layer2")) << name;
}

TEST(Origin, IsFoundByLooking) {
  EXPECT_EQ(load("resnet_scripted").origin(), Origin::kScripted);
  EXPECT_EQ(load("resnet_traced").origin(), Origin::kTraced);
  EXPECT_EQ(load("resnet_frozen").origin(), Origin::kFrozen);
  const auto fixed = load("resnet_traced").fixed_training();
  const auto bn1 = std::find_if(fixed.begin(), fixed.end(), [](const auto& f) { return f.layer == "layer2.0.bn1"; });
  ASSERT_NE(bn1, fixed.end());
  EXPECT_EQ(bn1->kind, "batch norm");
  EXPECT_FALSE(bn1->on);
  EXPECT_EQ(fixed.size(), load("resnet_traced").batch_norms().size());
  EXPECT_TRUE(load("resnet_scripted").fixed_training().empty());
}

TEST(Origin, ADropoutIsFixedByItsRateToo) {
  const auto fixed = [](const char* body) {
    return NetworkBuilder("Test").parameter("w", at::ones({2, 3})).build(body).fixed_training().size();
  };
  EXPECT_EQ(fixed("return torch.dropout(x, 0.5, True)"), 1u);
  EXPECT_EQ(fixed("return torch.dropout(x, 0.5, False)"), 1u);
  EXPECT_EQ(fixed("return torch.dropout(x, 0.0, True)"), 0u);
  // What torch.nn.functional.multi_head_attention_forward does.
  EXPECT_EQ(fixed("p = 0.5\nif not self.training:\n    p = 0.0\nreturn torch.dropout(x, p, True)"), 0u);
  EXPECT_EQ(fixed("if self.training:\n    x = torch.dropout(x, 0.5, True)\nreturn x"), 0u);
  EXPECT_EQ(fixed("if self.training and x.dim() == 4:\n    x = torch.dropout(x, 0.5, True)\nreturn x"), 0u);
  EXPECT_EQ(fixed("if x.dim() == 4:\n    x = torch.dropout(x, 0.5, True)\nreturn x"), 1u);
}

TEST(Training, FlagsDecideOnBatchStatistics) {
  auto net = load("resnet_scripted");
  const auto mean = [&] { return net.named_buffers()[0].second.clone(); };
  const auto before = mean();
  net.set_training(true, net.batch_norms());
  Runner(net).run(input());
  EXPECT_TRUE(at::equal(mean(), before));
  net.set_training(true);
  Runner(net).run(input());
  EXPECT_FALSE(at::equal(mean(), before));
}

TEST(Cut, RefusalsSayWhy) {
  EXPECT_GRAFT_ERROR(load("resnet_scripted").cut_before("layer9"), kConfig, "layer9");
  EXPECT_GRAFT_ERROR(load("resnet_scripted").cut_before("conv1"), kMismatch, "no layer comes before");
  EXPECT_GRAFT_ERROR(load("conditional").cut_before("extra"), kMismatch, "inside an if");
  EXPECT_GRAFT_ERROR(load("resnet_frozen").cut_before("fc"), kConfig, "fc");
}

/// stem, then fc in branches of `body`; what it reads as self.flag is an attribute with this value.
Network branching(const std::string& methods, const std::string& body, bool flag) {
  const auto beside = NetworkBuilder("Beside").build();
  const auto layer = [&](double factor) {
    return NetworkBuilder("Layer", beside)
        .parameter("w", at::full({3}, factor))
        .define(
            "def forward(self, x: Tensor, again: bool = False) -> Tensor:\n"
            "    if again:\n"
            "        x = x + 1\n"
            "    return x * self.w\n")
        .build();
  };
  NetworkBuilder network("Branching", beside);
  network.child("stem", layer(2)).child("fc", layer(3));
  torch::jit::Module module = network.jit().module;
  module.register_attribute("flag", c10::BoolType::get(), flag);
  if (!methods.empty()) network.define(methods);
  return network.build(body);
}

TEST(Cut, ABranchThatIsDecidedIsNone) {
  const at::NoGradGuard no_grad;
  const auto x = at::randn({2, 3});
  const std::string early = "x = self.stem.forward(x)\nif self.flag:\n    return x\nreturn self.fc.forward(x)";
  const std::string head =
      "def head(self, x: Tensor, pre_logits: bool = False) -> Tensor:\n"
      "    return x if pre_logits else self.fc.forward(x)\n";
  for (const auto& network :
       {branching("", early, false), branching(head, "return self.head(self.stem.forward(x))", false),
        branching("", "x = self.stem.forward(x)\nif not self.flag and True:\n    x = self.fc.forward(x)\nreturn x",
                  false)}) {
    EXPECT_TRUE(close(Runner(network).run(x), x * 6, 1e-6));
    for (const auto& call : network.calls()) EXPECT_FALSE(call.conditional) << call.path;
    const auto cut = network.cut_before("fc");
    EXPECT_TRUE(close(Runner(load_bytes(cut.save({}))).run(x), x * 2, 1e-6));
    EXPECT_TRUE(close(Runner(load_bytes(network.cut_after("fc").save({}))).run(x), x * 6, 1e-6));
  }
  EXPECT_GRAFT_ERROR(branching("", early, true).cut_before("fc"), kConfig, "no layer \"fc\"");
}

TEST(Cut, ABranchThatIsDecidedWhileRunningIsOne) {
  const std::string by_training = "x = self.stem.forward(x)\nif self.training:\n    x = self.fc.forward(x)\nreturn x";
  EXPECT_GRAFT_ERROR(branching("", by_training, false).cut_before("fc"), kMismatch, "inside an if");
  const std::string by_setting =  // what a method sets is not known
      "x = self.stem.forward(x)\nif self.flag:\n    x = self.fc.forward(x)\nself.flag = x.dim() == 2\nreturn x";
  EXPECT_GRAFT_ERROR(branching("", by_setting, false).cut_before("fc"), kMismatch, "inside an if");
}

TEST(Cut, ALayerThatTakesSeveralTensorsIsRefused) {
  const auto beside = NetworkBuilder("Beside").build();
  const auto tied = NetworkBuilder("Tied", beside)
                        .define("def forward(self, w: Tensor, x: Tensor) -> Tensor:\n    return x * w\n")
                        .build();
  const auto twice = NetworkBuilder("Twice", beside)
                         .define("def forward(self, x: Tensor, scale: Tensor) -> Tensor:\n    return x * scale\n")
                         .build();
  const auto inner = NetworkBuilder("Inner", beside)
                         .child("tied", tied)
                         .child("twice", twice)
                         .parameter("w", at::ones({3}))
                         .build(
                             "x = self.tied.forward(self.w, x)\n"
                             "x = self.twice.forward(x, torch.tensor(x.size(0)))\n"
                             "return x + 1");
  const auto network = NetworkBuilder("Test", beside)
                           .child("body", inner)
                           .child("twice", twice)
                           .build("x = self.body.forward(x * 2)\nreturn self.twice.forward(x, x * 2)");
  EXPECT_GRAFT_ERROR(network.cut_before("twice"), kMismatch, "it takes 2 tensors");
  EXPECT_GRAFT_ERROR(network.cut_before("body.tied"), kMismatch, "not computed from the network's input");
  const at::NoGradGuard no_grad;
  const auto x = at::randn({2, 3});
  EXPECT_TRUE(close(Runner(network.cut_before("body.twice")).run(x), x * 2, 1e-6));  // a size is no picture
  EXPECT_TRUE(close(Runner(network.cut_after("body.tied")).run(x), x * 2, 1e-6));
  EXPECT_TRUE(close(Runner(network.cut_before("body")).run(x), x * 2, 1e-6));
}

TEST(Cut, AMaskOfTheInputIsNoSecondTensorWhereItHasBeenUsedInPlace) {
  const auto beside = NetworkBuilder("Beside").build();
  const auto body = NetworkBuilder("Body", beside).parameter("w", at::ones({3})).build("return x * self.w");
  const auto masked = NetworkBuilder("Masked", beside)
                          .define("def forward(self, x: Tensor, mask: Tensor) -> Tensor:\n    return x * mask\n")
                          .build();
  const auto network = NetworkBuilder("Test", beside)
                           .child("body", body)
                           .child("masked", masked)
                           .build(
                               "mask = x < 0\n"
                               "y = self.body.forward(x * 2)\n"
                               "torch.masked_fill_(y, mask, 0.)\n"
                               "return self.masked.forward(y, mask)");
  const at::NoGradGuard no_grad;
  const auto x = at::randn({2, 3});
  EXPECT_TRUE(close(Runner(network.cut_before("masked")).run(x), (x * 2).clamp_min(0), 1e-6));
}

TEST(Flatten, ALayerThatIsAViewKeepsItsOutput) {
  const auto beside = NetworkBuilder("Beside").build();
  const auto flat = NetworkBuilder("Flat", beside).build("return x.view(x.size(0), -1)");
  const auto fc =
      NetworkBuilder("Linear", beside).parameter("w", at::ones({5, 12})).build("return torch.linear(x, self.w)");
  const auto network = NetworkBuilder("Test", beside)
                           .child("flat", flat)
                           .child("fc", fc)
                           .build("return self.fc.forward(self.flat.forward(x * 2))");
  const auto x = at::ones({2, 3, 2, 2}).contiguous(at::MemoryFormat::ChannelsLast);
  const auto seen = engine::probe(network, x);
  ASSERT_EQ(seen.calls.size(), 2u);
  EXPECT_EQ(seen.calls[0].output_shape, (std::vector<std::int64_t>{2, 12}));
  EXPECT_EQ(seen.calls[1].input_shape, (std::vector<std::int64_t>{2, 12}));
  const auto module_graph = flatten_to_run(network.jit().module);
  for (const auto& call : module_graph.calls) EXPECT_EQ(call.output->node()->owningGraph(), module_graph.graph.get());
}

TEST(Run, WrongInputIsAMismatch) {
  EXPECT_GRAFT_ERROR(Runner(load("one_channel")).run(input()), kMismatch, "1 channels");
  EXPECT_GRAFT_ERROR(Runner(load("tuple")).run(input()), kMismatch, "one tensor");
}

TEST(BadModels, Case1EmptyFile) { EXPECT_GRAFT_ERROR(load_bytes(""), kFormat, "empty file"); }
TEST(BadModels, Case2TextFile) { EXPECT_GRAFT_ERROR(load_bytes("hello\n"), kFormat, "text file"); }
TEST(BadModels, Case3ZipHeaderOnly) {
  EXPECT_GRAFT_ERROR(load_bytes("PK"), kFormat, "cut off");
  EXPECT_GRAFT_ERROR(load_bytes(std::string("PK\x03\x04", 4)), kFormat, "damaged or cut off");
}
TEST(BadModels, Case4EmptyZip) {
  EXPECT_GRAFT_ERROR(load_bytes(std::string("PK\x05\x06", 4) + std::string(18, '\0')), kFormat, "cut off or empty");
}
TEST(BadModels, Case5TruncatedArchive) {
  const auto bytes = slurp(golden("networks/resnet_scripted.pt"));
  for (const double part : {0.3, 0.6, 0.9, 0.999})
    EXPECT_GRAFT_ERROR(load_bytes(bytes.substr(0, static_cast<std::size_t>(part * static_cast<double>(bytes.size())))),
                       kFormat, "damaged or cut off");
}
TEST(BadModels, Case11StateDict) {
  EXPECT_GRAFT_ERROR(load_bytes(slurp(golden("networks/state_dict.pth"))), kMismatch, "state dict");
}
TEST(BadModels, Case12LegacyPickle) {
  EXPECT_GRAFT_ERROR(load_bytes(std::string("\x80\x02\x8a\x0a", 4)), kFormat, "old torch.save");
}
TEST(BadModels, Case13Safetensors) {
  EXPECT_GRAFT_ERROR(load_bytes(std::string("\x02\0\0\0\0\0\0\0{}", 10)), kMismatch, "safetensors");
}
TEST(BadModels, Case14ErrorPageOrPointer) {
  EXPECT_GRAFT_ERROR(load_bytes("<!DOCTYPE html><html>404</html>"), kFormat, "HTML");
  EXPECT_GRAFT_ERROR(load_bytes("version https://git-lfs.github.com/spec/v1\n"), kFormat, "Git LFS");
}
TEST(BadModels, Case31NoForward) { EXPECT_GRAFT_ERROR(load("no_forward"), kMismatch, "forward"); }

}  // namespace
}  // namespace graft::graph
