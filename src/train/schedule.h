/// The learning rate of every step.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include <graft/optimizer.h>
#include <graft/schedule.h>

namespace graft::train {

class LearningRate {
 public:
  /// `steps`: of each epoch of the run. Throws Error kConfig for values out of range.
  LearningRate(const Schedule& schedule, Numerics numerics, double rate, const std::vector<std::int64_t>& steps);

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
  std::vector<std::int64_t> ends_;  ///< steps up to the end of each epoch
  Plateau plateau_;
};

}  // namespace graft::train
