/// Ways through a fine-tuning that have names: phases for FitOptions::phases.
/// Thread-safety: functions without state; safe everywhere.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include <graft/export.h>
#include <graft/trainer_options.h>

namespace graft {

class Model;

/// The new head alone, then all of it with rates that fall towards the input: fastai's Learner.fine_tune.
struct FineTune {
  std::int64_t frozen_epochs = 1;  ///< 0: none
  std::int64_t epochs = 4;         ///< with everything unfrozen
  double rate = 0.5;               ///< of the second phase, times the optimiser's
  double rate_span = 100;          ///< the head's rate over that of the first stage; evenly spread in between
};

/// Both phases as one cycle each, with fastai's numbers. Throws Error kConfig for values out of range.
GRAFT_EXPORT std::vector<Phase> phases_of(const FineTune& recipe, const Model& model);

/// The head, then one stage more in each phase, from the last to the first (Howard and Ruder 2018, arXiv:1801.06146).
struct GradualUnfreezing {
  std::int64_t epochs_per_stage = 1;
  std::int64_t final_epochs = 1;  ///< in the phase with everything unfrozen
  double layer_decay = 1 / 2.6;   ///< that paper's
};

GRAFT_EXPORT std::vector<Phase> phases_of(const GradualUnfreezing& recipe, const Model& model);  ///< the same

}  // namespace graft
