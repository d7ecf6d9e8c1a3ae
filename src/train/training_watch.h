/// Looks on while a model trains.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "train/examinations.h"

namespace graft::train {

class TrainingWatch : public std::enable_shared_from_this<TrainingWatch> {
 public:
  /// Of a fit that is about to begin, from the weights as they are now.
  explicit TrainingWatch(const Patient& patient);
  TrainingWatch(const TrainingWatch&) = delete;
  TrainingWatch& operator=(const TrainingWatch&) = delete;

  /// Looks on at every step of a fit with these options, as long as it lives.
  void look_at(FitOptions& options);

  Diagnosis examine(const Dataset& train, const History& history) const;

 private:
  struct Weight {
    std::string name;
    bool in_head;
    at::Tensor now, before;
  };

  void see(const StepInfo& info);
  /// Change of what trains now, as a part of what it was.
  double drift(bool of_head) const;

  void look_at_losses(const History& history, Diagnosis& diagnosis) const;
  void look_at_weights(Diagnosis& diagnosis) const;

  const Patient& patient_;
  std::vector<Weight> weights_;
  bool resumed_ = false;        ///< the fit goes on from a checkpoint: its first steps were not seen
  std::vector<double> losses_;  ///< of each step
  double epoch_sum_ = 0;        ///< of the losses of this epoch's examples so far
  std::int64_t epoch_examples_ = 0;
  std::size_t backbone_steps_ = 0;  ///< in which some of the backbone trained
  double early_drift_ = 0;          ///< of the backbone, after kEarly of them
  double early_head_drift_ = 0;     ///< of the head, after kEarly steps
};

}  // namespace graft::train
