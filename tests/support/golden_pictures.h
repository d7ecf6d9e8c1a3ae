/// What tests/golden/make_train_vectors.py trains, and on which pictures, and the losses of single steps.
#pragma once

#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <nlohmann/json.hpp>

#include <graft/dataset.h>
#include <graft/model.h>
#include <graft/trainer.h>

#include "support/golden.h"

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

inline std::vector<double> step_losses(Model& model, const Dataset& data, FitOptions options,
                                       TrainerOptions trainer = {}) {
  // on_step reports the mean so far; the single losses follow from it.
  std::vector<double> losses;
  double sum = 0;
  options.on_step = [&](const StepInfo& info) {
    if (info.validating) return;
    if (info.step == 1) sum = 0;
    losses.push_back(info.loss * static_cast<double>(info.step) - sum);
    sum = info.loss * static_cast<double>(info.step);
  };
  Trainer(model, trainer).fit(data, options);
  return losses;
}

}  // namespace graft::testing
