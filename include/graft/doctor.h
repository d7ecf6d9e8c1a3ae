/// Examines data, model, preprocessing and training for the faults that fine-tuning usually fails by
/// (docs/troubleshooting.md). Healthy runs have no findings.
///
/// A Doctor is used by one thread at a time and changes neither model nor data.
#pragma once

#include <memory>

#include <graft/dataset.h>
#include <graft/export.h>
#include <graft/finding.h>
#include <graft/history.h>
#include <graft/model.h>
#include <graft/trainer_options.h>

namespace graft {

/// Looks at one model and how it is to be trained.
class GRAFT_EXPORT Doctor {
 public:
  /// The model must outlive it; `trainer` and `fit` are what a Trainer will be given. Throws Error kConfig as that
  /// does.
  explicit Doctor(Model& model, const TrainerOptions& trainer = {}, const FitOptions& fit = {});
  ~Doctor();
  Doctor(Doctor&&) noexcept;
  Doctor& operator=(Doctor&&) noexcept;

  /// Reads every picture, and where labels are single ones compares them with what the network's features say
  /// (Northcutt et al. 2021, arXiv:1911.00068). Throws Error kMismatch if the classes differ, kConfig in training mode.
  Diagnosis examine_data(const Dataset& train, const Dataset& val);

  /// Tries other channel orders, scales and normalisations on some of the pictures. It goes by the statistics of the
  /// first batch norms, and by the network's own head: examine before it is replaced. Throws kConfig in training mode.
  Diagnosis examine_preprocessing(const Dataset& data);

  /// What is frozen, which batch norms will train, and at which rate.
  Diagnosis examine_model(const Dataset& train);

  /// Has the doctor look on while a fit with these options runs: its callbacks are called before those of `options`.
  /// The doctor must outlive the fit.
  void watch(FitOptions& options);

  /// What it saw in the fit that it watched, and its result. A history without epochs: the fit ended with kNumeric.
  Diagnosis examine_training(const Dataset& train, const History& history);

 private:
  struct Impl;
  Impl& impl() const;
  std::unique_ptr<Impl> impl_;
};

}  // namespace graft
