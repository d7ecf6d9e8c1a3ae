#include <algorithm>
#include <cstdint>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "train/examinations.h"
#include "train/frozen_features.h"
#include "train/linear_probe.h"

namespace graft::train {

namespace {

// A probe tells 244 photos of ants and bees apart in 96.7 % of cases by a ResNet50's features, and in 78 to 93 % of
// cases by 16 to 128 of these features, drawn at random. With the thresholds below, of 60 draws of photos and features
// at most 3 % are told, and of 60 draws of swapped labels 63 % where 3 % of the labels are swapped, 93 % where 5 % are,
// and all where 10 % are. Without kOfErrors every fifth healthy draw of 64 features would be.
constexpr double kDoubtfulShare = 0.015;  ///< part of the examples whose labels have to be doubtful
constexpr double kOfErrors = 0.25;        ///< part of the probe's errors that these have to be: others are its own
/// Accuracy below which the probe knows too little to doubt a label, in units of the way from guessing to certainty.
constexpr double kLeastSkill = 0.65;
constexpr std::size_t kFewestDoubtful = 2;
/// Part of a class's validation pictures that has to look like another class for the two to have changed places.
constexpr double kSwapped = 0.5;
constexpr std::size_t kFewestSwapped = 5;

/// Some of a data set's examples with what the probe says of them.
struct Judged {
  const Dataset& data;
  const std::vector<std::size_t>& indices;
  at::Tensor labels, answers;  ///< [N], [N, classes]
};

double accuracy_of(const Judged& judged) {
  return judged.answers.argmax(1).eq(judged.labels).to(at::kDouble).mean().item<double>();
}

/// Accuracy above chance: 0 for guessing, 1 for certainty.
double skill(const Judged& judged) {
  const double chance = 1 / static_cast<double>(judged.answers.size(1));
  return (accuracy_of(judged) - chance) / (1 - chance);
}

/// For each class the mean of its own examples' answers for it: above that an answer is confident.
at::Tensor confident_from(const Judged& judged) {
  const auto own = at::one_hot(judged.labels, judged.answers.size(1)).to(at::kDouble);
  return (judged.answers * own).sum(0) / own.sum(0).clamp_min(1);
}

std::string picture_text(const Judged& judged, std::int64_t row) {
  const auto i = judged.indices[static_cast<std::size_t>(row)];
  const auto best = judged.answers[row].argmax().item<std::int64_t>();
  return judged.data.name(i) + " looks like \"" + judged.data.classes()[static_cast<std::size_t>(best)] + "\"";
}

/// Rows whose label another class confidently contradicts, the most doubtful first.
std::vector<std::int64_t> doubtful(const Judged& judged, const at::Tensor& confident) {
  const auto [best_answer, best] = judged.answers.max(1);
  const auto own_answer = judged.answers.gather(1, judged.labels.unsqueeze(1)).squeeze(1);
  const auto is_doubtful = best.ne(judged.labels).logical_and(best_answer.ge(confident.index_select(0, best)));
  const auto margin = at::where(is_doubtful, best_answer - own_answer, at::zeros_like(best_answer));
  const auto order = std::get<1>(margin.sort(/*dim=*/0, /*descending=*/true));
  const auto count = is_doubtful.sum().item<std::int64_t>();
  const auto* rows = order.const_data_ptr<std::int64_t>();
  return {rows, rows + count};
}

void look_for_wrong_labels(const Judged& judged, const at::Tensor& confident, const char* where, Diagnosis& diagnosis) {
  const auto rows = doubtful(judged, confident);
  const auto least =
      std::max(kDoubtfulShare, kOfErrors * (1 - accuracy_of(judged))) * static_cast<double>(judged.indices.size());
  if (rows.size() < kFewestDoubtful || static_cast<double>(rows.size()) < least) return;
  std::vector<std::string> names;
  for (const auto row : rows) names.push_back(judged.data.name(judged.indices[static_cast<std::size_t>(row)]));
  diagnosis.findings.push_back({FindingCode::kWrongLabels, Severity::kWarning, where,
                                share_text(rows.size(), judged.indices.size(), "pictures") +
                                    " look like another class than their label says, to a linear classifier on the "
                                    "frozen features that has not seen them: " +
                                    picture_text(judged, rows.front()),
                                "look at them and move those that are wrong to their class", names});
}

/// The class that most of each class's pictures look like, where that is another; else itself.
std::vector<std::int64_t> looks_like(const Judged& judged) {
  const auto classes = judged.answers.size(1);
  const auto best = judged.answers.argmax(1);
  std::vector<std::int64_t> like;
  for (std::int64_t c = 0; c < classes; ++c) {
    const auto counts = best.masked_select(judged.labels.eq(c)).bincount({}, classes);
    const auto of = counts.sum().item<std::int64_t>();
    const auto [most, where] = counts.max(0);
    const bool other = of >= static_cast<std::int64_t>(kFewestSwapped) &&
                       static_cast<double>(most.item<std::int64_t>()) > kSwapped * static_cast<double>(of);
    like.push_back(other ? where.item<std::int64_t>() : c);
  }
  return like;
}

/// Returns whether there are some.
bool look_for_swapped_classes(const Judged& judged, Diagnosis& diagnosis) {
  const auto like = looks_like(judged);
  const auto moved = [&](std::int64_t c) { return like[static_cast<std::size_t>(c)] != c; };
  const auto& classes = judged.data.classes();
  std::string pairs;
  for (std::int64_t c = 0; c < std::ssize(like); ++c) {
    const auto other = like[static_cast<std::size_t>(c)];
    if (!moved(c) || !moved(other)) continue;  // one class that looks like another may just be hard
    pairs += (pairs.empty() ? "\"" : ", \"") + classes[static_cast<std::size_t>(c)] + "\" like \"" +
             classes[static_cast<std::size_t>(other)] + "\"";
  }
  if (pairs.empty()) return false;
  diagnosis.findings.push_back({FindingCode::kSwappedClasses, Severity::kError, "val",
                                "most pictures of a class look like another class of the training data (" + pairs +
                                    "): a linear classifier on the frozen features of the training data names " +
                                    number_text(accuracy_of(judged) * 100) + " % of the validation pictures",
                                "give the folders of these classes the same meaning in both data sets"});
  return true;
}

/// Without the examples in `spoilt`.
Features without(Features features, const std::set<std::size_t>& spoilt) {
  if (spoilt.empty()) return features;
  std::vector<std::int64_t> rows;
  std::vector<std::size_t> indices;
  for (std::size_t row = 0; row < features.indices.size(); ++row) {
    if (spoilt.contains(features.indices[row])) continue;
    rows.push_back(static_cast<std::int64_t>(row));
    indices.push_back(features.indices[row]);
  }
  const auto chosen = at::tensor(rows, at::kLong);
  return {features.values.index_select(0, chosen), features.labels.index_select(0, chosen), std::move(indices)};
}

}  // namespace

Diagnosis examine_labels(const Patient& patient, const Dataset& train, const Dataset& val, const Spoilt& spoilt) {
  const at::NoGradGuard no_grad;
  auto features = frozen_features(patient, {&train, &val});
  const auto train_features = without(std::move(features[0]), spoilt.train);
  const auto val_features = without(std::move(features[1]), spoilt.val);
  const auto classes = std::ssize(train.classes());
  Diagnosis diagnosis;
  if (train_features.values.size(0) < 2 * classes) return diagnosis;
  const LinearProbe probe(train_features.values, train_features.labels, classes);
  const Judged in_train{train, train_features.indices, train_features.labels, probe.held_out()};
  if (skill(in_train) < kLeastSkill) return diagnosis;
  const auto confident = confident_from(in_train);
  look_for_wrong_labels(in_train, confident, "train", diagnosis);
  if (val_features.values.size(0) > 0) {
    const Judged in_val{val, val_features.indices, val_features.labels, probe.answers(val_features.values)};
    if (!look_for_swapped_classes(in_val, diagnosis)) look_for_wrong_labels(in_val, confident, "val", diagnosis);
  }
  add_checked(diagnosis, {FindingCode::kWrongLabels, FindingCode::kSwappedClasses});
  return diagnosis;
}

}  // namespace graft::train
