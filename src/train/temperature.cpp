#include "train/temperature.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <ATen/ATen.h>

#include <graft/error.h>

#include "base/text.h"

namespace graft::train {

namespace {

/// Of the mean negative log likelihood by the inverse temperature b: it is log sum_c exp(b z_c) - b z_label, convex in
/// b.
struct Derivatives {
  double first = 0;   ///< mean of E[z] - z_label, with z distributed as softmax(b z) says
  double second = 0;  ///< mean of Var[z]
};

Derivatives derivatives(const at::Tensor& logits, const at::Tensor& labels, double b) {
  constexpr std::int64_t kRows = 4096;  // bounds the memory of the float64 copies
  double first = 0, second = 0;
  for (std::int64_t begin = 0; begin < logits.size(0); begin += kRows) {
    const auto count = std::min(kRows, logits.size(0) - begin);
    auto z = logits.narrow(0, begin, count).to(at::kDouble);
    z = z - z.gather(1, labels.narrow(0, begin, count).unsqueeze(1));
    const auto p = (z * b).softmax(1);
    const auto mean = (p * z).sum(1, /*keepdim=*/true);
    first += mean.sum().item<double>();
    second += (p * (z - mean).square()).sum().item<double>();
  }
  const auto count = static_cast<double>(logits.size(0));
  return {first / count, second / count};
}

/// Newton's method, kept between bounds of which the left has a falling and the right a rising likelihood.
double minimum(const at::Tensor& logits, const at::Tensor& labels, double low, double high) {
  constexpr int kMost = 200;
  double b = std::clamp(1.0, low, high);
  for (int i = 0; i < kMost; ++i) {
    const auto at = derivatives(logits, labels, b);
    (at.first < 0 ? low : high) = b;
    double next = b - at.first / at.second;
    if (!(next > low && next < high)) next = std::sqrt(low * high);
    if (std::abs(next - b) <= 1e-12 * b) return next;
    b = next;
  }
  return b;
}

/// Confidences, the highest first, and how many of the first so many are right.
struct Ranked {
  std::vector<float> confidence;
  std::vector<std::int64_t> right;  ///< of the first i + 1
};

Ranked ranked(const Confidence& confidence) {
  const auto order = confidence.probability.argsort(/*stable=*/true, 0, /*descending=*/true);
  const auto sorted = confidence.probability.index_select(0, order);
  const auto right = confidence.is_right.index_select(0, order).cumsum(0);
  const auto size = sorted.numel();
  return {{sorted.const_data_ptr<float>(), sorted.const_data_ptr<float>() + size},
          {right.const_data_ptr<std::int64_t>(), right.const_data_ptr<std::int64_t>() + size}};
}

/// A threshold that lets the first `answered` through: midway, so that rounding on other machines changes nothing.
double threshold_after(const Ranked& all, std::size_t answered) {
  if (answered == all.confidence.size()) return 0;
  const double below = all.confidence[answered];
  return answered == 0 ? (1 + below) / 2 : (all.confidence[answered - 1] + below) / 2;
}

/// Whether a threshold can come behind the first `answered`: not between equal ones.
bool can_part(const Ranked& all, std::size_t answered) {
  return answered == all.confidence.size() || all.confidence[answered - 1] != all.confidence[answered];
}

}  // namespace

std::optional<double> best_temperature(const at::Tensor& logits, const at::Tensor& labels) {
  constexpr double low = 0.01, high = 100;
  if (derivatives(logits, labels, low).first >= 0 || derivatives(logits, labels, high).first <= 0) return std::nullopt;
  return 1 / minimum(logits, labels, low, high);
}

double threshold_for_accuracy(const Confidence& confidence, double accuracy) {
  const auto all = ranked(confidence);
  double best = 0;
  for (auto answered = all.confidence.size(); answered > 0; --answered) {
    const double found = static_cast<double>(all.right[answered - 1]) / static_cast<double>(answered);
    best = std::max(best, found);
    if (found >= accuracy && can_part(all, answered)) return threshold_after(all, answered);
  }
  throw Error(ErrorCode::kMismatch,
              "target_accuracy: expected a share of right answers that some threshold reaches, found " +
                  base::shortest(accuracy) + "; the best is " + base::shortest(best));
}

double threshold_for_coverage(const Confidence& confidence, double coverage) {
  const auto all = ranked(confidence);
  const auto size = all.confidence.size();
  constexpr double kRounding = 1e-12;  // 0.55 of 100 is 55, in float64 more
  const double wanted = coverage * static_cast<double>(size) * (1 - kRounding);
  auto answered = std::min(size, static_cast<std::size_t>(std::ceil(wanted)));
  while (answered > 0 && !can_part(all, answered)) ++answered;
  return threshold_after(all, answered);
}

}  // namespace graft::train
