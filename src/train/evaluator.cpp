#include "train/evaluator.h"

#include <limits>
#include <string>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <graft/error.h>

#include "model/task.h"
#include "train/clock.h"
#include "train/metrics.h"
#include "train/objective.h"

namespace graft::train {

namespace {

/// A sum over logits that are not numbers would silently spoil every score.
void require_answers(const std::vector<Task>& tasks, const at::Tensor& logits, const Batch& batch,
                     const Dataset& data) {
  const auto spoilt = model::activated(tasks, logits).isfinite().logical_not().any(1).nonzero();
  if (spoilt.numel() == 0) return;
  const auto row = static_cast<std::size_t>(spoilt[0][0].item<std::int64_t>());
  throw Error(ErrorCode::kNumeric, data.name(batch.indices[row]) + ": the network's outputs are not finite numbers");
}

}  // namespace

Logits Evaluator::logits(const Dataset& data, const Reading& reading, bool with_targets) const {
  const at::NoGradGuard no_grad;
  const auto start = Clock::now();
  const LoaderOptions all{.batch_size = reading.batch_size,
                          .seed = options_.seed,
                          .threads = reading.threads,
                          .pin_memory = model_.device().is_cuda()};
  auto* const examples = reading.examples;
  DataLoader loader(data, model_.preprocessing(), examples ? examples->for_loader(all) : all);
  const auto size = static_cast<std::int64_t>(data.size());
  const Objective objective(model_.tasks(), 0);
  const auto unknown = at::full({size, model_.num_classes()}, std::numeric_limits<float>::quiet_NaN(), at::kFloat);
  Logits logits{unknown, objective.is_plain() ? at::zeros({size}, at::kLong) : unknown.clone(), {}, {}, 0};
  std::int64_t step = 0;
  while (auto batch = loader.next()) {
    const auto forward = [&] {
      return examples ? examples->logits(*batch, loader) : model_.forward(batch->images, options_.precision);
    };
    const auto values = forward().to(at::kCPU);
    require_answers(model_.tasks(), values, *batch, data);
    const std::vector<std::int64_t> indices(batch->indices.begin(), batch->indices.end());
    const auto rows = at::tensor(indices, at::kLong);
    logits.values.index_copy_(0, rows, values);
    if (with_targets)
      logits.targets.index_copy_(0, rows, objective.is_plain() ? batch->labels : objective.dense(batch->targets));
    logits.readable.insert(logits.readable.end(), indices.begin(), indices.end());
    if (reading.on_step) reading.on_step(++step, static_cast<std::int64_t>(loader.batches_per_epoch()));
  }
  logits.bad_images = loader.bad_images();
  logits.seconds = seconds_since(start);
  return logits;
}

Evaluation Evaluator::evaluate(const Dataset& data, const Reading& reading) const {
  const auto logits = this->logits(data, reading, /*with_targets=*/true);
  const auto readable = at::tensor(logits.readable, at::kLong);
  auto result = evaluate_logits(logits.values.index_select(0, readable), logits.targets.index_select(0, readable),
                                Objective(model_.tasks(), 0), data.classes());
  result.bad_images = logits.bad_images;
  result.images_per_second = static_cast<double>(result.examples) / logits.seconds;
  return result;
}

}  // namespace graft::train
