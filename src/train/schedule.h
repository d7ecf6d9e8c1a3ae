/// The learning rate of every step.
#pragma once

#include <cstdint>
#include <limits>

#include <graft/optimizer.h>
#include <graft/schedule.h>

namespace graft::train {

class LearningRate {
 public:
  /// A run of `epochs` epochs with `steps_per_epoch` batches each. Throws Error kConfig for values out of range.
  LearningRate(const Schedule& schedule, Numerics numerics, double rate, std::int64_t epochs,
               std::int64_t steps_per_epoch);

  /// For batch `step` of the whole run, 0-based.
  double at(std::int64_t step) const;
  /// `loss` is what a plateau is looked for in.
  void epoch_ended(double loss);

  /// What the epochs so far came to.
  struct Plateau {
    double rate;
    double best = std::numeric_limits<double>::infinity();
    std::int64_t waited = 0;
  };
  const Plateau& plateau() const { return plateau_; }
  void set_plateau(const Plateau& plateau) { plateau_ = plateau; }

 private:
  double decayed(std::int64_t step, std::int64_t steps) const;
  void look_for_plateau(const ReduceOnPlateau& plateau, double loss);

  Schedule schedule_;
  Numerics numerics_;
  double rate_;
  std::int64_t steps_;
  std::int64_t steps_per_epoch_;
  Plateau plateau_;
};

}  // namespace graft::train
