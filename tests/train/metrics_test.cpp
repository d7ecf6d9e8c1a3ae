#include "train/metrics.h"

#include <cmath>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace graft::train {
namespace {

Objective classifier(std::int64_t classes) { return Objective({{.outputs = classes}}, 0); }

// Three classes, four examples, worked out by hand: guesses 0, 1, 1, 2 for labels 0, 1, 2, 2.
TEST(Metrics, FollowTheirDefinitions) {
  const double p = 0.6, q = 0.2;  // softmax of these logits: p for the guess, q for the others
  const auto logits = at::log(at::tensor({p, q, q, q, p, q, q, p, q, q, q, p}, at::kFloat).reshape({4, 3}));
  const auto e = evaluate_logits(logits, at::tensor({0, 1, 2, 2}, at::kLong), classifier(3), {"a", "b", "c"});
  EXPECT_EQ(e.examples, 4);
  EXPECT_DOUBLE_EQ(e.accuracy, 0.75);
  EXPECT_DOUBLE_EQ(e.top5_accuracy, 1);
  EXPECT_NEAR(e.loss, -(3 * std::log(p) + std::log(q)) / 4, 1e-6);
  EXPECT_NEAR(e.ece, 0.75 - 0.6, 1e-6);  // one bin: accuracy .75, confidence .6
  EXPECT_EQ(e.confusion, (std::vector<std::vector<std::int64_t>>{{1, 0, 0}, {0, 1, 0}, {0, 1, 1}}));
  EXPECT_DOUBLE_EQ(e.per_class[1].precision, 0.5);
  EXPECT_DOUBLE_EQ(e.per_class[1].recall, 1);
  EXPECT_DOUBLE_EQ(e.per_class[1].f1, 2.0 / 3);
  EXPECT_DOUBLE_EQ(e.per_class[2].precision, 1);
  EXPECT_DOUBLE_EQ(e.per_class[2].recall, 0.5);
  EXPECT_EQ(e.per_class[2].support, 2);
}

TEST(Metrics, AbsentClassesScoreZeroNotNan) {
  const auto e = evaluate_logits(at::zeros({1, 2}), at::zeros({1}, at::kLong), classifier(2), {"a", "b"});
  EXPECT_EQ(e.per_class[1].precision, 0);
  EXPECT_EQ(e.per_class[1].f1, 0);
  const auto none = evaluate_logits(at::zeros({0, 2}), at::zeros({0}, at::kLong), classifier(2), {"a", "b"});
  EXPECT_EQ(none.accuracy, 0);
}

}  // namespace
}  // namespace graft::train
