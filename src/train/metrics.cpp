#include "train/metrics.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>
#include <span>
#include <utility>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "train/ranking.h"

namespace graft::train {

namespace {

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

/// Of the figures that there are.
class Mean {
 public:
  void add(const std::optional<double>& figure) {
    if (!figure) return;
    sum_ += *figure;
    ++count_;
  }
  std::optional<double> value() const {
    return count_ == 0 ? std::nullopt : std::optional(sum_ / static_cast<double>(count_));
  }

 private:
  double sum_ = 0;
  std::int64_t count_ = 0;
};

/// sum(weight_c score_c) / sum(weight_c); 0 if that of the weights is.
Averages averages(std::span<const ClassScores> scores, std::span<const double> weights) {
  Averages mean;
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  if (sum == 0) return mean;
  for (std::size_t c = 0; c < scores.size(); ++c) {
    const double share = weights[c] / sum;
    mean.precision += share * scores[c].precision;
    mean.recall += share * scores[c].recall;
    mean.f1 += share * scores[c].f1;
  }
  return mean;
}

Averages macro_average(std::span<const ClassScores> scores, const Confusion& confusion) {
  std::vector<double> weights;
  for (std::size_t c = 0; c < scores.size(); ++c) {
    const bool is_predicted = std::ranges::any_of(confusion, [&](const auto& row) { return row[c] > 0; });
    weights.push_back(scores[c].support > 0 || is_predicted ? 1 : 0);
  }
  return averages(scores, weights);
}

Averages weighted_average(std::span<const ClassScores> scores) {
  std::vector<double> weights;
  for (const auto& c : scores) weights.push_back(static_cast<double>(c.support));
  return averages(scores, weights);
}

std::span<const std::int64_t> as_span(const at::Tensor& indices) {
  return {indices.const_data_ptr<std::int64_t>(), static_cast<std::size_t>(indices.numel())};
}

/// The examples of a task of single labels whose class is known, and what is answered.
struct SingleLabels {
  at::Tensor logits;         ///< [N, classes]
  at::Tensor labels;         ///< [N]
  at::Tensor rows;           ///< [N]: which of all examples these are
  at::Tensor probabilities;  ///< [N, classes]
  Confidence confidence;
  std::span<const std::string> names;
};

std::vector<TopLoss> top_losses(const SingleLabels& data, const at::Tensor& losses, std::int64_t most) {
  const auto order = losses.argsort(/*stable=*/true, 0, /*descending=*/true);
  std::vector<TopLoss> list;
  for (std::int64_t i = 0; i < std::min(most, order.size(0)); ++i) {
    const auto at = order[i].item<std::int64_t>();
    list.push_back({.index = static_cast<std::size_t>(data.rows[at].item<std::int64_t>()),
                    .name = {},
                    .true_class = data.labels[at].item<std::int64_t>(),
                    .predicted_class = data.confidence.guess[at].item<std::int64_t>(),
                    .probability = data.confidence.probability[at].item<double>(),
                    .loss = losses[at].item<double>()});
  }
  return list;
}

void score_single_label(const SingleLabels& data, const Details& details, TaskScores& scores, Confusion& confusion) {
  confusion.assign(data.names.size(), std::vector<std::int64_t>(data.names.size(), 0));
  const auto truth = as_span(data.labels), guess = as_span(data.confidence.guess);
  for (std::size_t i = 0; i < truth.size(); ++i)
    ++confusion[static_cast<std::size_t>(truth[i])][static_cast<std::size_t>(guess[i])];
  scores.per_class = scores_of(confusion, data.names);
  if (!details.roc_auc) return;
  Mean mean;
  for (std::size_t c = 0; c < data.names.size(); ++c) {
    const auto column = static_cast<std::int64_t>(c);
    scores.per_class[c].roc_auc = roc_auc(data.probabilities.select(1, column), data.labels.eq(column));
    mean.add(scores.per_class[c].roc_auc);
  }
  scores.roc_auc = mean.value();
}

/// The figures of Evaluation that are of its first task of single labels, its confusion known.
void score_first(const SingleLabels& data, const Task& task, const Details& details, const TaskScores& scores,
                 Evaluation& result) {
  result.per_class = scores.per_class;
  result.roc_auc = scores.roc_auc;
  result.macro = macro_average(scores.per_class, result.confusion);
  result.weighted = weighted_average(scores.per_class);
  result.reliability = reliability(data.confidence);
  result.ece = calibration_error(result.reliability);
  const auto count = data.labels.size(0);
  if (count == 0) return;
  result.accuracy = ratio(data.confidence.is_right.sum().item<std::int64_t>(), count);
  const auto top = std::get<1>(data.logits.topk(std::min<std::int64_t>(5, data.logits.size(1)), 1));
  result.top5_accuracy = ratio(top.eq(data.labels.unsqueeze(1)).any(1).sum().item<std::int64_t>(), count);
  const auto losses = negative_log_likelihoods(data.logits, data.labels);
  result.nll = losses.mean().item<double>();
  if (task.calibration.reject_below) result.rejection = rejection_of(data.confidence, *task.calibration.reject_below);
  result.top_losses = top_losses(data, losses, details.top_losses);
  if (details.resampling.samples == 0) return;
  const auto intervals =
      bootstrap(as_span(data.labels), as_span(data.confidence.guess), data.logits.size(1), details.resampling);
  result.accuracy_interval = intervals.accuracy;
  result.macro_f1_interval = intervals.macro_f1;
}

void score_multi_label(const at::Tensor& logits, const at::Tensor& targets, std::span<const std::string> names,
                       const Details& details, TaskScores& scores) {
  Mean precision, area;
  for (std::int64_t k = 0; k < logits.size(1); ++k) {
    const auto known = targets.select(1, k).isnan().logical_not().nonzero().squeeze(1);
    const auto score = logits.select(1, k).index_select(0, known);
    const auto positive = targets.select(1, k).index_select(0, known).gt(0.5), guessed = score.gt(0);
    const auto count = [](const at::Tensor& which) { return which.sum().item<std::int64_t>(); };
    const auto hits = count(positive & guessed), support = count(positive), guesses = count(guessed);
    ClassScores label{names[static_cast<std::size_t>(k)], support, ratio(hits, guesses), ratio(hits, support),
                      ratio(2 * hits, guesses + support)};
    if (details.roc_auc) label.roc_auc = roc_auc(score, positive);
    precision.add(average_precision(score, positive));
    area.add(label.roc_auc);
    scores.per_class.push_back(std::move(label));
  }
  scores.mean_average_precision = precision.value();
  scores.roc_auc = area.value();
}

void score_regression(const at::Tensor& outputs, const at::Tensor& targets, TaskScores& scores) {
  const auto known = targets.isnan().logical_not();
  const auto count = known.sum().item<double>();
  if (count == 0) return;
  const auto difference = (outputs - targets).nan_to_num().to(at::kDouble);
  scores.mean_absolute_error = difference.abs().sum().item<double>() / count;
  scores.root_mean_squared_error = std::sqrt(difference.square().sum().item<double>() / count);
  Mean r2;
  for (std::int64_t k = 0; k < outputs.size(1); ++k) {
    const auto wanted = targets.select(1, k).masked_select(known.select(1, k)).to(at::kDouble);
    if (wanted.size(0) == 0) continue;
    const double total = (wanted - wanted.mean()).square().sum().item<double>();
    if (total == 0) continue;
    r2.add(1 - difference.select(1, k).square().sum().item<double>() / total);
  }
  scores.r2 = r2.value();
}

}  // namespace

at::Tensor negative_log_likelihoods(const at::Tensor& logits, const at::Tensor& labels) {
  return logits.log_softmax(1).gather(1, labels.unsqueeze(1)).squeeze(1).neg().to(at::kDouble);
}

Confidence confidence_of(const at::Tensor& probabilities, const at::Tensor& labels) {
  const auto [probability, guess] = probabilities.max(1);
  return {probability, guess, guess.eq(labels)};
}

std::vector<ReliabilityBin> reliability(const Confidence& confidence) {
  constexpr int kBins = 15;
  std::vector<ReliabilityBin> bins(kBins);
  const auto probability = confidence.probability.accessor<float, 1>();
  const auto right = confidence.is_right.accessor<bool, 1>();
  for (std::int64_t i = 0; i < confidence.probability.size(0); ++i) {
    const int place = std::clamp(static_cast<int>(std::ceil(probability[i] * kBins)) - 1, 0, kBins - 1);
    auto& bin = bins[static_cast<std::size_t>(place)];
    ++bin.count;
    bin.confidence += probability[i];
    bin.accuracy += right[i];
  }
  for (auto& bin : bins) {
    const auto count = static_cast<double>(std::max<std::int64_t>(bin.count, 1));
    bin.confidence /= count;
    bin.accuracy /= count;
  }
  return bins;
}

Rejection rejection_of(const Confidence& confidence, double reject_below) {
  const auto answered = confidence.probability.to(at::kDouble).ge(reject_below);
  const auto answers = answered.sum().item<std::int64_t>();
  Rejection result{.reject_below = reject_below, .coverage = ratio(answers, answered.size(0))};
  if (answers > 0) result.accuracy = ratio((answered & confidence.is_right).sum().item<std::int64_t>(), answers);
  return result;
}

double calibration_error(const std::vector<ReliabilityBin>& bins) {
  double error = 0, count = 0;
  for (const auto& bin : bins) {
    error += static_cast<double>(bin.count) * std::abs(bin.accuracy - bin.confidence);
    count += static_cast<double>(bin.count);
  }
  return count == 0 ? 0 : error / count;
}

Evaluation evaluate_logits(const at::Tensor& logits, const at::Tensor& targets, const Objective& objective,
                           const std::vector<std::string>& names, const Details& details) {
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
        const auto answers = outputs.index_select(0, known);
        const auto probabilities = answers.softmax(1);
        const SingleLabels data{answers,   labels, known, probabilities, confidence_of(probabilities, labels),
                                task_names};
        Confusion confusion;
        score_single_label(data, details, scores, confusion);
        if (!std::exchange(classified, true)) {
          result.confusion = std::move(confusion);
          score_first(data, task, details, scores, result);
        }
        break;
      }
      case TaskKind::kMultiLabel:
        score_multi_label(outputs, wanted, task_names, details, scores);
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
