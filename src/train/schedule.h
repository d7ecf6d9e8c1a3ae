/// The learning rate of every step.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include <graft/optimizer.h>
#include <graft/schedule.h>

namespace graft::train {

/// How many steps the epochs of a run have, which need not be the same number.
struct EpochSteps {
  std::int64_t epochs = 1;
  std::vector<std::int64_t> steps = {};  ///< of the first epochs
  std::size_t again = 0;                 ///< what comes behind the last of them: this one, and so on

  std::int64_t total() const { return before(epochs); }
  /// Of the first so many epochs.
  std::int64_t before(std::int64_t epoch) const;
  /// 0-based, of step `step` of the run.
  std::int64_t epoch_of(std::int64_t step) const;
};

class LearningRate {
 public:
  /// Throws Error kConfig for values out of range.
  LearningRate(const Schedule& schedule, Numerics numerics, double rate, EpochSteps steps);

  /// For step `step` of the whole run, 0-based. Behind its end as at it.
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
  double beginning() const;
  double decayed(std::int64_t step, std::int64_t steps) const;
  void look_for_plateau(const ReduceOnPlateau& plateau, double loss);

  Schedule schedule_;
  Numerics numerics_;
  double rate_;
  EpochSteps steps_;
  std::int64_t total_;  ///< of them
  Plateau plateau_;
};

}  // namespace graft::train
