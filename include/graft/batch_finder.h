/// How many pictures fit into a step of training.
#pragma once

#include <cstdint>
#include <functional>

#include <graft/dataset.h>
#include <graft/export.h>
#include <graft/trainer_options.h>

namespace graft {

class Model;

/// Which batch sizes find_batch_size tries: `first`, twice that, and so on up to `largest`.
struct BatchFinderOptions {
  std::int64_t first = 2;
  std::int64_t largest = 4096;
  int loader_threads = 2;
  std::function<void(std::int64_t batch_size, bool fits)> on_trial = {};
};

/// The largest of these batch sizes with which some steps of training find enough memory, on the model's device; the
/// model is put back as it was and can be trained. Meant for CUDA: on the CPU the system may end a program that asks
/// for too much instead of refusing. One thread at a time. Throws Error kConfig (options out of range), kOutOfMemory
/// if not even the first fits, and what Trainer::fit throws.
GRAFT_EXPORT std::int64_t find_batch_size(Model& model, const TrainerOptions& trainer, const Dataset& train,
                                          const BatchFinderOptions& options = {});

}  // namespace graft
