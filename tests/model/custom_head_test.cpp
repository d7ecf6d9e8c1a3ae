#include <graft/custom_head.h>

#include <algorithm>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <graft/model.h>

#include "base/seeded_generator.h"
#include "support/expect_error.h"
#include "support/golden.h"

namespace graft {
namespace {

using graft::testing::close;
using graft::testing::golden;
using graft::testing::golden_tensor;
using graft::testing::Scratch;
using heads::custom;
using Shape = std::vector<std::int64_t>;

Model load() {
  return Model::load(golden("networks/resnet_scripted.pt"), {.preprocessing = Preprocessing::rescale_mode(32)});
}
at::Tensor input() { return golden_tensor("networks/input.f32", {2, 3, 32, 32}); }

/// Two branches over a feature map, batch norm of two kinds, dropout of two kinds, a buffer of its own.
struct TwoBranchImpl : torch::nn::Module {
  TwoBranchImpl(std::int64_t channels, std::int64_t classes)
      : conv(register_module("conv", torch::nn::Conv2d(torch::nn::Conv2dOptions(channels, 8, 1).bias(false)))),
        bn(register_module("bn", torch::nn::BatchNorm2d(8))),
        drop(register_module("drop", torch::nn::Dropout(0.5))),
        fc(register_module("fc", torch::nn::Linear(8 + channels, classes))),
        norm(register_module("norm", torch::nn::BatchNorm1d(classes))) {
    scale = register_parameter("scale", torch::ones({1, classes}));
    shift = register_buffer("shift", torch::full({classes}, 0.25));
  }
  torch::Tensor forward(const torch::Tensor& x) {
    auto a = torch::relu(bn(conv(x))).mean({2, 3});
    auto b = torch::dropout(torch::amax(x, {2, 3}), 0.25, is_training());
    return norm(fc(drop(torch::cat({a, b}, 1)))) * scale + shift;
  }
  torch::nn::Conv2d conv;
  torch::nn::BatchNorm2d bn;
  torch::nn::Dropout drop;
  torch::nn::Linear fc;
  torch::nn::BatchNorm1d norm;
  torch::Tensor scale, shift;
};
TORCH_MODULE(TwoBranch);

Head two_branch(std::int64_t classes = 4) {
  return custom([=](const Shape& shape) { return TwoBranch(shape.at(1), classes); }, {.name = "TwoBranch", .seed = 3});
}

TEST(CustomHead, ItsTensorsKeepTheirNames) {
  auto model = load();
  model.replace_head(two_branch());
  EXPECT_EQ(model.num_classes(), 4);
  EXPECT_EQ(model.inspect().head_kind, "custom:TwoBranch");
  for (const char* name : {"conv.weight", "bn.weight", "bn.bias", "fc.weight", "fc.bias", "norm.weight", "scale"})
    EXPECT_TRUE(model.named_parameters().contains(std::string("head.") + name)) << name;
  for (const char* name : {"bn.running_mean", "bn.num_batches_tracked", "norm.running_var", "shift"})
    EXPECT_TRUE(model.named_buffers().contains(std::string("head.") + name)) << name;
}

TEST(CustomHead, AnswersAsTheModuleDoes) {
  auto model = load();
  TwoBranch module(16, 4);
  model.replace_head(custom(module));
  module->eval();
  const at::NoGradGuard no_grad;
  EXPECT_TRUE(close(model.forward(input()), module(model.forward_features(input())), 1e-5));
  EXPECT_EQ(model.inspect().head_kind, "custom:TwoBranch");
  model.named_parameters().at("head.scale").mul_(2);
  EXPECT_EQ(module->scale.max().item<double>(), 1) << "the model has tensors of its own";
}

TEST(CustomHead, TrainsAsTheModuleDoes) {
  const base::SeededGenerator fixed(at::kCPU, 11);
  const auto x = at::randn({8, 3, 32, 32});
  auto model = load();
  TwoBranch module(16, 4);
  model.replace_head(custom(module));
  model.freeze();
  const auto features = model.forward_features(x);
  model.train();
  for (int step = 0; step < 3; ++step) {
    at::Tensor from_model, from_module;
    {
      const base::SeededGenerator generator(at::kCPU, 5);
      from_model = model.forward(x);
    }
    {
      const base::SeededGenerator generator(at::kCPU, 5);
      from_module = module(features);
    }
    EXPECT_TRUE(close(from_model, from_module, 1e-5)) << "step " << step;
    from_model.sum().backward();
    from_module.sum().backward();
  }
  const auto parameters = model.named_parameters();
  for (const auto& parameter : module->named_parameters())
    EXPECT_TRUE(close(parameters.at("head." + parameter.key()).grad(), parameter.value().grad(),
                      1e-4 * std::max(1.0, parameter.value().grad().abs().max().item<double>())))
        << parameter.key();
  const auto buffers = model.named_buffers();
  for (const auto& buffer : module->named_buffers())
    EXPECT_TRUE(close(buffers.at("head." + buffer.key()), buffer.value(), 1e-6)) << buffer.key();
  EXPECT_EQ(buffers.at("head.bn.num_batches_tracked").item<std::int64_t>(), 3);
}

TEST(CustomHead, AFrozenBatchNormRunsInInferenceMode) {
  auto model = load();
  model.replace_head(two_branch());
  model.freeze();
  model.freeze("head.bn");
  const auto hash = model.frozen_hash();
  const auto mean = model.named_buffers().at("head.norm.running_mean").clone();
  model.train();
  (void)model.forward(input());
  model.eval();
  EXPECT_EQ(model.frozen_hash(), hash);
  EXPECT_EQ(model.named_buffers().at("head.bn.num_batches_tracked").item<std::int64_t>(), 0);
  EXPECT_FALSE(at::equal(model.named_buffers().at("head.norm.running_mean"), mean));
}

TEST(CustomHead, ASavedModelIsTheSameModel) {
  const Scratch scratch;
  auto model = load();
  model.replace_head(two_branch());
  model.freeze();
  model.save(scratch / "custom.pt");
  auto loaded = Model::load(scratch / "custom.pt");
  EXPECT_TRUE(at::equal(loaded.forward(input()), model.forward(input())));
  EXPECT_EQ(loaded.inspect().head_kind, "custom:TwoBranch");
  EXPECT_EQ(loaded.inspect().origin, "scripted");
  EXPECT_EQ(loaded.trainable_parameters().size(), model.trainable_parameters().size());
  loaded.train();
  const base::SeededGenerator generator(at::kCPU, 5);
  const auto first = loaded.forward(input()).detach();
  EXPECT_FALSE(at::equal(first, loaded.forward(input()))) << "dropout is on";
}

TEST(CustomHead, ReplacingItOnceMoreStartsAnew) {
  auto model = load();
  const auto head = two_branch();
  model.replace_head(head);
  const auto first = model.named_parameters().at("head.fc.weight").detach().clone();
  {
    const at::NoGradGuard no_grad;
    model.named_parameters().at("head.fc.weight").zero_();
  }
  model.replace_head(head);
  EXPECT_TRUE(at::equal(model.named_parameters().at("head.fc.weight"), first));
  EXPECT_EQ(model.head_name(), "head");
}

TEST(CustomHead, LeavesTheModuleAndTheGeneratorAsTheyWere) {
  auto model = load();
  TwoBranch module(16, 4);
  module->bn->eval();
  const auto generator = at::globalContext().defaultGenerator(at::kCPU);
  const auto state = generator.get_state();
  model.replace_head(custom(module));
  EXPECT_TRUE(at::equal(generator.get_state(), state));
  EXPECT_TRUE(module->is_training());
  EXPECT_TRUE(module->drop->is_training());
  EXPECT_FALSE(module->bn->is_training());
  EXPECT_EQ(module->bn->num_batches_tracked.item<std::int64_t>(), 0);
  for (const auto& parameter : module->parameters()) EXPECT_FALSE(parameter.grad().defined());
}

TEST(CustomHead, ASequentialIsOneToo) {
  auto model = load();
  model.replace_head(
      custom(torch::nn::Sequential(torch::nn::AdaptiveAvgPool2d(1), torch::nn::Flatten(), torch::nn::Linear(16, 6),
                                   torch::nn::GELU(), torch::nn::Dropout(0.1), torch::nn::Linear(6, 3))));
  EXPECT_EQ(model.forward(input()).sizes(), at::IntArrayRef({2, 3}));
  EXPECT_TRUE(model.named_parameters().contains("head.2.weight"));
}

/// Noise in training: the operations themselves differ, not only their flags.
struct NoisyImpl : torch::nn::Module {
  NoisyImpl()
      : bn(register_module("bn", torch::nn::BatchNorm1d(16))), fc(register_module("fc", torch::nn::Linear(16, 3))) {}
  torch::Tensor forward(torch::Tensor x) {
    x = bn(x.mean({2, 3}));
    if (is_training()) x = x + torch::randn_like(x);
    return fc(x);
  }
  torch::nn::BatchNorm1d bn;
  torch::nn::Linear fc;
};
TORCH_MODULE(Noisy);

TEST(CustomHead, TrainingMayDoOtherOperations) {
  auto model = load();
  model.replace_head(custom(Noisy()));
  model.freeze();
  EXPECT_TRUE(at::equal(model.forward(input()), model.forward(input())));
  model.train();
  EXPECT_FALSE(at::equal(model.forward(input()), model.forward(input())));
  EXPECT_EQ(model.named_buffers().at("head.bn.num_batches_tracked").item<std::int64_t>(), 2);
  model.eval();
  EXPECT_TRUE(at::equal(model.forward(input()), model.forward(input())));
}

// --- What cannot be recorded, and other misuse

template <class Forward>
struct LambdaImpl : torch::nn::Module {
  explicit LambdaImpl(Forward f) : fc(register_module("fc", torch::nn::Linear(16, 3))), body(std::move(f)) {}
  torch::Tensor forward(const torch::Tensor& x) { return body(*this, x); }
  torch::nn::Linear fc;
  Forward body;
};

/// A head with one dense layer, fc, whose forward is the function.
template <class Forward>
Head lambda_head(Forward forward) {
  return custom([=](const Shape&) { return std::make_shared<LambdaImpl<Forward>>(forward); }, {.name = "Lambda"});
}

TEST(CustomHead, ABatchSizeInTheCodeIsFound) {
  auto model = load();
  const auto before = model.forward(input());
  EXPECT_GRAFT_ERROR(model.replace_head(lambda_head([](auto& self, const torch::Tensor& x) {
    return self.fc(x.mean({2, 3}).view({x.size(0), 16}));
  })),
                     kMismatch, "batch size");
  EXPECT_TRUE(at::equal(model.forward(input()), before)) << "a refused head leaves the model as it was";
}

TEST(CustomHead, ADecisionByValuesIsFound) {
  auto model = load();
  EXPECT_GRAFT_ERROR(model.replace_head(lambda_head([](auto& self, const torch::Tensor& x) {
    const auto y = self.fc(x.mean({2, 3}));
    return x.sum().template item<float>() > 0 ? y : y * 2;
  })),
                     kMismatch, "depends on the values");
}

TEST(CustomHead, AStoppedGradientIsFound) {
  auto model = load();
  EXPECT_GRAFT_ERROR(model.replace_head(lambda_head([](auto& self, const torch::Tensor& x) {
    at::Tensor pooled;
    {
      const at::NoGradGuard no_grad;
      pooled = x.mean({2, 3});
    }
    return self.fc(pooled);
  })),
                     kMismatch, "gradient of features");
}

TEST(CustomHead, AMovingAverageByCountIsFound) {
  auto model = load();
  EXPECT_GRAFT_ERROR(
      model.replace_head(custom(torch::nn::Sequential(
          torch::nn::AdaptiveAvgPool2d(1), torch::nn::Flatten(),
          torch::nn::BatchNorm1d(torch::nn::BatchNorm1dOptions(16).momentum(std::nullopt)), torch::nn::Linear(16, 2)))),
      kMismatch, "running_mean");
}

TEST(CustomHead, AnUnregisteredTensorIsFound) {
  auto model = load();
  const auto foreign = torch::ones({16});
  EXPECT_GRAFT_ERROR(model.replace_head(lambda_head(
                         [foreign](auto& self, const torch::Tensor& x) { return self.fc(x.mean({2, 3}) * foreign); })),
                     kMismatch, "register_buffer");
}

TEST(CustomHead, MisuseSaysWhatToDo) {
  auto model = load();
  EXPECT_GRAFT_ERROR(model.replace_head(custom(torch::nn::Sequential(
                         torch::nn::AdaptiveAvgPool2d(1), torch::nn::Flatten(), torch::nn::Linear(2048, 2)))),
                     kMismatch, "refuses features [2, 16, 4, 4]: mat1 and mat2 shapes cannot be multiplied");
  EXPECT_GRAFT_ERROR(model.replace_head(custom(torch::nn::Sequential(torch::nn::Conv2d(16, 2, 1)))), kMismatch,
                     "expected outputs [N, outputs] of float32, found [1, 2, 4, 4]");
  EXPECT_GRAFT_ERROR(
      model.replace_head(custom(torch::nn::Sequential(torch::nn::AdaptiveAvgPool2d(1), torch::nn::Flatten()))),
      kMismatch, "no parameters");
  EXPECT_GRAFT_ERROR(model.replace_head(custom(TwoBranch(nullptr))), kConfig, "empty holder");
  EXPECT_GRAFT_ERROR(model.replace_head(lambda_head(
                         [](auto&, const torch::Tensor&) -> torch::Tensor { throw std::runtime_error("planted"); })),
                     kMismatch, "planted");
  EXPECT_GRAFT_ERROR(model.replace_head(lambda_head([](auto&, const torch::Tensor&) { return torch::Tensor(); })),
                     kMismatch, "undefined tensor");
  torch::nn::Linear first(16, 16), second(16, 16);
  second->weight = second->register_parameter("tied", first->weight);
  EXPECT_GRAFT_ERROR(model.replace_head(custom(torch::nn::Sequential(first, second))), kMismatch, "are one tensor");
  TwoBranch half(16, 4);
  half->to(torch::kHalf);
  EXPECT_GRAFT_ERROR(model.replace_head(custom(half)), kMismatch, "expected float32 tensors on the CPU");
}

TEST(MovedFrom, EveryMemberSaysSo) {
  auto model = load();
  auto other = std::move(model);
  EXPECT_GRAFT_ERROR(model.forward(input()), kConfig, "moved from");  // NOLINT(bugprone-use-after-move)
  EXPECT_GRAFT_ERROR(model.replace_head(two_branch()), kConfig, "moved from");
  EXPECT_GRAFT_ERROR(model.save("nowhere.pt"), kConfig, "moved from");
  EXPECT_GRAFT_ERROR(model.train(), kConfig, "moved from");
  EXPECT_GRAFT_ERROR(model.labels(), kConfig, "moved from");
  EXPECT_GRAFT_ERROR(model.freeze(), kConfig, "moved from");
  model = std::move(other);
  EXPECT_NO_THROW((void)model.forward(input()));
}

}  // namespace
}  // namespace graft
