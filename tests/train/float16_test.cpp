#include <cmath>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <graft/communicator.h>
#include <graft/head.h>
#include <graft/model.h>
#include <graft/script_head.h>
#include <graft/trainer.h>

#include "base/torch_device.h"
#include "support/drawn_dataset.h"
#include "support/each_device.h"
#include "support/expect_error.h"
#include "support/golden.h"
#include "support/golden_pictures.h"
#include "support/measured.h"
#include "train/fit.h"
#include "train/loss_scaler.h"
#include "train/optimizer.h"

namespace graft::train {
namespace {

using graft::testing::DrawnDataset;
using graft::testing::golden;
using graft::testing::GoldenPictures;
using graft::testing::measured;
using graft::testing::step_losses;
using nlohmann::json;

class Float16 : public graft::testing::EachDevice {
 protected:
  at::TensorOptions options() const { return at::TensorOptions(base::to_torch(device())).dtype(at::kFloat); }
  static Model load() {
    return Model::load(golden("networks/resnet_scripted.pt"),
                       {.device = device(), .preprocessing = Preprocessing::rescale_mode(32)});
  }
  /// With features so large that gradients overflow at the first scales, and its first weights: as
  /// make_train_vectors.py has it.
  static Model overflowing(const json& head) {
    auto model = load();
    model.replace_head(heads::linear({.classes = 5}));
    model.freeze();
    {
      const at::NoGradGuard no_grad;
      model.named_parameters().at("layer2.1.bn3.weight").mul_(100);
    }
    graft::testing::set_head(model, head);
    return model;
  }
};
INSTANTIATE_TEST_SUITE_P(Devices, Float16, graft::testing::devices(), graft::testing::device_name);

json vectors_of(const char* name) { return json::parse(std::ifstream(golden(std::string("train/") + name))); }

/// A head whose loss is finite and whose gradient is no number, whatever the scale.
Head without_gradient() {
  return heads::script({.source = "def forward(self, x: Tensor) -> Tensor:\n"
                                  "    return x.mean([2, 3]).matmul(self.weight) + torch.sqrt(self.bias * 0.0)\n",
                        .parameters = [](const std::vector<std::int64_t>& features) -> heads::NamedTensors {
                          return {{"weight", at::zeros({features[1], 3})}, {"bias", at::zeros({3})}};
                        }});
}

std::map<std::string, at::Tensor> copy_of_trainable(const Model& model) {
  std::map<std::string, at::Tensor> copy;
  for (const auto& [name, tensor] : model.trainable_parameters()) copy[name] = tensor.detach().clone();
  return copy;
}

void expect_same(const Model& model, const std::map<std::string, at::Tensor>& before) {
  for (const auto& [name, tensor] : model.trainable_parameters())
    EXPECT_TRUE(at::equal(tensor.detach(), before.at(name))) << name;
}

// --- The scale

TEST_P(Float16, TheScaleGoesThePathOfGradScaler) {
  LossScaler scaler(options().device());
  const auto parameter = at::ones({1}, options()).set_requires_grad(true);
  const auto optimizer = Optimizer::create(Sgd{.learning_rate = 1e-4}, Numerics::kTorch, {{parameter}});
  const auto where = scaler.scale().const_data_ptr();
  for (const auto& part : vectors_of("loss_scaling.json")) {
    const auto gradient = std::stod(part["gradient"].get<std::string>());
    for (int i = 0; i < part["times"]; ++i) {
      parameter.mutable_grad() = scaler.scale() * gradient;
      scaler.unscale({parameter.grad()});
      optimizer->step(scaler.overflow(), /*goes_on=*/true);
      scaler.update();
    }
    RunState state;
    scaler.save("loss", state);
    EXPECT_EQ(state.number("loss/scale"), part["scale"].get<double>()) << part;
    EXPECT_EQ(state.integer("loss/growth"), part["growth"].get<std::int64_t>()) << part;
    EXPECT_NEAR(parameter.item<double>(), part["parameter"].get<double>(), 1e-6) << part;
  }
  EXPECT_EQ(scaler.scale().const_data_ptr(), where);  // CUDA graphs go by it
}

TEST_P(Float16, TheScaleGoesOnFromWhatWasSaved) {
  LossScaler one(options().device()), other(options().device());
  const auto step = [&](LossScaler& scaler, double gradient) {
    scaler.unscale({at::full({2}, gradient, options())});
    scaler.update();
  };
  step(one, INFINITY);
  for (int i = 0; i < 1000; ++i) step(one, 1);
  RunState state;
  one.save("loss", state);
  other.load("loss", state);
  for (int i = 0; i < 1000; ++i) {
    step(one, 1);
    step(other, 1);
    ASSERT_TRUE(at::equal(one.scale(), other.scale())) << i;
  }
  EXPECT_EQ(other.scale().item<float>(), 65536);
}

TEST_P(Float16, AScaleThatIsTooSmallIsAnErrorAndNoStep) {
  LossScaler scaler(options().device());
  for (int i = 0; i < 30; ++i) {  // down to 2^-14
    scaler.unscale({at::full({2}, NAN, options())});
    scaler.update();
  }
  EXPECT_NO_THROW(scaler.check());
  scaler.unscale({at::ones({2}, options())});
  EXPECT_FALSE(scaler.overflowed());
  scaler.unscale({at::full({2}, INFINITY, options())});
  scaler.update();
  EXPECT_GRAFT_ERROR(scaler.check(), kNumeric, "2^-14");
  scaler.unscale({at::ones({2}, options())});
  EXPECT_TRUE(scaler.overflowed());
}

TEST_P(Float16, ASkippedStepIsNotCounted) {
  for (const OptimizerSpec& spec :
       {OptimizerSpec(Sgd{.momentum = 0.9}), OptimizerSpec(Adam{}), OptimizerSpec(AdamW{}), OptimizerSpec(RmsProp{})}) {
    for (const auto numerics : {Numerics::kTorch, Numerics::kKeras}) {
      const auto after = [&](const std::vector<double>& skips) {
        auto p = at::ones({3, 2}, options()).set_requires_grad(true);
        const auto optimizer = Optimizer::create(spec, numerics, {{p, "p"}});
        for (const double skip : skips) {
          p.mutable_grad() = at::full({3, 2}, skip != 0 ? NAN : 0.5, options());
          optimizer->step(at::full({1}, skip, options()), /*goes_on=*/true);
        }
        EXPECT_EQ(optimizer->state().at("p.steps").item<std::int64_t>(), 3);
        return p.detach().clone();
      };
      EXPECT_TRUE(at::equal(after({1, 0, 1, 1, 0, 0}), after({0, 0, 0}))) << spec.index();
    }
  }
}

TEST_P(Float16, GradientsAreThoseOfTheLossTimesTheScaleAsItIs) {
  const auto weight = at::randn({3, 4}).to(options()).set_requires_grad(true);
  const auto scale = at::ones({1}, options());
  const Objective objective({Task{.kind = TaskKind::kSingleLabel, .outputs = 3}}, 0);
  GradientPass pass(
      objective, [&](const at::Tensor& input) { return input.to(options()).matmul(weight.t()); }, {weight}, {},
      options().device(), scale);
  const auto input = at::randn({5, 4}).to(options());
  const auto targets = at::tensor({0, 1, 2, 0, 1}, at::kLong);
  at::Tensor plain;
  double loss = 0;
  for (int step = 0; step < 6; ++step) {  // on CUDA the third of a size is recorded
    scale.fill_(std::ldexp(1.0, 3 * step));
    pass.start(input, targets, /*alone=*/true);
    const auto found = pass.finished(/*wait=*/true).at(0).loss;
    if (step == 0) {
      plain = weight.grad().clone();
      loss = found;
    }
    EXPECT_EQ(found, loss);
    EXPECT_TRUE(at::allclose(weight.grad() / scale, plain, 1e-5, 1e-6)) << step;
  }
}

// --- Training

/// Losses of steps, and the scale before each of them.
struct Course {
  std::vector<double> losses, scales{65536};
};
Course course_of(Model& model, const Dataset& data, const TrainerOptions& options, const FitOptions& how) {
  Course course;
  course.losses = step_losses(model, data, how, options, [&](Fit& fit) {
    RunState state;
    fit.save(state);
    course.scales.push_back(state.number("fit/loss/scale"));
  });
  course.scales.pop_back();
  return course;
}

TEST_P(Float16, TwentyStepsEqualPyTorch) {
  const auto vectors = vectors_of("float16.json");
  auto model = overflowing(vectors["head"]);
  const auto found =
      course_of(model, GoldenPictures(), {.optimizer = Adam{.learning_rate = 1e-4}, .precision = Precision::kFloat16},
                {.epochs = 4, .batch_size = 8, .shuffle = false});
  ASSERT_EQ(found.losses.size(), 20u);
  EXPECT_EQ(found.scales, vectors["scales"].get<std::vector<double>>());
  double most = 0;
  for (std::size_t i = 0; i < 20; ++i)
    most = std::max(most, std::abs(found.losses[i] - vectors["losses"][i].get<double>()));
  EXPECT_TRUE(measured("20 losses in float16", most, 2e-3));
}

TEST_P(Float16, AStepThatOverflowsLeavesEverythingButTheScale) {
  for (const double ema : {0.0, 0.9}) {
    auto model = overflowing(vectors_of("float16.json")["head"]);
    const auto before = copy_of_trainable(model);
    const GoldenPictures data;
    const TrainerOptions options{.precision = Precision::kFloat16, .ema_decay = ema};
    const FitOptions how{.steps_per_epoch = 3, .batch_size = 8, .shuffle = false};
    Fit fit(model, options, how, data);
    fit.begin({});
    (void)fit.epoch(0, [] { return true; });
    expect_same(model, before);
    RunState state;
    fit.save(state);
    EXPECT_EQ(state.number("fit/loss/scale"), 8192);
    EXPECT_EQ(state.tensor("optimizer/head.fc.weight.steps").item<std::int64_t>(), 0);
    EXPECT_EQ(state.integer("fit/updates"), 3);  // which schedules go by
    for (const auto& [name, tensor] : before) {
      if (ema == 0) continue;
      EXPECT_TRUE(at::equal(state.tensor("average/" + name), tensor)) << name;
    }
  }
}

TEST_P(Float16, TheScaleChangesWithStepsNotWithBatches) {
  auto model = overflowing(vectors_of("float16.json")["head"]);
  const auto found =
      course_of(model, GoldenPictures(),
                {.optimizer = Adam{.learning_rate = 1e-4}, .precision = Precision::kFloat16, .accumulate = 2},
                {.epochs = 2, .batch_size = 4, .shuffle = false});
  ASSERT_EQ(found.scales.size(), 10u);
  for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(found.scales[i + 1], found.scales[i] / 2) << i;
}

TEST_P(Float16, AccumulatedAndClippedGradientsAreThoseOfFloat32) {
  const auto train = [](Precision precision) {
    auto model = load();
    model.replace_head(heads::linear({.classes = 5, .seed = 1}));
    model.freeze();
    return step_losses(
        model, GoldenPictures(), {.epochs = 5, .batch_size = 10, .shuffle = false},
        {.optimizer = Sgd{.learning_rate = 0.5}, .precision = precision, .clip_norm = 0.1, .accumulate = 2});
  };
  const auto exact = train(Precision::kFloat32), rough = train(Precision::kFloat16);
  ASSERT_EQ(exact.size(), rough.size());
  double most = 0;
  for (std::size_t i = 0; i < exact.size(); ++i) most = std::max(most, std::abs(exact[i] - rough[i]));
  EXPECT_TRUE(measured("losses of accumulated, clipped gradients in float16, beside float32", most, 1e-3));
}

TEST_P(Float16, AHeadLearnsAsInFloat32) {
  const DrawnDataset data(60, 3), val(30, 3, 32, 9);
  std::vector<EpochInfo> last;
  for (const auto precision : {Precision::kFloat32, Precision::kFloat16}) {
    for (const char* freeze : {"all", "until:layer2"}) {
      auto model = load();
      model.replace_head(heads::linear({.classes = 3, .seed = 1}));
      model.apply_freeze(freeze);
      model.set_batch_norm(BatchNormPolicy::kInference);
      Trainer trainer(model, {.optimizer = Adam{.learning_rate = 3e-3}, .precision = precision});
      last.push_back(trainer.fit(data, val, {.epochs = 10, .batch_size = 16}).epochs.back());
      for (const auto& [name, tensor] : model.named_parameters()) EXPECT_EQ(tensor.scalar_type(), at::kFloat) << name;
    }
  }
  for (const std::size_t i : {0, 1}) {
    EXPECT_TRUE(measured("loss of a head in float16, beside float32", std::abs(last[i].loss - last[i + 2].loss), 0.01));
    EXPECT_TRUE(measured("validation loss of a head in float16, beside float32",
                         std::abs(*last[i].val_loss - *last[i + 2].val_loss), 0.01));
  }
}

/// Two processes, of which the other one's gradients overflow if it has some.
class Other final : public Communicator {
 public:
  int rank() const noexcept override { return 0; }
  int size() const noexcept override { return 2; }
  void sum(const std::vector<at::Tensor>& tensors) override {
    const at::NoGradGuard no_grad;
    for (const auto& tensor : tensors)
      if (overflows && tensor.scalar_type() == at::kFloat) tensor.select(0, 0).fill_(INFINITY);
  }
  void broadcast(const std::vector<at::Tensor>&) override {}
  std::string broadcast(const std::string& text) override { return text; }
  std::vector<std::string> all_gather(const std::string& text) override { return {text, text}; }
  [[noreturn]] void abort(int) override { std::abort(); }

  bool overflows = true;
};

TEST_P(Float16, AllLeaveOutAStepThatOverflowsInOneProcess) {
  auto model = load();
  model.replace_head(heads::linear({.classes = 3}));
  model.freeze();
  const auto before = copy_of_trainable(model);
  const DrawnDataset data(24, 3);
  Other other;
  const TrainerOptions options{.precision = Precision::kFloat16};
  const FitOptions how{.batch_size = 8, .processes = &other};
  Fit fit(model, options, how, data);
  fit.begin({});
  int steps = 0;
  const auto scale = [&] {
    RunState state;
    fit.save(state);
    return state.number("fit/loss/scale");
  };
  (void)fit.epoch(0, [&] {
    if (++steps == 2) {
      EXPECT_EQ(scale(), 16384);
      expect_same(model, before);
      other.overflows = false;
    }
    return true;
  });
  EXPECT_EQ(steps, 3);
  EXPECT_EQ(scale(), 16384);
  EXPECT_FALSE(at::equal(model.named_parameters().at("head.fc.weight").detach(), before.at("head.fc.weight")));
}

TEST_P(Float16, EvaluationIsCloseToThatInFloat32) {
  auto model = load();
  const GoldenPictures data;
  const auto exact = Trainer(model).evaluate(data),
             rough = Trainer(model, {.precision = Precision::kFloat16}).evaluate(data);
  EXPECT_NE(exact.loss, rough.loss);
  EXPECT_TRUE(measured("loss in float16, beside float32", std::abs(exact.loss - rough.loss), 5e-3));
}

TEST_P(Float16, ALossThatIsNoNumberIsAnErrorAndNoOverflow) {
  auto model = load();
  model.replace_head(heads::linear({.classes = 3}));
  model.freeze();
  {
    const at::NoGradGuard no_grad;
    model.named_parameters().at("head.fc.bias").fill_(NAN);
  }
  EXPECT_GRAFT_ERROR(Trainer(model, {.precision = Precision::kFloat16}).fit(DrawnDataset(12, 3), {.batch_size = 4}),
                     kNumeric, "the loss is");
}

TEST_P(Float16, GradientsThatAreNumbersAtNoScaleAreAnError) {
  auto model = load();
  model.replace_head(without_gradient(), Cut::features());
  model.freeze();
  const auto before = copy_of_trainable(model);
  EXPECT_GRAFT_ERROR(
      Trainer(model, {.precision = Precision::kFloat16}).fit(DrawnDataset(12, 3), {.epochs = 20, .batch_size = 4}),
      kNumeric, "2^-14");
  expect_same(model, before);
}

TEST(Float16OnCpu, AnOperatorThatIsNotThereIsNamed) {
  auto model = Model::load(golden("networks/resnet_scripted.pt"), {.preprocessing = Preprocessing::rescale_mode(32)});
  model.replace_head(
      heads::script({.source = "def forward(self, x: Tensor) -> Tensor:\n"
                               "    return torch.rrelu(x.mean([2, 3]).matmul(self.weight), 0.1, 0.3, self.training)\n",
                     .parameters = [](const std::vector<std::int64_t>& features) -> heads::NamedTensors {
                       return {{"weight", at::randn({features[1], 3})}};
                     }}),
      Cut::features());
  model.freeze();
  const DrawnDataset data(12, 3);
  EXPECT_GRAFT_ERROR(Trainer(model, {.precision = Precision::kFloat16}).fit(data, {.batch_size = 4}), kConfig,
                     "not implemented for 'Half'");
  EXPECT_FALSE(model.is_training());
  EXPECT_NO_THROW(Trainer(model).fit(data, {.batch_size = 4}));
}

TEST(Precisions, ForTrainingAreThree) {
  auto model = Model::load(golden("networks/resnet_scripted.pt"), {.preprocessing = Preprocessing::rescale_mode(32)});
  for (const auto precision : {Precision::kInt8, Precision::kAuto})
    EXPECT_GRAFT_ERROR(Trainer(model, {.precision = precision}).fit(DrawnDataset(10, 5)), kConfig,
                       "float32, bfloat16 or float16");
  EXPECT_EQ(parse_precision("float16"), Precision::kFloat16);
  EXPECT_EQ(to_string(Precision::kFloat16), "float16");
}

}  // namespace
}  // namespace graft::train
