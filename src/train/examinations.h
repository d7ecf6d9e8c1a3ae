/// The parts of a Doctor's work, each a file of its own.
#pragma once

#include <cstddef>
#include <initializer_list>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <ATen/core/Tensor.h>

#include <graft/dataset.h>
#include <graft/finding.h>
#include <graft/history.h>
#include <graft/model.h>
#include <graft/trainer_options.h>

namespace graft::train {

/// Who is examined, and how it is to be trained.
struct Patient {
  Model& model;
  const TrainerOptions& trainer;
  const FitOptions& fit;
};

/// Whether a parameter of this name is one of the head's.
bool is_in_head(const Model& model, std::string_view parameter);

/// How the change of a parameter is measured.
enum class WeightKind {
  kMatrix,  ///< of a convolution or a linear layer
  kScale,   ///< of a norm
  kOther,   ///< biases begin near zero: their change says nothing
};
WeightKind kind_of(std::string_view name, const at::Tensor& parameter);

/// Changes of parameters as parts of their sizes, by kind. The layers' is the middle one of the kind that changes more:
/// some networks keep their size in the one, some in the other.
class Changes {
 public:
  void add(WeightKind kind, double change);
  double of_layers() const;  ///< 0 if there are none

 private:
  std::vector<double> matrices_, scales_;
};

/// Adds the names of what was looked for.
void add_checked(Diagnosis& diagnosis, std::initializer_list<FindingCode> codes);

/// "3 of 245 pictures (1.2 %)".
std::string share_text(std::size_t part, std::size_t whole, const char* what);
/// "0.123": four significant digits.
std::string number_text(double value);
/// The first names of a list, quoted.
std::string some_of(const std::vector<std::string>& names);

/// Whether each example has one class, judged by the first: there must be one.
bool has_single_labels(const Dataset& data);

/// Every picture read once. `spoilt` receives the training pictures whose labels contradict each other, and those that
/// cannot be read, by index; the same for validation.
struct Spoilt {
  std::set<std::size_t> train, val;
};
Diagnosis examine_pictures(const Patient& patient, const Dataset& train, const Dataset& val, Spoilt& spoilt);

/// Labels beside what a linear probe on the frozen features says.
Diagnosis examine_labels(const Patient& patient, const Dataset& train, const Dataset& val, const Spoilt& spoilt);

Diagnosis examine_preprocessing(const Patient& patient, const Dataset& data);

Diagnosis examine_model(const Patient& patient, const Dataset& train);

}  // namespace graft::train
