#include "train/metrics.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <span>
#include <utility>

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

using Confusion = std::vector<std::vector<std::int64_t>>;

/// From [true][predicted]: true positives on the diagonal, false positives in the column.
std::vector<ClassScores> scores_of(const Confusion& confusion, std::span<const std::string> names) {
  std::vector<ClassScores> scores;
  for (std::size_t c = 0; c < names.size(); ++c) {
    std::int64_t guessed = 0, support = 0;
    for (std::size_t other = 0; other < names.size(); ++other) {
      guessed += confusion[other][c];
      support += confusion[c][other];
    }
    const auto hits = confusion[c][c];
    // F1 = 2 TP / (2 TP + FP + FN)
    scores.push_back(
        {names[c], support, ratio(hits, guessed), ratio(hits, support), ratio(2 * hits, guessed + support)});
  }
  return scores;
}

void score_single_label(const at::Tensor& logits, const at::Tensor& labels, std::span<const std::string> names,
                        TaskScores& scores, Evaluation& result, bool is_first) {
  Confusion confusion(names.size(), std::vector<std::int64_t>(names.size(), 0));
  const auto [confidence, predicted] = logits.softmax(1).max(1);
  const auto truth = labels.accessor<std::int64_t, 1>(), guess = predicted.accessor<std::int64_t, 1>();
  for (std::int64_t i = 0; i < labels.size(0); ++i)
    ++confusion[static_cast<std::size_t>(truth[i])][static_cast<std::size_t>(guess[i])];
  scores.per_class = scores_of(confusion, names);
  if (!is_first) return;
  result.per_class = scores.per_class;
  result.confusion = std::move(confusion);
  if (labels.size(0) == 0) return;
  const auto correct = predicted.eq(labels);
  result.accuracy = ratio(correct.sum().item<std::int64_t>(), labels.size(0));
  const auto top = std::get<1>(logits.topk(std::min<std::int64_t>(5, logits.size(1)), 1));
  result.top5_accuracy = ratio(top.eq(labels.unsqueeze(1)).any(1).sum().item<std::int64_t>(), labels.size(0));
  result.ece = calibration_error(confidence, correct);
}

/// Area under the precision-recall curve, as scikit-learn's average_precision_score: the sum over the thresholds of
/// precision times the recall gained there; equal scores are one threshold. Nothing without a positive example.
std::optional<double> average_precision(const at::Tensor& scores, const at::Tensor& positive) {
  const auto order = scores.argsort(/*stable=*/true, 0, /*descending=*/true);
  const auto sorted = scores.index_select(0, order), hits = positive.index_select(0, order);
  const auto s = sorted.accessor<float, 1>();
  const auto p = hits.accessor<bool, 1>();
  std::int64_t true_positives = 0, gained = 0;
  double sum = 0;
  for (std::int64_t i = 0; i < sorted.size(0); ++i) {
    gained += p[i];
    if (i + 1 < sorted.size(0) && s[i + 1] == s[i]) continue;
    true_positives += gained;
    sum += ratio(true_positives, i + 1) * static_cast<double>(std::exchange(gained, 0));
  }
  if (true_positives == 0) return std::nullopt;
  return sum / static_cast<double>(true_positives);
}

void score_multi_label(const at::Tensor& logits, const at::Tensor& targets, std::span<const std::string> names,
                       TaskScores& scores) {
  double sum = 0;
  std::int64_t labels = 0;
  for (std::int64_t k = 0; k < logits.size(1); ++k) {
    const auto known = targets.select(1, k).isnan().logical_not().nonzero().squeeze(1);
    const auto score = logits.select(1, k).index_select(0, known);
    const auto positive = targets.select(1, k).index_select(0, known).gt(0.5), guessed = score.gt(0);
    const auto count = [](const at::Tensor& which) { return which.sum().item<std::int64_t>(); };
    const auto hits = count(positive & guessed), support = count(positive), guesses = count(guessed);
    scores.per_class.push_back({names[static_cast<std::size_t>(k)], support, ratio(hits, guesses), ratio(hits, support),
                                ratio(2 * hits, guesses + support)});
    if (const auto precision = average_precision(score, positive)) {
      sum += *precision;
      ++labels;
    }
  }
  if (labels > 0) scores.mean_average_precision = sum / static_cast<double>(labels);
}

void score_regression(const at::Tensor& outputs, const at::Tensor& targets, TaskScores& scores) {
  const auto known = targets.isnan().logical_not();
  const auto count = known.sum().item<double>();
  if (count == 0) return;
  const auto difference = (outputs - targets).nan_to_num().to(at::kDouble);
  scores.mean_absolute_error = difference.abs().sum().item<double>() / count;
  scores.root_mean_squared_error = std::sqrt(difference.square().sum().item<double>() / count);
  double sum = 0;
  std::int64_t defined = 0;
  for (std::int64_t k = 0; k < outputs.size(1); ++k) {
    const auto wanted = targets.select(1, k).masked_select(known.select(1, k)).to(at::kDouble);
    if (wanted.size(0) == 0) continue;
    const double total = (wanted - wanted.mean()).square().sum().item<double>();
    if (total == 0) continue;
    sum += 1 - difference.select(1, k).square().sum().item<double>() / total;
    ++defined;
  }
  if (defined > 0) scores.r2 = sum / static_cast<double>(defined);
}

}  // namespace

Evaluation evaluate_logits(const at::Tensor& logits, const at::Tensor& targets, const Objective& objective,
                           const std::vector<std::string>& names) {
  const at::NoGradGuard no_grad;
  Evaluation result;
  result.examples = logits.size(0);
  bool classified = false;
  std::int64_t first = 0;
  for (const auto& task : objective.tasks()) {
    TaskScores scores{.name = task.name, .kind = task.kind};
    const auto outputs = logits.narrow(1, first, task.outputs);
    const bool indices = targets.dim() == 1;
    const auto wanted = indices ? targets : targets.narrow(1, first, task.outputs);
    const auto task_names =
        std::span(names).subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(task.outputs));
    const auto hits = indices ? objective.hits(outputs, wanted).front() : objective.hits(task, outputs, wanted);
    if (hits.of > 0) scores.accuracy = ratio(hits.right, hits.of);
    if (result.examples > 0)
      scores.loss = (indices ? objective.loss(outputs, wanted) : objective.loss(task, outputs, wanted)).item<double>();
    switch (task.kind) {
      case TaskKind::kSingleLabel: {
        const auto known = indices ? at::arange(wanted.size(0), at::kLong)
                                   : wanted.select(1, 0).isnan().logical_not().nonzero().squeeze(1);
        const auto labels = indices ? wanted : wanted.index_select(0, known).argmax(1);
        score_single_label(outputs.index_select(0, known), labels, task_names, scores, result, !classified);
        classified = true;
        break;
      }
      case TaskKind::kMultiLabel:
        score_multi_label(outputs, wanted, task_names, scores);
        break;
      case TaskKind::kRegression:
        score_regression(outputs, wanted, scores);
        break;
    }
    result.loss += task.weight * scores.loss;
    result.tasks.push_back(std::move(scores));
    first += task.outputs;
  }
  return result;
}

}  // namespace graft::train
