/// A model's answers to a whole data set, and how good they are.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include <ATen/core/Tensor.h>

#include <graft/communicator.h>
#include <graft/dataset.h>
#include <graft/evaluation.h>
#include <graft/loader.h>
#include <graft/model.h>
#include <graft/trainer_options.h>

#include "train/cached_network.h"
#include "train/metrics.h"

namespace graft::train {

struct Logits {
  at::Tensor values;                   ///< [size, outputs], CPU; rows of unreadable pictures are NaN
  at::Tensor targets;                  ///< class indices [size], or for other tasks [size, outputs], CPU
  std::vector<std::int64_t> readable;  ///< the other rows, in order
  std::vector<BadImage> bad_images;
  double seconds = 0;
};

/// The examples of a task of single labels that were read and whose class is known, [N].
at::Tensor labelled_rows(const Logits& all, const std::vector<Task>& tasks, const Task& task);

/// Of some of these.
struct Labelled {
  at::Tensor logits;  ///< [N, classes]
  at::Tensor labels;  ///< [N]
};
Labelled labelled(const Logits& all, const std::vector<Task>& tasks, const Task& task, const at::Tensor& rows);

/// Throws Error kMismatch unless there is a class for each output; `which` data, for the message.
void check_classes(const Model& model, const Dataset& data, const char* which);

/// Throws Error kMismatch naming both data sets' classes.
void check_same_classes(const Dataset& train, const Dataset& val);

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
    Communicator* processes = nullptr;  ///< who share the data; each gets all logits
  };

  /// The network's, in the data set's order. Throws Error kNumeric naming the picture for which the outputs are not
  /// finite.
  Logits logits(const Dataset& data, const Reading& reading, bool with_targets) const;
  /// Those whose activation is answered: calibrated, and the mean over all views.
  Logits answers(const Dataset& data, const EvaluateOptions& options, bool with_targets) const;

  /// Without the figures of EvaluateOptions.
  Evaluation evaluate(const Dataset& data, const Reading& reading) const;
  Evaluation evaluate(const Dataset& data, const EvaluateOptions& options) const;

 private:
  using OnBatch = std::function<void(const Batch& batch, const at::Tensor& rows)>;

  LoaderOptions loader_options(std::int64_t batch_size, int threads) const;
  /// One epoch of `loader`.
  Logits read(DataLoader& loader, const Dataset& data, const Reading& reading, bool with_targets,
              const OnBatch& on_batch = {}) const;
  at::Tensor calibrated(const at::Tensor& logits) const;
  Evaluation scored(const Logits& logits, const Dataset& data, const Details& details) const;

  const Model& model_;
  const TrainerOptions& options_;
};

}  // namespace graft::train
