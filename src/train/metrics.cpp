#include "train/metrics.h"

#include <algorithm>
#include <array>
#include <cmath>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

namespace graft::train {

namespace {

/// Expected calibration error: Guo et al. 2017, equation 3, 15 equal bins (lower, upper].
double calibration_error(const at::Tensor& confidence, const at::Tensor& correct) {
  constexpr int kBins = 15;
  std::array<double, kBins> confidences{}, hits{};
  std::array<std::int64_t, kBins> counts{};
  const auto c = confidence.accessor<float, 1>();
  const auto right = correct.accessor<bool, 1>();
  for (std::int64_t i = 0; i < confidence.size(0); ++i) {
    const auto bin = static_cast<std::size_t>(std::clamp(static_cast<int>(std::ceil(c[i] * kBins)) - 1, 0, kBins - 1));
    confidences[bin] += c[i];
    hits[bin] += right[i];
    ++counts[bin];
  }
  double error = 0;
  for (std::size_t bin = 0; bin < kBins; ++bin) error += std::abs(hits[bin] - confidences[bin]);
  return error / static_cast<double>(confidence.size(0));
}

double ratio(std::int64_t part, std::int64_t whole) {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

}  // namespace

Evaluation evaluate_logits(const at::Tensor& logits, const at::Tensor& labels, const std::vector<std::string>& names) {
  const at::NoGradGuard no_grad;
  Evaluation result;
  result.examples = labels.size(0);
  const auto classes = names.size();
  result.confusion.assign(classes, std::vector<std::int64_t>(classes, 0));
  if (result.examples > 0) {
    const auto [confidence, predicted] = logits.softmax(1).max(1);
    const auto correct = predicted.eq(labels);
    result.loss = at::cross_entropy_loss(logits, labels).item<double>();
    result.accuracy = ratio(correct.sum().item<std::int64_t>(), result.examples);
    const auto top = std::get<1>(logits.topk(std::min<std::int64_t>(5, logits.size(1)), 1));
    result.top5_accuracy = ratio(top.eq(labels.unsqueeze(1)).any(1).sum().item<std::int64_t>(), result.examples);
    result.ece = calibration_error(confidence, correct);
    const auto truth = labels.accessor<std::int64_t, 1>(), guess = predicted.accessor<std::int64_t, 1>();
    for (std::int64_t i = 0; i < result.examples; ++i)
      ++result.confusion[static_cast<std::size_t>(truth[i])][static_cast<std::size_t>(guess[i])];
  }
  for (std::size_t c = 0; c < classes; ++c) {
    std::int64_t guessed = 0, support = 0;
    for (std::size_t other = 0; other < classes; ++other) {
      guessed += result.confusion[other][c];
      support += result.confusion[c][other];
    }
    const auto hits = result.confusion[c][c];
    // F1 = 2 TP / (2 TP + FP + FN)
    result.per_class.push_back(
        {names[c], support, ratio(hits, guessed), ratio(hits, support), ratio(2 * hits, guessed + support)});
  }
  return result;
}

}  // namespace graft::train
