#include <graft/quantize.h>

#include <algorithm>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "base/check.h"
#include "base/translate.h"
#include "model/calibration.h"
#include "model/task.h"
#include "train/sample.h"

namespace graft {

namespace {

bool has_labels(const Model& model, const Dataset& data) {
  if (model.tasks().size() != 1 || !model::first_of_single_labels(model.tasks())) return false;
  return std::equal(model.labels().begin(), model.labels().end(), data.classes().begin(), data.classes().end(),
                    [](const Label& label, const std::string& name) { return label.id == name; });
}

/// Answers in float32 and in int8 to the same pictures.
class Comparison {
 public:
  Comparison(const Model& model, bool with_labels)
      : tasks_(model.tasks()), task_(model::first_of_single_labels(tasks_)), with_labels_(with_labels) {}

  void add(const at::Tensor& float32, const at::Tensor& int8, const at::Tensor& labels) {
    const auto answers = [&](const at::Tensor& logits) {
      return model::activated(tasks_, model::calibrated(tasks_, logits));
    };
    const auto difference = (answers(float32) - answers(int8)).abs().amax(1).to(at::kDouble);
    pictures_ += labels.size(0);
    sum_ += difference.sum().item<double>();
    largest_ = std::max(largest_, difference.max().item<double>());
    if (!task_) return;
    const auto best = [&](const at::Tensor& logits) {
      return logits.narrow(1, model::first_output(tasks_, *task_), task_->outputs).argmax(1);
    };
    const auto a = best(float32), b = best(int8);
    same_ += a.eq(b).sum().item<std::int64_t>();
    float32_right_ += a.eq(labels).sum().item<std::int64_t>();
    int8_right_ += b.eq(labels).sum().item<std::int64_t>();
  }

  Int8Info result() const {
    const auto share = [&](std::int64_t count) { return static_cast<double>(count) / static_cast<double>(pictures_); };
    Int8Info info{
        .pictures = pictures_, .mean_difference = sum_ / static_cast<double>(pictures_), .max_difference = largest_};
    if (task_) info.top1_agreement = share(same_);
    if (task_ && with_labels_) {
      info.float32_accuracy = share(float32_right_);
      info.int8_accuracy = share(int8_right_);
    }
    return info;
  }

 private:
  const std::vector<Task>& tasks_;
  const Task* task_;
  bool with_labels_;
  std::int64_t pictures_ = 0, same_ = 0, float32_right_ = 0, int8_right_ = 0;
  double sum_ = 0, largest_ = 0;
};

QuantizationReport calibrated(Model& model, const Dataset& pictures, const QuantizationOptions& options) {
  const at::NoGradGuard no_grad;
  model::Calibrator calibrator(model);
  const train::Sample sample(pictures, static_cast<std::size_t>(options.pictures));
  DataLoader loader(sample, model.preprocessing(),
                    {.batch_size = options.batch_size, .threads = options.loader_threads});
  const auto size = static_cast<std::int64_t>(sample.size());
  const auto tell = [&](std::int64_t done) {
    if (options.on_step) options.on_step(done, 2 * size);
  };

  std::vector<at::Tensor> float32;
  std::int64_t done = 0;
  while (const auto batch = loader.next()) {
    float32.push_back(calibrator.observe(batch->images));
    tell(done += batch->size());
  }
  auto made = calibrator.finish();
  try {
    Comparison comparison(model, has_labels(model, pictures));
    loader.start_epoch(0);
    done = size;
    for (std::size_t i = 0; const auto batch = loader.next(); ++i) {
      comparison.add(float32.at(i), model.forward(batch->images, Precision::kInt8), batch->labels);
      tell(done += batch->size());
    }
    calibrator.set_comparison(comparison.result());
    return {.convolutions = made.convolutions,
            .convolutions_in_int8 = made.convolutions_in_int8,
            .linear_in_int8 = made.linear_in_int8,
            .in_float = std::move(made.in_float),
            .int8 = comparison.result(),
            .golden_difference = made.golden_difference,
            .bad_images = loader.bad_images()};
  } catch (...) {
    calibrator.undo();
    throw;
  }
}

}  // namespace

QuantizationReport quantize(Model& model, const Dataset& pictures, const QuantizationOptions& options) {
  base::require(options.pictures >= 1, "pictures", "1 or more", options.pictures);
  return base::translated("calibrating", [&] { return calibrated(model, pictures, options); });
}

}  // namespace graft
