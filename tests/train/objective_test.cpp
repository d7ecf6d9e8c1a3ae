#include "train/objective.h"

#include <cmath>
#include <fstream>

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "support/expect_error.h"
#include "support/files.h"
#include "support/measured.h"
#include "train/metrics.h"

namespace graft::train {
namespace {

using graft::testing::golden;
using graft::testing::measured;

std::vector<Task> three_tasks() {
  return {{.name = "species", .outputs = 5},
          {.name = "traits", .kind = TaskKind::kMultiLabel, .outputs = 3, .weight = 0.5},
          {.name = "size", .kind = TaskKind::kRegression, .outputs = 2, .weight = 2, .loss = RegressionLoss::kHuber}};
}

TEST(Objective, ANetworkWithAnotherNumberOfRowsIsNamedAsWrong) {
  const Objective objective({Task{.outputs = 3}}, 0);
  EXPECT_GRAFT_ERROR(objective.loss(at::zeros({1, 3}), at::zeros({4}, at::kLong)), kMismatch, "1 rows for 4 examples");
}

/// The targets of make_task_vectors.py.
at::Tensor targets() {
  std::vector<float> rows;
  for (int i = 0; i < 40; ++i)
    for (const double value : {static_cast<double>(i % 5), static_cast<double>(i % 2), i % 3 == 0 ? 1.0 : 0.0,
                               i % 7 == 0 ? std::nan("") : (i % 5 == 2 ? 1.0 : 0.0), i / 40.0, std::sin(i)})
      rows.push_back(static_cast<float>(value));
  return at::tensor(rows, at::kFloat).view({40, 6});
}

TEST(Objective, WeighsAsPyTorchAndABatchWithoutWeightIsNone) {
  at::manual_seed(3);
  const auto logits = at::randn({6, 3}), labels = at::tensor({0, 1, 2, 1, 0, 1}, at::kLong);
  const auto weights = at::tensor({1.0F, 4.0F, 0.0F});
  for (const double smoothing : {0.0, 0.1}) {
    const Objective objective({{.outputs = 3}}, smoothing, weights, Numerics::kTorch);
    const auto expected = at::cross_entropy_loss(logits, labels, weights, at::Reduction::Mean, -100, smoothing);
    EXPECT_NEAR(objective.loss(logits, labels).item<double>(), expected.item<double>(), 1e-6);
    const auto given = at::randn({4, 3}).requires_grad_();
    const auto loss = objective.loss(given, at::full({4}, 2, at::kLong));
    EXPECT_EQ(loss.item<double>(), 0);
    loss.backward();
    EXPECT_TRUE(given.grad().eq(0).all().item<bool>());
  }
}

TEST(Objective, ScoresEqualScikitLearn) {
  const auto expected = nlohmann::json::parse(std::ifstream(golden("train/tasks.json")))["scores"];
  const auto logits = at::tensor(expected["logits"].get<std::vector<float>>(), at::kFloat).view({40, 10});
  const Objective objective(three_tasks(), 0);
  const std::vector<std::string> names{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"};
  const auto e = evaluate_logits(logits, objective.dense(targets()), objective, names);
  double difference = 0;
  const auto compare = [&](double found, const nlohmann::json& reference) {
    difference = std::max(difference, std::abs(found - reference.get<double>()));
  };
  ASSERT_EQ(e.tasks.size(), 3u);
  const auto& [species, traits, size] = std::tie(e.tasks[0], e.tasks[1], e.tasks[2]);
  compare(species.loss, expected["species"]["loss"]);
  compare(species.accuracy.value(), expected["species"]["accuracy"]);
  compare(e.accuracy, expected["species"]["accuracy"]);
  compare(traits.loss, expected["traits"]["loss"]);
  compare(traits.accuracy.value(), expected["traits"]["accuracy"]);
  compare(traits.mean_average_precision.value(), expected["traits"]["mean_average_precision"]);
  ASSERT_EQ(traits.per_class.size(), 3u);
  for (std::size_t k = 0; k < 3; ++k) {
    compare(traits.per_class[k].precision, expected["traits"]["per_label"][k][0]);
    compare(traits.per_class[k].recall, expected["traits"]["per_label"][k][1]);
    compare(traits.per_class[k].f1, expected["traits"]["per_label"][k][2]);
  }
  EXPECT_EQ(traits.per_class[0].name, "f");
  compare(size.loss, expected["size"]["loss"]);
  compare(size.mean_absolute_error.value(), expected["size"]["mean_absolute_error"]);
  compare(size.root_mean_squared_error.value(), expected["size"]["root_mean_squared_error"]);
  compare(size.r2.value(), expected["size"]["r2"]);
  EXPECT_TRUE(measured("scores of three tasks", difference, 1e-6));
  EXPECT_FALSE(size.accuracy);
  EXPECT_NEAR(e.loss, species.loss + 0.5 * traits.loss + 2 * size.loss, 1e-6);
}

TEST(Objective, ClassIndicesAndProbabilitiesGiveTheSame) {
  const Objective objective({{.outputs = 4}}, 0.1);
  ASSERT_TRUE(objective.is_plain());
  const auto logits = at::randn({6, 4});
  const auto labels = at::tensor({0, 1, 2, 3, 1, 0}, at::kLong);
  const auto dense = objective.dense(labels.to(at::kFloat).unsqueeze(1));
  EXPECT_NEAR(objective.loss(logits, labels).item<double>(), objective.loss(logits, dense).item<double>(), 1e-6);
  EXPECT_EQ(objective.hits(logits, labels).front().right, objective.hits(logits, dense).front().right);
}

TEST(Objective, RegressionLossesFollowTheirDefinitions) {
  const auto outputs = at::tensor({0.0, 0.5, 3.0}, at::kFloat).view({3, 1}), wanted = at::zeros({3, 1});
  const auto loss = [&](RegressionLoss kind) {
    const Objective objective({{.kind = TaskKind::kRegression, .outputs = 1, .loss = kind}}, 0);
    return objective.loss(outputs, wanted).item<double>();
  };
  EXPECT_NEAR(loss(RegressionLoss::kMeanSquared), (0.25 + 9) / 3, 1e-6);
  EXPECT_NEAR(loss(RegressionLoss::kMeanAbsolute), 3.5 / 3, 1e-6);
  EXPECT_NEAR(loss(RegressionLoss::kHuber), (0.125 + 2.5) / 3, 1e-6);
}

/// The losses of parts, by their shares of the denominators, against that of the whole.
void expect_parts_add_up(const Objective& objective, const at::Tensor& logits, const at::Tensor& wanted) {
  const auto whole = objective.denominators(wanted);
  double sum = 0;
  std::int64_t first = 0;
  for (const std::int64_t size : {7, 1, 20, 12}) {
    const auto part = wanted.narrow(0, first, size);
    const auto shares = (objective.denominators(part) / whole).to(at::kFloat);
    sum += objective.loss(logits.narrow(0, first, size), part, shares).item<double>();
    first += size;
  }
  const double expected = objective.loss(logits, wanted).item<double>();
  EXPECT_NEAR(sum, expected, 1e-6 * expected);  // of float32
}

TEST(Objective, LossesOfPartsAddUp) {
  const auto logits = at::sin(at::arange(400, at::kFloat)).view({40, 10});
  const Objective several(three_tasks(), 0.1);
  expect_parts_add_up(several, logits, several.dense(targets()));
  const auto classes = at::arange(40, at::kLong).remainder(10), weights = at::arange(1, 11, at::kFloat);
  const auto one_hot = at::one_hot(classes, 10).to(at::kFloat);
  for (const auto numerics : {Numerics::kTorch, Numerics::kKeras}) {
    for (const auto& wanted : {classes, one_hot}) {
      expect_parts_add_up(Objective({{.outputs = 10}}, 0.1, {}, numerics), logits, wanted);
      expect_parts_add_up(Objective({{.outputs = 10}}, 0, weights, numerics), logits, wanted);
    }
  }
}

TEST(Objective, UnknownTargetsHaveNoGradient) {
  const Objective objective(three_tasks(), 0);
  const auto logits = at::randn({2, 10}).requires_grad_(true);
  const auto unknown = at::full({2, 6}, std::nan(""), at::kFloat);
  const auto loss = objective.loss(logits, objective.dense(unknown));
  EXPECT_EQ(loss.item<double>(), 0);
  loss.backward();
  EXPECT_EQ(logits.grad().abs().max().item<double>(), 0);
  for (const auto& [right, of] : objective.hits(logits.detach(), objective.dense(unknown))) EXPECT_EQ(of, 0);
}

TEST(Objective, LabelsThatNoClassHasAreNamed) {  // cross entropy leaves -100 out
  const Objective objective({Task{.outputs = 3}}, 0);
  for (const std::int64_t label : {-100, -1, 3})
    EXPECT_GRAFT_ERROR(objective.checked(at::tensor({0L, label})), kMismatch, "0 to 2, found " + std::to_string(label));
  EXPECT_EQ(objective.checked(at::tensor({0L, 2L})).size(0), 2);
}

TEST(Objective, TargetsThatDoNotFitAreNamed) {
  const Objective objective(three_tasks(), 0);
  EXPECT_GRAFT_ERROR(objective.dense(at::zeros({2, 4})), kMismatch,
                     "the data gives 4 targets for each example, the model learns 6 (1 class index for \"species\", 3 "
                     "labels of 0 or 1 for \"traits\", 2 numbers for \"size\")");
  const auto beyond = at::zeros({2, 6});
  beyond[1][0] = 5;
  EXPECT_GRAFT_ERROR(objective.dense(beyond), kMismatch, "from 0 to 4 for the task \"species\", found 0 to 5");
  beyond[1][0] = 0.5;
  EXPECT_GRAFT_ERROR(objective.dense(beyond), kMismatch, "class indices");
}

}  // namespace
}  // namespace graft::train
