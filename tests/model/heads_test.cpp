#include <graft/head.h>

#include <algorithm>
#include <fstream>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <graft/model.h>
#include <graft/script_head.h>

#include "engine/runner.h"
#include "model/head_recipe.h"
#include "support/expect_error.h"
#include "support/golden.h"
#include "support/measured.h"

namespace graft {
namespace {

using graft::testing::close;
using graft::testing::golden;
using graft::testing::golden_tensor;
using graft::testing::measured;
using graft::testing::Scratch;

graph::Network nothing() { return graph::NetworkBuilder("Nothing").build("return x"); }

Model load() {
  return Model::load(golden("networks/resnet_scripted.pt"), {.preprocessing = Preprocessing::rescale_mode(32)});
}
at::Tensor input() { return golden_tensor("networks/input.f32", {2, 3, 32, 32}); }

at::Tensor tensor_from(const nlohmann::json& values, at::IntArrayRef shape) {
  return at::tensor(values.get<std::vector<float>>(), at::kFloat).reshape(shape);
}

TEST(BuiltInHeads, PoolingsAndClassifiersEqualPyTorch) {
  const auto vectors = nlohmann::json::parse(std::ifstream(golden("networks/heads.json")));
  const auto features = tensor_from(vectors["features"], {2, 6, 3, 4});
  const at::NoGradGuard no_grad;
  double difference = 0;
  ASSERT_EQ(vectors["cases"].size(), 10u);
  for (const auto& [text, expected] : vectors["cases"].items()) {
    const auto head = heads::parse(text, 4);
    EXPECT_EQ(head.describe(), text);
    const auto built = build_head(head, {1, 6, 3, 4}, nothing());
    auto parameters = built.network.named_parameters();
    ASSERT_EQ(parameters.size(), expected["parameters"].size()) << text;
    for (auto& [name, tensor] : parameters) tensor.copy_(tensor_from(expected["parameters"].at(name), tensor.sizes()));
    const auto logits = engine::Runner(built.network).run(features);
    difference = std::max(difference, (logits - tensor_from(expected["logits"], {2, 4})).abs().max().item<double>());
  }
  EXPECT_TRUE(measured("logits of 5 poolings with 2 classifiers", difference, 1e-5));
}

TEST(BuiltInHeads, TokensArePooledAsPlacesAre) {
  const auto map = at::randn({2, 6, 3, 4});
  const auto tokens = map.flatten(2).transpose(1, 2).contiguous();
  const at::NoGradGuard no_grad;
  for (const auto pooling :
       {Pooling::kAverage, Pooling::kMax, Pooling::kAverageMax, Pooling::kGem, Pooling::kAttention}) {
    const auto head = heads::linear({.classes = 3, .pooling = pooling});
    const auto of_map = build_head(head, {1, 6, 3, 4}, nothing()), of_tokens = build_head(head, {1, 12, 6}, nothing());
    EXPECT_TRUE(close(engine::Runner(of_tokens.network).run(tokens), engine::Runner(of_map.network).run(map), 1e-5));
  }
}

TEST(BuiltInHeads, VectorsHaveNoPlacesToPool) {
  EXPECT_NO_THROW(build_head(heads::linear({.classes = 3, .pooling = Pooling::kMax}), {1, 6}, nothing()));
  EXPECT_GRAFT_ERROR(build_head(heads::linear({.classes = 3, .pooling = Pooling::kGem}), {1, 6}, nothing()), kMismatch,
                     "\"gem\" needs a feature map");
}

TEST(BuiltInHeads, AnEnsembleIsItsMembersSideBySide) {
  auto model = load();
  const auto species = heads::mlp({.hidden = {6}, .classes = 3, .seed = 1});
  const auto size = heads::regression({.outputs = 2, .seed = 2});
  model.replace_head(heads::ensemble({{"species", species}, {"size", size, 0.25}}));
  EXPECT_EQ(model.inspect().head_kind, "ensemble(species=mlp:6,size=linear)");
  EXPECT_TRUE(model.named_parameters().contains("head.species.hidden.fc1.weight"));
  ASSERT_EQ(model.tasks().size(), 2u);
  EXPECT_EQ(model.tasks()[1].name, "size");
  EXPECT_EQ(model.tasks()[1].weight, 0.25);
  const auto together = model.forward(input());
  for (const auto& [head, first, outputs] : {std::tuple(species, 0, 3), std::tuple(size, 3, 2)}) {
    auto alone = load();
    alone.replace_head(head);
    EXPECT_TRUE(close(together.narrow(1, first, outputs), alone.forward(input()), 1e-6));
  }
  EXPECT_NO_THROW(model.set_labels({{"x", ""}, {"y", ""}, {"z", ""}, {"x", ""}, {"w", ""}}));
  EXPECT_GRAFT_ERROR(model.set_labels({{"x", ""}, {"x", ""}, {"z", ""}, {"a", ""}, {"b", ""}}), kMismatch,
                     "\"x\" twice");
}

TEST(BuiltInHeads, OptionsOutOfRangeAreRefused) {
  const auto linear = heads::linear({.classes = 2});
  EXPECT_GRAFT_ERROR(heads::multi_label({}), kConfig, "label");
  EXPECT_GRAFT_ERROR(heads::regression({.outputs = 0}), kConfig, "output");
  EXPECT_GRAFT_ERROR(heads::cosine({.classes = 2, .scale = 0}), kConfig, "scale");
  EXPECT_GRAFT_ERROR(heads::ensemble({}), kConfig, "member");
  EXPECT_GRAFT_ERROR(heads::ensemble({{"a", linear}, {"a", linear}}), kConfig, "name of its own");
  EXPECT_GRAFT_ERROR(heads::ensemble({{"a b", linear}}), kConfig, "\"a b\"");
  // Of these LibTorch writes files that it cannot read.
  for (const std::string name : {"torch", "training", "forward", "class", "None"})
    EXPECT_GRAFT_ERROR(
        Model::load(golden("networks/resnet_scripted.pt")).replace_head(heads::ensemble({{name, linear}})), kConfig,
        "expected another name than \"" + name + "\"");
  EXPECT_GRAFT_ERROR(heads::ensemble({{"a", linear, -1}}), kConfig, "weight");
  EXPECT_GRAFT_ERROR(heads::parse("mean+linear", 2), kConfig, "\"mean\"");
  EXPECT_GRAFT_ERROR(heads::parse("gem+tree", 2), kConfig, "\"tree\"");
}

TEST(ScriptHead, SourceBecomesAHead) {
  const Scratch scratch;
  const auto head = heads::script(
      {.source =
           "def forward(self, x: Tensor) -> Tensor:\n"
           "    x = x.mean([2, 3])\n"
           "    if bool(x.sum() > 1e9):\n"
           "        x = x * 0\n"
           "    x = torch.batch_norm(x, self.bn.weight, self.bn.bias, self.bn.running_mean, self.bn.running_var,\n"
           "                         self.bn.training, 0.1, 1e-5, True)\n"
           "    return torch.linear(torch.dropout(x, 0.5, self.training), self.fc.weight)\n",
       .parameters =
           [](const std::vector<std::int64_t>& shape) {
             return heads::NamedTensors{{"bn.weight", at::ones({shape[1]})},
                                        {"bn.bias", at::zeros({shape[1]})},
                                        {"fc.weight", at::full({3, shape[1]}, 0.5)}};
           },
       .buffers =
           [](const std::vector<std::int64_t>& shape) {
             return heads::NamedTensors{{"bn.running_mean", at::zeros({shape[1]})},
                                        {"bn.running_var", at::ones({shape[1]})}};
           },
       .name = "scripted"});
  auto model = load();
  model.replace_head(head);
  model.freeze();
  const auto expected =
      at::linear(model.forward_features(input()).mean({2, 3}) / std::sqrt(1 + 1e-5), at::full({3, 16}, 0.5));
  EXPECT_TRUE(close(model.forward(input()), expected, 1e-4));
  EXPECT_TRUE(model.uses_batch_statistics());
  model.save(scratch / "script.pt");
  const auto loaded = Model::load(scratch / "script.pt");
  EXPECT_TRUE(at::equal(loaded.forward(input()), model.forward(input())));
  EXPECT_EQ(loaded.inspect().head_kind, "scripted");
  model.train();
  EXPECT_FALSE(at::equal(model.forward(input()), model.forward(input()))) << "dropout is on";
}

TEST(ScriptHead, MisuseSaysWhatToDo) {
  const heads::MakeTensors parameters = [](const auto&) { return heads::NamedTensors{{"weight", at::ones({2, 16})}}; };
  auto model = load();
  EXPECT_GRAFT_ERROR(heads::script({.source = "", .parameters = parameters}), kConfig, "source text");
  EXPECT_GRAFT_ERROR(model.replace_head(heads::script({.source = "def forward(self, x: Tensor) -> Tensor:\n"
                                                                 "    return self.missing(x)\n",
                                                       .parameters = parameters})),
                     kConfig, "missing");
  EXPECT_GRAFT_ERROR(model.replace_head(heads::script({.source = "def forward(self, x: Tensor) -> Tensor:\n"
                                                                 "    return torch.linear(x, self.weight)\n",
                                                       .parameters = parameters})),
                     kMismatch, "mat1 and mat2");
}

}  // namespace
}  // namespace graft
