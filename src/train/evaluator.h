/// A model's answers to a whole data set, and how good they are.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include <ATen/core/Tensor.h>

#include <graft/dataset.h>
#include <graft/evaluation.h>
#include <graft/loader.h>
#include <graft/model.h>
#include <graft/trainer_options.h>

#include "train/cached_network.h"

namespace graft::train {

struct Logits {
  at::Tensor values;                   ///< [size, outputs], CPU; rows of unreadable pictures are NaN
  at::Tensor targets;                  ///< class indices [size], or for other tasks [size, outputs], CPU
  std::vector<std::int64_t> readable;  ///< the other rows, in order
  std::vector<BadImage> bad_images;
  double seconds = 0;
};

class Evaluator {
 public:
  using OnStep = std::function<void(std::int64_t step, std::int64_t steps)>;

  /// Both must outlive it.
  Evaluator(const Model& model, const TrainerOptions& options) : model_(model), options_(options) {}

  /// How it reads a data set; with what a fit keeps of it where `examples` are given.
  struct Reading {
    std::int64_t batch_size = 32;
    int threads = 2;
    Examples* examples = nullptr;
    OnStep on_step = {};
  };

  /// In the data set's order. Throws Error kNumeric naming the picture for which the outputs are not finite.
  Logits logits(const Dataset& data, const Reading& reading, bool with_targets) const;
  Evaluation evaluate(const Dataset& data, const Reading& reading) const;

 private:
  const Model& model_;
  const TrainerOptions& options_;
};

}  // namespace graft::train
