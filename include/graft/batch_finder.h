/// How many pictures fit into a step of training.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <vector>

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
  /// Those of the fit that is to come: a size must fit in each of them. Empty: what is trainable now.
  std::vector<Phase> phases = {};
  /// On the CPU a size is not tried where twice what the one before took would be more than this; not given: half of
  /// what the system, or the program's control group, has free when the search begins, or of that the share of a
  /// process where several of `processes` are on one machine.
  std::optional<std::int64_t> max_host_bytes = {};
  /// Those that will train together, all of which search at once: sizes are then those of one of them, and the result,
  /// the same in all, is the smallest that one has found times their number. Null: this one alone.
  Communicator* processes = nullptr;
  std::function<void(std::int64_t batch_size, bool fits)> on_trial = {};  ///< told also of what is not tried
};

/// The largest of these batch sizes with which some steps of training find enough memory, on the model's device; the
/// model is put back as it was and can be trained, and a fit that follows is the one that it would have been. On CUDA
/// sizes are tried until memory runs out; on the CPU, where the system may end a program that asks for too much instead
/// of refusing, before (max_host_bytes). One thread at a time. Throws Error kConfig (options out of range),
/// kOutOfMemory if not even the first fits, and what Trainer::fit throws.
GRAFT_EXPORT std::int64_t find_batch_size(Model& model, const TrainerOptions& trainer, const Dataset& train,
                                          const BatchFinderOptions& options = {});

/// The batch size of the run whose newest whole checkpoint is in this folder (CheckpointOptions::directory), with which
/// alone it can be resumed; nothing if there is none. Throws Error kIo, and kMismatch for a checkpoint of a newer
/// Graft.
GRAFT_EXPORT std::optional<std::int64_t> batch_size_of_checkpoint(const std::filesystem::path& directory);

}  // namespace graft
