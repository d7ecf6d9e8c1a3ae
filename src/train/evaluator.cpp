#include "train/evaluator.h"

#include <limits>
#include <string>
#include <utility>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <graft/error.h>

#include "base/check.h"
#include "base/text.h"
#include "model/task.h"
#include "train/clock.h"
#include "train/objective.h"
#include "train/sample.h"
#include "train/together.h"
#include "train/view_mean.h"

namespace graft::train {

namespace {

/// A sum over logits that are not numbers would silently spoil every score.
void require_answers(const at::Tensor& logits, const Batch& batch, const Dataset& data) {
  const auto spoilt = logits.isfinite().logical_not().any(1).nonzero();
  if (spoilt.numel() == 0) return;
  const auto row = static_cast<std::size_t>(spoilt[0][0].item<std::int64_t>());
  throw Error(ErrorCode::kNumeric, data.name(batch.indices[row]) + ": the network's outputs are not finite numbers");
}

/// A data set with other random changes than its own.
class Augmented : public Sample {
 public:
  Augmented(const Dataset& data, const Augment& augment) : Sample(data, data.size()), augment_(augment) {}
  const Augment& augment() const override { return augment_; }

 private:
  const Augment& augment_;
};

void check(const EvaluateOptions& options) {
  base::require(options.top_losses >= 0, "top_losses", "0 or more", options.top_losses);
  base::require(options.bootstrap_samples >= 0, "bootstrap_samples", "0 or more", options.bootstrap_samples);
  const auto views = options.tta.augmented_views;
  base::require(views >= 0, "tta.augmented_views", "0 or more", views);
  base::require(views == 0 || options.tta.augment.enabled(), "tta.augment", "some change for augmented views, of which",
                views);
}

at::Tensor unknown(std::int64_t rows, std::int64_t columns) {
  return at::full({rows, columns}, std::numeric_limits<float>::quiet_NaN(), at::kFloat);
}

/// Which rows have no NaN.
std::vector<std::int64_t> rows_of_numbers(const at::Tensor& values) {
  const auto rows = values.isnan().any(1).logical_not().nonzero().squeeze(1);
  return {rows.const_data_ptr<std::int64_t>(), rows.const_data_ptr<std::int64_t>() + rows.numel()};
}

/// What each process has read of the data, in all of them.
void share(Logits& logits, Communicator& processes) {
  const auto read = at::zeros({logits.values.size(0)}, at::kLong);
  read.index_fill_(0, at::tensor(logits.readable, at::kLong), 1);
  logits.values.index_fill_(0, read.eq(0).nonzero().squeeze(1), 0);
  logits.targets.index_fill_(0, read.eq(0).nonzero().squeeze(1), 0);
  processes.sum({logits.values, logits.targets, read});
  const auto nobody = read.eq(0).nonzero().squeeze(1);
  logits.values.index_fill_(0, nobody, std::numeric_limits<float>::quiet_NaN());
  const auto rows = read.nonzero().squeeze(1);
  logits.readable.assign(rows.const_data_ptr<std::int64_t>(), rows.const_data_ptr<std::int64_t>() + rows.numel());
  logits.bad_images = of_all(&processes, std::move(logits.bad_images));
  if (logits.readable.empty())
    throw Error(ErrorCode::kMismatch, "none of the pictures can be read; the first: " +
                                          (logits.bad_images.empty() ? "none" : logits.bad_images[0].message));
}

}  // namespace

void check_same_classes(const Dataset& train, const Dataset& val) {
  if (train.classes() == val.classes()) return;
  throw Error(ErrorCode::kMismatch, "training and validation data have different classes: " +
                                        base::list_names(train.classes()) + " and " + base::list_names(val.classes()));
}

void check_classes(const Model& model, const Dataset& data, const char* which) {
  if (std::ssize(data.classes()) == model.num_classes()) return;
  throw Error(ErrorCode::kMismatch, std::string(which) + " has " + std::to_string(data.classes().size()) +
                                        " classes (" + base::list_names(data.classes()) + "), the model has " +
                                        std::to_string(model.num_classes()) +
                                        " outputs; replace_head with that many classes");
}

at::Tensor labelled_rows(const Logits& all, const std::vector<Task>& tasks, const Task& task) {
  const auto rows = at::tensor(all.readable, at::kLong);
  if (all.targets.dim() == 1) return rows;
  const auto known =
      all.targets.select(1, model::first_output(tasks, task)).index_select(0, rows).isnan().logical_not();
  return rows.masked_select(known);
}

Labelled labelled(const Logits& all, const std::vector<Task>& tasks, const Task& task, const at::Tensor& rows) {
  const auto first = model::first_output(tasks, task);
  const auto of_task = [&](const at::Tensor& values) {
    return values.narrow(1, first, task.outputs).index_select(0, rows);
  };
  return {of_task(all.values),
          all.targets.dim() == 1 ? all.targets.index_select(0, rows) : of_task(all.targets).argmax(1)};
}

LoaderOptions Evaluator::loader_options(std::int64_t batch_size, int threads) const {
  const auto device = model_.device();
  return {
      .batch_size = batch_size, .seed = options_.seed, .threads = threads, .bytes = device.is_cuda(), .device = device};
}

Logits Evaluator::logits(const Dataset& data, const Reading& reading, bool with_targets) const {
  auto all = loader_options(reading.batch_size, reading.threads);
  all.share = share_of(reading.processes, /*by_example=*/false);
  DataLoader loader(data, model_.input(), reading.examples ? reading.examples->for_loader(all) : all);
  return read(loader, data, reading, with_targets);
}

Logits Evaluator::read(DataLoader& loader, const Dataset& data, const Reading& reading, bool with_targets,
                       const OnBatch& on_batch) const {
  if (model_.is_training())
    throw Error(ErrorCode::kConfig, "the model is in training mode; call eval() before measuring it");
  const at::NoGradGuard no_grad;
  const auto start = Clock::now();
  const auto size = static_cast<std::int64_t>(data.size());
  const Objective objective(model_.tasks(), 0);
  const auto nothing = unknown(size, model_.num_classes());
  Logits logits{nothing, objective.is_plain() ? at::zeros({size}, at::kLong) : nothing.clone(), {}, {}, 0};
  std::int64_t step = 0;
  while (auto batch = loader.next()) {
    if (batch->size() == 0) continue;
    const auto forward = [&] {
      return reading.examples ? reading.examples->logits(*batch, loader)
                              : model_.forward(batch->images, options_.precision);
    };
    const auto values = forward().to(at::kCPU);
    require_answers(values, *batch, data);
    const std::vector<std::int64_t> indices(batch->indices.begin(), batch->indices.end());
    const auto rows = at::tensor(indices, at::kLong);
    logits.values.index_copy_(0, rows, values);
    if (with_targets)
      logits.targets.index_copy_(
          0, rows, objective.is_plain() ? objective.checked(batch->labels) : objective.dense(batch->targets));
    logits.readable.insert(logits.readable.end(), indices.begin(), indices.end());
    if (on_batch) on_batch(*batch, rows);
    if (reading.on_step) reading.on_step(++step, static_cast<std::int64_t>(loader.batches_per_epoch()));
  }
  logits.bad_images = loader.bad_images();
  if (reading.processes) share(logits, *reading.processes);
  logits.seconds = seconds_since(start);
  return logits;
}

Logits Evaluator::answers(const Dataset& data, const EvaluateOptions& options, bool with_targets) const {
  check(options);
  if (options.tta.enabled() && takes_text(model_.input()))
    base::refuse("tta", "none for a network that takes texts", "some");
  const at::NoGradGuard no_grad;
  const auto start = Clock::now();
  const auto& tta = options.tta;
  std::int64_t passes_done = 0;
  const Reading reading{.batch_size = options.batch_size,
                        .threads = options.loader_threads,
                        .on_step = [&](std::int64_t step, std::int64_t steps) {
                          if (options.on_step)
                            options.on_step(passes_done * steps + step, (1 + tta.augmented_views) * steps);
                        }};
  auto loading = loader_options(options.batch_size, options.loader_threads);
  DataLoader loader(data, model_.input(), loading);
  const auto mirrored = unknown(tta.horizontal_flip ? static_cast<std::int64_t>(data.size()) : 0, model_.num_classes());
  const auto mirror = [&](const Batch& batch, const at::Tensor& rows) {
    const auto values = model_.forward(batch.images.flip(3), options_.precision).to(at::kCPU);
    require_answers(values, batch, data);
    mirrored.index_copy_(0, rows, values);
  };
  auto answers = read(loader, data, reading, with_targets, tta.horizontal_flip ? OnBatch(mirror) : OnBatch());
  answers.values = calibrated(answers.values);
  if (!tta.enabled()) return answers;

  ViewMean mean(model_.tasks());
  mean.add(answers.values);
  if (tta.horizontal_flip) mean.add(calibrated(mirrored));
  if (tta.augmented_views > 0) {
    const Augmented changed(data, tta.augment);
    loading.augment = true;
    loading.seed = options.seed;
    DataLoader views(changed, model_.input(), loading);
    for (passes_done = 1; passes_done <= tta.augmented_views; ++passes_done) {
      if (passes_done > 1) views.start_epoch(static_cast<std::uint64_t>(passes_done - 1));
      mean.add(calibrated(read(views, data, reading, /*with_targets=*/false).values));
    }
  }
  answers.values = mean.logits();
  answers.readable = rows_of_numbers(answers.values);  // a file may have gone between two looks
  answers.seconds = seconds_since(start);
  return answers;
}

at::Tensor Evaluator::calibrated(const at::Tensor& logits) const { return model::calibrated(model_.tasks(), logits); }

Evaluation Evaluator::evaluate(const Dataset& data, const Reading& reading) const {
  return scored(logits(data, reading, /*with_targets=*/true), data, {});
}

Evaluation Evaluator::evaluate(const Dataset& data, const EvaluateOptions& options) const {
  const auto answers = this->answers(data, options, /*with_targets=*/true);
  auto result = scored(answers, data,
                       {.roc_auc = true,
                        .top_losses = options.top_losses,
                        .resampling = {.samples = options.bootstrap_samples, .seed = options.seed}});
  for (auto& loss : result.top_losses) {
    loss.index = static_cast<std::size_t>(answers.readable[loss.index]);
    loss.name = data.name(loss.index);
  }
  result.probabilities = model::activated(model_.tasks(), answers.values);
  return result;
}

Evaluation Evaluator::scored(const Logits& logits, const Dataset& data, const Details& details) const {
  const auto readable = at::tensor(logits.readable, at::kLong);
  auto result = evaluate_logits(logits.values.index_select(0, readable), logits.targets.index_select(0, readable),
                                Objective(model_.tasks(), 0), data.classes(), details);
  result.bad_images = logits.bad_images;
  result.images_per_second = static_cast<double>(result.examples) / logits.seconds;
  return result;
}

}  // namespace graft::train
