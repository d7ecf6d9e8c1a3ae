#include "train/compare.h"

#include <algorithm>
#include <cmath>
#include <string>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <graft/error.h>

#include "base/check.h"
#include "base/text.h"
#include "base/translate.h"
#include "model/task.h"
#include "train/bootstrap.h"
#include "train/evaluator.h"

namespace graft {

namespace {

std::vector<std::string> ids(const Model& model) {
  std::vector<std::string> list;
  for (const auto& label : model.labels()) list.push_back(label.id);
  return list;
}

const Task& naming_task(const Model& model) {
  const auto* task = model::first_of_single_labels(model.tasks());
  if (!task)
    throw Error(ErrorCode::kConfig, "models are compared by their task of single labels: expected one, found none");
  return *task;
}

void check(const Model& first, const Model& second, const Dataset& data, const CompareOptions& options) {
  base::require(options.evaluate.bootstrap_samples >= 1, "bootstrap_samples", "1 or more",
                options.evaluate.bootstrap_samples);
  if (ids(first) != ids(second) || naming_task(first).outputs != naming_task(second).outputs)
    throw Error(ErrorCode::kMismatch, "the models have different labels: " + base::list_names(ids(first)) + " and " +
                                          base::list_names(ids(second)));
  train::check_classes(first, data, "the data");
}

/// What one model answers, and what of it counts.
struct Answers {
  train::Logits all;
  at::Tensor is_right;  ///< bool, of the rows in common
};

ComparedModel score(const Model& model, Answers& answers, const at::Tensor& rows) {
  const auto [logits, labels] = train::labelled(answers.all, model.tasks(), naming_task(model), rows);
  const auto confidence = train::confidence_of(logits.softmax(1), labels);
  answers.is_right = confidence.is_right;
  return {.accuracy = confidence.is_right.to(at::kDouble).mean().item<double>(),
          .ece = train::calibration_error(train::reliability(confidence)),
          .nll = train::negative_log_likelihoods(logits, labels).mean().item<double>()};
}

/// Rows that both have; a file may have gone between the two.
at::Tensor in_common(const at::Tensor& a, const at::Tensor& b) { return a.masked_select(at::isin(a, b)); }

ModelComparison compared(const Model& first, const Model& second, const Dataset& data, const CompareOptions& options) {
  const at::NoGradGuard no_grad;
  check(first, second, data, options);
  const TrainerOptions how{.precision = options.precision};
  auto one = options.evaluate, other = options.evaluate;  // one progress over both
  if (const auto& told = options.evaluate.on_step) {
    one.on_step = [&](std::int64_t done, std::int64_t of) { told(done, 2 * of); };
    other.on_step = [&](std::int64_t done, std::int64_t of) { told(of + done, 2 * of); };
  }
  Answers a{train::Evaluator(first, how).answers(data, one, /*with_targets=*/true), {}};
  Answers b{train::Evaluator(second, how).answers(data, other, /*with_targets=*/true), {}};
  const auto rows = in_common(train::labelled_rows(a.all, first.tasks(), naming_task(first)),
                              train::labelled_rows(b.all, second.tasks(), naming_task(second)));
  if (rows.numel() == 0) throw Error(ErrorCode::kMismatch, "expected pictures whose class is known, found none");

  ModelComparison result{.examples = rows.numel(), .bad_images = a.all.bad_images};
  result.first = score(first, a, rows);
  result.second = score(second, b, rows);
  const auto count = [](const at::Tensor& which) { return which.sum().item<std::int64_t>(); };
  result.both_right = count(a.is_right & b.is_right);
  result.only_first_right = count(a.is_right & b.is_right.logical_not());
  result.only_second_right = count(b.is_right & a.is_right.logical_not());
  result.both_wrong = result.examples - result.both_right - result.only_first_right - result.only_second_right;
  result.mcnemar = train::mcnemar(result.only_first_right, result.only_second_right);
  result.difference = result.second.accuracy - result.first.accuracy;
  const auto gained = b.is_right.to(at::kLong) - a.is_right.to(at::kLong);
  result.difference_interval =
      train::bootstrap_mean({gained.const_data_ptr<std::int64_t>(), static_cast<std::size_t>(gained.numel())},
                            {.samples = options.evaluate.bootstrap_samples, .seed = options.evaluate.seed});
  return result;
}

}  // namespace

ModelComparison compare(const Model& first, const Model& second, const Dataset& data, const CompareOptions& options) {
  return base::translated("comparing", [&] { return compared(first, second, data, options); });
}

namespace train {

McNemar mcnemar(std::int64_t b, std::int64_t c) {
  McNemar test;
  const auto n = b + c;
  if (n == 0) return test;
  const auto size = static_cast<double>(n);
  // P(X <= min(b, c)) for X of n fair coins, term by term as logarithms: the first is too small for a double early on.
  double log_term = size * std::log(0.5), sum = 0;
  for (std::int64_t k = 0; k <= std::min(b, c); ++k) {
    if (k > 0) log_term += std::log(static_cast<double>(n - k + 1) / static_cast<double>(k));
    sum += std::exp(log_term);
  }
  test.exact_p = std::min(1.0, 2 * sum);
  const double excess = std::abs(static_cast<double>(b - c)) - 1;
  test.chi_squared = excess * excess / size;
  test.chi_squared_p = std::erfc(std::sqrt(test.chi_squared / 2));
  return test;
}

}  // namespace train
}  // namespace graft
