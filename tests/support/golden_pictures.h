/// What tests/golden/make_train_vectors.py trains, and on which pictures, and the losses of single steps.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <nlohmann/json.hpp>

#include <graft/dataset.h>
#include <graft/model.h>
#include <graft/trainer.h>

#include "base/seeded_generator.h"
#include "base/torch_device.h"
#include "support/golden.h"
#include "train/fit.h"

namespace graft::testing {

/// The pictures of tests/golden/train.
class GoldenPictures : public Dataset {
 public:
  std::size_t size() const override { return 40; }
  const std::vector<std::string>& classes() const override { return classes_; }
  std::int64_t label(std::size_t i) const override { return static_cast<std::int64_t>(i % 5); }
  std::string name(std::size_t i) const override { return std::to_string(i); }
  Image image(std::size_t i) const override {
    const auto* from = reinterpret_cast<const std::uint8_t*>(bytes_.data()) + i * 3072;
    return Image(32, 32, std::vector<std::uint8_t>(from, from + 3072));
  }

 private:
  std::string bytes_ = slurp(golden("train/pictures.u8"));
  std::vector<std::string> classes_{"a", "b", "c", "d", "e"};
};

/// The head's weights as a reference had them at the beginning: by name, rows of numbers or numbers.
inline void set_head(Model& model, const nlohmann::json& head) {
  const at::NoGradGuard no_grad;
  for (auto [name, tensor] : model.trainable_parameters()) {
    std::vector<float> flat;
    for (const auto& row : head.at(name)) {
      if (row.is_array()) {
        for (const auto& element : row) flat.push_back(element);
      } else {
        flat.push_back(row);
      }
    }
    tensor.copy_(at::tensor(flat).reshape(tensor.sizes()));
  }
}

/// As Trainer::fit trains, without validation and phases. On CUDA the mean that StepInfo has is behind.
/// `after_update`: told after each of the optimiser's steps.
inline std::vector<double> step_losses(
    Model& model, const Dataset& data, FitOptions options, const TrainerOptions& trainer = {},
    const std::function<void(train::Fit&)>& after_update = [](train::Fit&) {}) {
  std::vector<double> losses;
  std::optional<train::Fit> fit;
  train::Running before;
  options.on_step = [&](const StepInfo&) {
    const auto& now = fit->running();
    losses.push_back((now.loss_sum - before.loss_sum) / static_cast<double>(now.seen - before.seen));
    before = now;
  };
  fit.emplace(model, trainer, options, data);
  fit->begin({});
  for (std::int64_t epoch = 0; epoch < options.epochs; ++epoch) {
    before = {};
    const auto all = fit->epoch(epoch, [&] {
      after_update(*fit);
      return true;
    });
    fit->epoch_ended(all.value().loss());
  }
  if (auto* average = fit->average()) average->exchange();
  return losses;
}

}  // namespace graft::testing
