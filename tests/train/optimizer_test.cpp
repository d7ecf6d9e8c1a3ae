#include "train/optimizer.h"

#include <cmath>
#include <fstream>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "support/expect_error.h"
#include "support/golden.h"
#include "support/measured.h"

namespace graft::train {
namespace {

using graft::testing::golden;
using graft::testing::measured;
using nlohmann::json;

at::Tensor tensor(const json& values) {
  std::vector<double> flat;
  for (const auto& row : values)
    if (row.is_array())
      flat.insert(flat.end(), row.begin(), row.end());
    else
      flat.push_back(row);
  return at::tensor(flat, at::kDouble);
}

/// p after n steps on the gradient A p + sin(t) b, in float64.
at::Tensor run(const OptimizerSpec& spec, Numerics numerics, const json& vectors, int steps) {
  auto p = tensor(vectors["start"]);
  p.set_requires_grad(true);
  const auto a = tensor(vectors["A"]).reshape({3, 3}), b = tensor(vectors["b"]);
  const auto optimizer = Optimizer::create(spec, numerics, {{p}});
  for (int t = 1; t <= steps; ++t) {
    const at::NoGradGuard no_grad;
    p.mutable_grad() = at::mv(a, p.detach()) + std::sin(t) * b;
    optimizer->step();
    optimizer->zero_grad();
  }
  return p.detach();
}

TEST(Optimizer, OneAndAHundredStepsEqualTheReferences) {
  auto vectors = json::parse(std::ifstream(golden("train/optimizers.json")));
  const auto keras = json::parse(std::ifstream(golden("train/keras.json")));
  for (const auto& [name, steps] : keras["optimizers"].items()) vectors["cases"]["keras." + name] = steps;
  const std::map<std::string, OptimizerSpec> specs{
      {"torch.sgd", Sgd{}},
      {"torch.sgd_momentum", Sgd{.momentum = 0.9, .weight_decay = 0.01}},
      {"torch.sgd_nesterov", Sgd{.momentum = 0.9, .nesterov = true}},
      {"torch.adam", Adam{.weight_decay = 0.01}},
      {"torch.adamw", AdamW{}},
      {"torch.rmsprop", RmsProp{}},
      {"torch.rmsprop_momentum", RmsProp{.learning_rate = 1e-3, .rho = 0.9, .momentum = 0.5}},
      {"keras.sgd", Sgd{}},
      {"keras.sgd_momentum", Sgd{.momentum = 0.9}},
      {"keras.sgd_nesterov", Sgd{.momentum = 0.9, .nesterov = true}},
      {"keras.adam", Adam{}},
      {"keras.adamw", AdamW{}},
      {"keras.rmsprop", RmsProp{}},
      {"keras.rmsprop_momentum", RmsProp{.momentum = 0.5}}};
  ASSERT_EQ(vectors["cases"].size(), specs.size());
  for (const auto& [name, spec] : specs) {
    for (const int steps : {1, 100}) {
      const auto found = run(spec, name.starts_with("keras") ? Numerics::kKeras : Numerics::kTorch, vectors, steps);
      const auto expected = tensor(vectors["cases"][name][std::to_string(steps)]);
      const double relative = ((found - expected) / expected).abs().max().item<double>();
      EXPECT_TRUE(measured(name + ", " + std::to_string(steps) + " steps, relative", relative, 1e-9));
    }
  }
}

TEST(Optimizer, TheLayoutOfAGradientDoesNotMatter) {  // Adam has a kernel for those that lie as their parameter does
  const auto start = at::randn({13, 11}), gradient = at::randn({13, 11});
  for (const OptimizerSpec& spec : {OptimizerSpec(Adam{.weight_decay = 0.01}), OptimizerSpec(AdamW{})}) {
    const auto after = [&](bool transposed_parameter, bool transposed_gradient) {
      const auto laid_out = [](const at::Tensor& x, bool transposed) {
        return transposed ? x.t().contiguous().t() : x.clone();
      };
      auto p = laid_out(start, transposed_parameter).set_requires_grad(true);
      const auto optimizer = Optimizer::create(spec, Numerics::kTorch, {{p}});
      for (int t = 1; t <= 20; ++t) {
        p.mutable_grad() = laid_out(gradient * std::cos(t), transposed_gradient);
        optimizer->step();
      }
      return p.detach();
    };
    const auto expected = after(false, false);
    EXPECT_GT((expected - start).abs().max().item<double>(), 1e-3);
    for (const bool parameter : {false, true})
      for (const bool other : {false, true})
        EXPECT_TRUE(graft::testing::close(after(parameter, other), expected, 5e-6));
  }
}

TEST(Optimizer, AStepThatIsToBeSkippedChangesNothing) {
  for (const OptimizerSpec& spec :
       {OptimizerSpec(Sgd{.momentum = 0.9}), OptimizerSpec(Adam{}), OptimizerSpec(AdamW{}), OptimizerSpec(RmsProp{})}) {
    for (const auto numerics : {Numerics::kTorch, Numerics::kKeras}) {
      auto p = at::ones({3, 2}).set_requires_grad(true);
      const auto optimizer = Optimizer::create(spec, numerics, {{p}});
      p.mutable_grad() = at::ones({3, 2});
      optimizer->step(at::ones({1}));
      EXPECT_TRUE(at::equal(p.detach(), at::ones({3, 2})));
      optimizer->step(at::zeros({1}));
      EXPECT_FALSE(at::equal(p.detach(), at::ones({3, 2})));
    }
  }
}

TEST(Optimizer, AStepIsSeenInTheTensorsVersion) {  // plans are made anew by it
  for (const OptimizerSpec& spec :
       {OptimizerSpec(Sgd{}), OptimizerSpec(Adam{}), OptimizerSpec(AdamW{}), OptimizerSpec(RmsProp{})}) {
    const auto p = at::ones({3}).requires_grad_();
    p.mutable_grad() = at::ones({3});
    const auto optimizer = Optimizer::create(spec, Numerics::kTorch, {{p}});
    const auto before = p._version();
    optimizer->step();
    EXPECT_GT(p._version(), before) << spec.index();
  }
}

TEST(Optimizer, NumericsDiffer) {
  const auto vectors = json::parse(std::ifstream(golden("train/optimizers.json")));
  EXPECT_FALSE(at::equal(run(RmsProp{.learning_rate = 1e-3, .rho = 0.9}, Numerics::kTorch, vectors, 1),
                         run(RmsProp{}, Numerics::kKeras, vectors, 1)));
}

TEST(Optimizer, BadValuesAreRefusedByName) {
  const auto create = [](const OptimizerSpec& spec) { return Optimizer::create(spec, Numerics::kTorch, {}); };
  EXPECT_GRAFT_ERROR(create(Adam{.learning_rate = 0}), kConfig, "learning_rate");
  EXPECT_GRAFT_ERROR(create(Adam{.learning_rate = std::nan("")}), kConfig, "learning_rate");
  EXPECT_GRAFT_ERROR(create(Adam{.beta1 = 1}), kConfig, "beta1");
  EXPECT_GRAFT_ERROR(create(Sgd{.nesterov = true}), kConfig, "nesterov");
  EXPECT_GRAFT_ERROR(create(RmsProp{.epsilon = 0.0}), kConfig, "epsilon");
  EXPECT_GRAFT_ERROR(parse_optimizer("lion"), kConfig, "lion");
  EXPECT_GRAFT_ERROR(parse_optimizer("adam", -1), kConfig, "learning rate");
  EXPECT_EQ(std::get<Adam>(parse_optimizer("adam", 0.5)).learning_rate, 0.5);
}

}  // namespace
}  // namespace graft::train
