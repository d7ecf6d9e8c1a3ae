#include "train/ranking.h"

#include <cstdint>

#include <ATen/ATen.h>

namespace graft::train {

namespace {

/// Positive and negative examples.
struct Counts {
  double positive = 0;
  double negative = 0;
};

/// Calls visit(gained) with what each threshold adds, from the highest score down; equal scores are one threshold.
template <class Visit>
void for_each_threshold(const at::Tensor& scores, const at::Tensor& positive, const Visit& visit) {
  const auto order = scores.argsort(/*stable=*/true, 0, /*descending=*/true);
  const auto sorted = scores.index_select(0, order), hits = positive.index_select(0, order);
  const auto score = sorted.accessor<float, 1>();
  const auto hit = hits.accessor<bool, 1>();
  Counts gained;
  for (std::int64_t i = 0; i < sorted.size(0); ++i) {
    ++(hit[i] ? gained.positive : gained.negative);
    if (i + 1 < sorted.size(0) && score[i + 1] == score[i]) continue;
    visit(gained);
    gained = {};
  }
}

}  // namespace

std::optional<double> average_precision(const at::Tensor& scores, const at::Tensor& positive) {
  Counts so_far;
  double sum = 0;
  for_each_threshold(scores, positive, [&](const Counts& gained) {
    so_far.positive += gained.positive;
    so_far.negative += gained.negative;
    sum += gained.positive * so_far.positive / (so_far.positive + so_far.negative);
  });
  if (so_far.positive == 0) return std::nullopt;
  return sum / so_far.positive;
}

std::optional<double> roc_auc(const at::Tensor& scores, const at::Tensor& positive) {
  Counts so_far;
  double pairs = 0;
  for_each_threshold(scores, positive, [&](const Counts& gained) {
    pairs += gained.negative * (so_far.positive + gained.positive / 2);
    so_far.positive += gained.positive;
    so_far.negative += gained.negative;
  });
  if (so_far.positive == 0 || so_far.negative == 0) return std::nullopt;
  return pairs / (so_far.positive * so_far.negative);
}

}  // namespace graft::train
