/// The doctor on the command line: a command of its own, and finetune --doctor.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "cli/common.h"

namespace graft::cli {

/// The most serious first; wrapped for a terminal.
std::string findings_text(const std::vector<Finding>& findings);

/// Prints a JSON object with "findings" and "checked" beside what it has.
void print_with_diagnosis(const std::string& json, const Diagnosis& diagnosis);

/// Examines a run while it is prepared and after it. Everything must outlive it.
class DoctorVisit {
 public:
  using Tell = std::function<void(const std::vector<Finding>&)>;

  /// `tell` is given what each examination found, if it found anything.
  DoctorVisit(const TrainerOptions& trainer, const Dataset& train, const Dataset& val, Tell tell = {})
      : trainer_(trainer), train_(train), val_(val), tell_(std::move(tell)) {}

  /// The model as it was loaded: only its own head knows whether the pictures look as they should.
  void before_new_head(Model& model);
  /// Data and model; the doctor then looks on during the fit with these options.
  void before_training(Model& model, FitOptions& fit);
  void after_training(const History& history);

  /// All so far.
  const Diagnosis& diagnosis() const { return diagnosis_; }

 private:
  void add(Diagnosis diagnosis);

  const TrainerOptions& trainer_;
  const Dataset& train_;
  const Dataset& val_;
  Tell tell_;
  Diagnosis diagnosis_;
  std::optional<Doctor> doctor_;
};

/// finetune's: prints findings to standard error. Nothing unless wanted.
std::optional<DoctorVisit> doctor_visit(bool wanted, const Common& common, const TrainerOptions& trainer,
                                        const Dataset& train, const Dataset& val);

}  // namespace graft::cli
