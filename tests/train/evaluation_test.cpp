// The figures of evaluation against scikit-learn, scipy, statsmodels and PyTorch
// (tests/golden/make_evaluation_vectors.py).
#include <cmath>
#include <fstream>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "support/expect_error.h"
#include "support/files.h"
#include "support/measured.h"
#include "train/bootstrap.h"
#include "train/compare.h"
#include "train/metrics.h"
#include "train/ranking.h"
#include "train/temperature.h"
#include "train/view_mean.h"

namespace graft::train {
namespace {

using graft::testing::golden;
using graft::testing::measured;
using nlohmann::json;

constexpr std::int64_t kClasses = 6;

/// The largest difference to a reference.
class Difference {
 public:
  void add(double found, const json& expected) {
    largest_ = std::max(largest_, std::abs(found - expected.get<double>()));
  }
  void add(const Averages& found, const json& expected) {
    add(found.precision, expected[0]);
    add(found.recall, expected[1]);
    add(found.f1, expected[2]);
  }
  void add(const Interval& found, const json& expected) {
    add(found.low, expected[0]);
    add(found.high, expected[1]);
  }
  double largest() const { return largest_; }

 private:
  double largest_ = 0;
};

class Vectors : public ::testing::Test {
 protected:
  json expected = json::parse(std::ifstream(golden("train/evaluation.json")));
  at::Tensor logits = at::tensor(expected["logits"].get<std::vector<float>>(), at::kFloat).view({-1, kClasses});
  at::Tensor labels = at::tensor(expected["labels"].get<std::vector<std::int64_t>>(), at::kLong);
  std::vector<std::string> names{"a", "b", "c", "d", "e", "f"};

  Evaluation evaluate(const Details& details, const Calibration& calibration = {}) const {
    return evaluate_logits(logits, labels, Objective({{.outputs = kClasses, .calibration = calibration}}, 0), names,
                           details);
  }
  Confidence confidence() const { return confidence_of(logits.softmax(1), labels); }
};

TEST_F(Vectors, ScoresEqualScikitLearn) {
  const auto e = evaluate({.roc_auc = true, .top_losses = 7});
  const auto& scores = expected["scores"];
  Difference difference;
  difference.add(e.nll, scores["nll"]);
  difference.add(e.loss, scores["nll"]);
  difference.add(e.ece, scores["ece"]);
  difference.add(e.macro, scores["macro"]);
  difference.add(e.weighted, scores["weighted"]);
  difference.add(e.roc_auc.value(), scores["macro_roc_auc"]);
  for (std::size_t c = 0; c < kClasses; ++c) {
    ASSERT_EQ(e.per_class[c].roc_auc.has_value(), !scores["roc_auc"][c].is_null()) << c;
    if (e.per_class[c].roc_auc) difference.add(*e.per_class[c].roc_auc, scores["roc_auc"][c]);
  }
  ASSERT_EQ(e.reliability.size(), 15u);
  for (std::size_t i = 0; i < 15; ++i) {
    EXPECT_EQ(e.reliability[i].count, scores["bins"][i][0]);
    difference.add(e.reliability[i].confidence, scores["bins"][i][1]);
    difference.add(e.reliability[i].accuracy, scores["bins"][i][2]);
  }
  ASSERT_EQ(e.top_losses.size(), 7u);
  for (std::size_t i = 0; i < 7; ++i) {
    EXPECT_EQ(e.top_losses[i].index, scores["top_losses"][i][0]);
    difference.add(e.top_losses[i].loss, scores["top_losses"][i][1]);
  }
  EXPECT_TRUE(measured("figures of evaluation", difference.largest(), 2e-6));
  EXPECT_FALSE(e.accuracy_interval.has_value());
  EXPECT_FALSE(e.rejection.has_value());
}

TEST_F(Vectors, TopLossesSayWhatWasSeen) {
  const auto e = evaluate({.top_losses = 1'000});
  EXPECT_EQ(e.top_losses.size(), static_cast<std::size_t>(labels.numel()));
  const auto& first = e.top_losses.front();
  const auto row = logits[static_cast<std::int64_t>(first.index)].softmax(0);
  EXPECT_EQ(first.true_class, labels[static_cast<std::int64_t>(first.index)].item<std::int64_t>());
  EXPECT_EQ(first.predicted_class, row.argmax().item<std::int64_t>());
  EXPECT_NEAR(first.probability, row.max().item<double>(), 1e-6);
  EXPECT_TRUE(evaluate({}).top_losses.empty());
}

TEST_F(Vectors, IntervalsEqualScipysUpToChance) {
  const auto e = evaluate({.resampling = {.samples = 20'000}});
  Difference difference;
  difference.add(e.accuracy_interval.value(), expected["intervals"]["accuracy"]);
  difference.add(e.macro_f1_interval.value(), expected["intervals"]["macro_f1"]);
  EXPECT_TRUE(measured("95 % intervals, 20000 resamples each", difference.largest(), 1.0 / 120));  // one example

  std::vector<std::int64_t> gained(10, -1);
  gained.resize(160, 0);
  gained.resize(180, 1);
  Difference paired;
  paired.add(bootstrap_mean(gained, {.samples = 20'000}), expected["difference"]);
  EXPECT_TRUE(measured("interval of a difference", paired.largest(), 1.01 / 180));
}

TEST_F(Vectors, ResamplesDependOnTheSeedAlone) {
  const auto found = [&](std::uint64_t seed) {
    return evaluate({.resampling = {.samples = 200, .seed = seed}}).macro_f1_interval.value();
  };
  EXPECT_EQ(found(1).low, found(1).low);
  EXPECT_EQ(found(1).high, found(1).high);
  EXPECT_NE(found(1).low, found(2).low);
  const std::vector<std::int64_t> same(20, 1);
  const auto certain = bootstrap_mean(same, {.samples = 10});
  EXPECT_EQ(certain.low, 1);
  EXPECT_EQ(certain.high, 1);
}

TEST_F(Vectors, TheTemperatureEqualsThatOfLbfgs) {
  const double found = best_temperature(logits, labels).value();
  const auto& reference = expected["temperature"];
  EXPECT_TRUE(measured("temperature", std::abs(found - reference["temperature"].get<double>()), 1e-6));
  const auto scaled = logits / found;
  Difference after;
  after.add(negative_log_likelihoods(scaled, labels).mean().item<double>(), reference["nll"]);
  after.add(calibration_error(reliability(confidence_of(scaled.softmax(1), labels))), reference["ece"]);
  EXPECT_TRUE(measured("log likelihood and calibration error at it", after.largest(), 1e-6));
}

TEST_F(Vectors, TheTemperatureFollowsTheScaleOfTheLogits) {
  const double found = best_temperature(logits, labels).value();
  for (const double scale : {0.01, 0.3, 7.0, 30.0})
    EXPECT_NEAR(best_temperature(logits * scale, labels).value() / (scale * found), 1, 1e-5) << scale;
  EXPECT_NEAR(best_temperature(logits + 500, labels).value(), found, 1e-4);  // float32 keeps five digits of these
}

TEST(Temperature, IsNothingWhereNoneIsBest) {
  const auto labels = at::tensor({0, 1, 1}, at::kLong);
  EXPECT_FALSE(best_temperature(at::tensor({2., 0., 0., 1., 0., 3.}, at::kFloat).view({3, 2}), labels));  // all right
  EXPECT_FALSE(best_temperature(at::tensor({0., 2., 1., 0., 3., 0.}, at::kFloat).view({3, 2}), labels));  // all wrong
  EXPECT_FALSE(best_temperature(at::zeros({3, 2}), labels));
}

TEST_F(Vectors, ThresholdsAreThoseOfTryingAll) {
  const auto answered = [&](double threshold) {
    return confidence().probability.ge(threshold).sum().item<std::int64_t>();
  };
  for (const auto& one : expected["thresholds"]["accuracy"]) {
    const double threshold = threshold_for_accuracy(confidence(), one[0].get<double>());
    EXPECT_EQ(answered(threshold), one[1]) << one[0];
    EXPECT_EQ(answered(threshold + 1e-6), one[1]) << "not beside a confidence";
  }
  for (const auto& one : expected["thresholds"]["coverage"])
    EXPECT_EQ(answered(threshold_for_coverage(confidence(), one[0].get<double>())), one[1]) << one[0];
  EXPECT_EQ(answered(threshold_for_coverage(confidence(), 0)), 0);
  EXPECT_EQ(threshold_for_coverage(confidence(), 1), 0);
  auto never = confidence();
  never.is_right = at::zeros_like(never.is_right);
  EXPECT_GRAFT_ERROR(threshold_for_accuracy(never, 0.1), kMismatch, "target_accuracy");
}

TEST_F(Vectors, RejectionCountsWhatIsAnswered) {
  const auto e = evaluate({}, {.reject_below = 0.9});
  const auto answered = confidence().probability.ge(0.9);
  const auto right = confidence().is_right.masked_select(answered).to(at::kDouble).mean().item<double>();
  EXPECT_NEAR(e.rejection.value().coverage, answered.to(at::kDouble).mean().item<double>(), 1e-12);
  EXPECT_NEAR(e.rejection.value().accuracy.value(), right, 1e-12);
  EXPECT_LT(e.accuracy, right);
  EXPECT_FALSE(rejection_of(confidence(), 1.0).accuracy.has_value());
  const auto one = at::ones({1}, at::kLong);
  EXPECT_EQ(rejection_of({at::full({1}, 0.9F), one, one == 1}, 0.9).coverage, 0);  // in float32 0.9 is less
}

TEST_F(Vectors, McNemarsTestEqualsStatsmodels) {
  Difference difference;
  for (const auto& one : expected["mcnemar"]) {
    const auto test = mcnemar(one[0].get<std::int64_t>(), one[1].get<std::int64_t>());
    difference.add(test.exact_p, one[2]);
    difference.add(test.chi_squared, one[3]);
    difference.add(test.chi_squared_p, one[4]);
  }
  EXPECT_TRUE(measured("McNemar's test", difference.largest(), 1e-9));
}

TEST(RocAuc, CountsEqualScoresHalf) {
  const auto scores = at::tensor({0.1, 0.5, 0.5, 0.9}, at::kFloat);
  const auto of = [&](std::initializer_list<int> positive) {
    return roc_auc(scores, at::tensor(positive, at::kInt).to(at::kBool));
  };
  EXPECT_DOUBLE_EQ(of({0, 0, 1, 1}).value(), 3.5 / 4);
  EXPECT_DOUBLE_EQ(of({1, 1, 0, 0}).value(), 0.5 / 4);
  EXPECT_FALSE(of({1, 1, 1, 1}).has_value());
  EXPECT_FALSE(of({0, 0, 0, 0}).has_value());
}

TEST(ViewMean, IsTheMeanOfWhatIsAnswered) {
  const std::vector<Task> tasks{{.name = "class", .outputs = 3},
                                {.name = "labels", .kind = TaskKind::kMultiLabel, .outputs = 2},
                                {.name = "number", .kind = TaskKind::kRegression, .outputs = 1}};
  const std::vector<at::Tensor> views{at::tensor({1., 2., 3., -1., 4., 5.}, at::kFloat).view({1, 6}),
                                      at::tensor({0., -9., 2., 3., -200., 7.}, at::kFloat).view({1, 6}),
                                      at::tensor({5., 1., -300., 2., 0.5, 3.}, at::kFloat).view({1, 6})};
  ViewMean mean(tasks);
  auto classes = at::zeros({1, 3}), labels = at::zeros({1, 2});
  for (const auto& view : views) {
    mean.add(view);
    classes += view.narrow(1, 0, 3).softmax(1) / 3;
    labels += view.narrow(1, 3, 2).sigmoid() / 3;
  }
  const auto found = mean.logits();
  EXPECT_LT((found.narrow(1, 0, 3).softmax(1) - classes).abs().max().item<double>(), 1e-6);
  EXPECT_LT((found.narrow(1, 3, 2).sigmoid() - labels).abs().max().item<double>(), 1e-6);
  EXPECT_FLOAT_EQ(found[0][5].item<float>(), 5);
  mean.add(at::full({1, 6}, std::nan("")));
  EXPECT_TRUE(mean.logits().isnan().all().item<bool>());  // a picture that could not be read once
}

}  // namespace
}  // namespace graft::train
