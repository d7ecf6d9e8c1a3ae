#include <algorithm>
#include <map>
#include <mutex>
#include <optional>

#include "data/classes.h"
#include "data/fingerprint.h"
#include "data/prefetcher.h"
#include "train/examinations.h"

namespace graft::train {

namespace {

/// Largest class over smallest from which on it is told: a minority of 20 %, where Google's "Data Preparation and
/// Feature Engineering for Machine Learning", "Imbalanced Data", begins to call an imbalance moderate.
constexpr double kMostImbalance = 4;
/// Fewest training pictures of a class: Google's AutoML Vision refuses fewer.
constexpr std::size_t kFewestForTraining = 10;
/// Fewest validation pictures: of 30, at 90 % right, the accuracy's standard error is 5.5 points.
constexpr std::size_t kFewestForValidation = 30;
/// Part of a class's pictures that must be another's as well for the two to count as one class.
constexpr double kSameClass = 0.5;

/// What there is of a data set.
struct Pictures {
  const Dataset& data;
  std::string name;                                        ///< "train"
  std::vector<std::optional<data::Fingerprint>> prints{};  ///< nothing for one that cannot be read
  std::map<std::size_t, std::string> errors{};
  std::vector<std::size_t> per_class{};  ///< none where labels are not single ones

  Pictures(const Dataset& d, std::string n, int threads) : data(d), name(std::move(n)), prints(d.size()) {
    std::mutex mutex;
    data::Prefetcher work(
        1,
        [&](std::size_t) {
          return data::Prefetcher::Job{d.size(), [&](std::size_t i) {
                                         try {
                                           prints[i] = data::fingerprint_of(d.image(i));
                                         } catch (const Error& error) {
                                           const std::lock_guard lock(mutex);
                                           errors[i] = error.what();
                                         }
                                       }};
        },
        threads, 1);
    while (work.next()) {
    }
    if (!has_single_labels(d)) return;
    per_class.resize(d.classes().size());
    for (std::size_t i = 0; i < d.size(); ++i)
      if (prints[i]) ++per_class[static_cast<std::size_t>(data::label_of(d, i))];
  }

  std::size_t readable() const { return data.size() - errors.size(); }
  std::int64_t label(std::size_t i) const { return per_class.empty() ? 0 : data.label(i); }
  std::size_t size_of(std::int64_t label) const { return per_class[static_cast<std::size_t>(label)]; }
};

/// Example `index` of training or validation data.
struct Place {
  const Pictures* in;
  std::size_t index;
  std::string name() const { return in->data.name(index); }
  std::int64_t label() const { return in->label(index); }
};
using Group = std::vector<Place>;

std::vector<Group> groups_of_same(const Pictures& train, const Pictures& val) {
  std::vector<Place> places;
  std::vector<data::Fingerprint> prints;
  for (const auto* in : {&train, &val}) {
    for (std::size_t i = 0; i < in->prints.size(); ++i) {
      if (!in->prints[i]) continue;
      places.push_back({in, i});
      prints.push_back(*in->prints[i]);
    }
  }
  const auto found =
      data::same_pictures(prints, [&](std::size_t i) { return places[i].in->data.image(places[i].index); });
  std::vector<Group> groups;
  for (const auto& members : found) {
    groups.emplace_back();
    for (const auto i : members) groups.back().push_back(places[i]);
  }
  return groups;
}

bool labels_differ(const Group& group) {
  return std::ranges::any_of(group, [&](const Place& place) { return place.label() != group.front().label(); });
}

Group within(const Group& group, const Pictures& in) {
  Group part;
  std::ranges::copy_if(group, std::back_inserter(part), [&](const Place& place) { return place.in == &in; });
  return part;
}

void look_for_unreadable(const Pictures& pictures, Diagnosis& diagnosis) {
  if (pictures.errors.empty()) return;
  std::vector<std::string> names;
  for (const auto& [i, error] : pictures.errors) names.push_back(pictures.data.name(i));
  diagnosis.findings.push_back({FindingCode::kUnreadableImages, Severity::kError, pictures.name,
                                share_text(names.size(), pictures.data.size(), "files") +
                                    " cannot be read as pictures; the first: " + pictures.errors.begin()->second,
                                "remove or replace the files, or train with --on-bad-image skip, which leaves them out",
                                names});
}

void look_for_leaks(const std::vector<Group>& groups, const Pictures& train, const Pictures& val,
                    Diagnosis& diagnosis) {
  std::vector<std::string> leaked;
  std::string example;
  for (const auto& group : groups) {
    const auto in_train = within(group, train), in_val = within(group, val);
    if (in_train.empty()) continue;
    for (const auto& place : in_val) leaked.push_back(place.name());
    if (example.empty() && !in_val.empty()) example = in_val[0].name() + " is " + in_train[0].name();
  }
  if (leaked.empty()) return;
  diagnosis.findings.push_back({FindingCode::kLeakedImages, Severity::kError, val.name,
                                share_text(leaked.size(), val.readable(), "validation pictures") +
                                    " are in the training data too, by content: " + example,
                                "remove them from one of the two folders: accuracy on pictures that were trained on "
                                "says nothing of new ones",
                                leaked});
}

/// What several classes have in common.
using Shared = std::map<std::pair<std::int64_t, std::int64_t>, std::vector<std::string>>;  // names of the second's

/// Pairs of classes, the smaller label first, that are mostly the same pictures.
Shared same_classes(const std::vector<Group>& groups, const Pictures& in) {
  Shared shared;
  for (const auto& group : groups) {
    std::map<std::int64_t, std::string> by_label;
    for (const auto& place : group) by_label.emplace(place.label(), place.name());
    for (const auto& [a, name_a] : by_label)
      for (const auto& [b, name_b] : by_label)
        if (a < b) shared[{a, b}].push_back(name_b);
  }
  std::erase_if(shared, [&](const auto& entry) {
    const auto smaller = std::min(in.size_of(entry.first.first), in.size_of(entry.first.second));
    return static_cast<double>(entry.second.size()) < kSameClass * static_cast<double>(smaller);
  });
  return shared;
}

void tell_same_classes(const Shared& same, const Pictures& in, Diagnosis& diagnosis) {
  const auto& classes = in.data.classes();
  for (const auto& [pair, names] : same) {
    const auto &a = classes[static_cast<std::size_t>(pair.first)], &b = classes[static_cast<std::size_t>(pair.second)];
    diagnosis.findings.push_back({FindingCode::kDuplicateClass, Severity::kError, in.name + "/" + b,
                                  share_text(names.size(), in.size_of(pair.second), "pictures") + " of class \"" + b +
                                      "\" are pictures of class \"" + a + "\" as well",
                                  "make one class of the two", names});
  }
}

/// `groups` are of several classes each.
void look_for_ambiguous(const std::vector<Group>& groups, const Pictures& in, Diagnosis& diagnosis) {
  const auto same = same_classes(groups, in);
  tell_same_classes(same, in, diagnosis);
  std::vector<std::string> ambiguous;
  std::string example;
  for (const auto& group : groups) {
    const auto other = std::ranges::find_if(group, [&](auto& place) { return place.label() != group[0].label(); });
    const auto [smaller, larger] = std::minmax({group[0].label(), other->label()});  // of a list: values
    if (same.contains({smaller, larger})) continue;
    for (const auto& place : group) ambiguous.push_back(place.name());
    if (example.empty()) example = group[0].name() + " is " + other->name();
  }
  if (ambiguous.empty()) return;
  diagnosis.findings.push_back(
      {FindingCode::kAmbiguousImages, Severity::kWarning, in.name,
       share_text(ambiguous.size(), in.readable(), "pictures") + " are there under several classes: " + example,
       "keep each picture in the one class that it belongs to", ambiguous});
}

/// `groups` are of one class each.
void look_for_repeated(const std::vector<Group>& groups, const Pictures& in, Diagnosis& diagnosis) {
  std::vector<std::string> repeated;
  for (const auto& group : groups)
    for (std::size_t i = 1; i < group.size(); ++i) repeated.push_back(group[i].name());
  if (repeated.empty()) return;
  diagnosis.findings.push_back({FindingCode::kDuplicateImages, Severity::kWarning, in.name,
                                share_text(repeated.size(), in.readable(), "pictures") +
                                    " repeat another of the same class: " + some_of(repeated),
                                "remove them: they count twice in training, and in the accuracy", repeated});
}

void look_for_duplicates(const std::vector<Group>& groups, const Pictures& in, std::set<std::size_t>& spoilt,
                         Diagnosis& diagnosis) {
  std::vector<Group> of_one_class, of_several;
  for (const auto& all : groups) {
    auto group = within(all, in);
    if (group.size() < 2) continue;
    const bool differ = labels_differ(group);
    if (differ)
      for (const auto& place : group) spoilt.insert(place.index);
    (differ ? of_several : of_one_class).push_back(std::move(group));
  }
  look_for_ambiguous(of_several, in, diagnosis);
  look_for_repeated(of_one_class, in, diagnosis);
}

void look_at_classes(const Pictures& train, const TrainerOptions& trainer, Diagnosis& diagnosis) {
  const auto [smallest, largest] = std::ranges::minmax_element(train.per_class);
  const auto class_at = [&](auto it) {
    return train.data.classes()[static_cast<std::size_t>(it - train.per_class.begin())];
  };
  const bool is_balanced = trainer.balance != ClassBalance::kNone || !trainer.class_weights.empty();
  if (!is_balanced && static_cast<double>(*largest) >= kMostImbalance * static_cast<double>(*smallest))
    diagnosis.findings.push_back({FindingCode::kClassImbalance, Severity::kWarning,
                                  train.name + "/" + class_at(smallest),
                                  std::to_string(*smallest) + " pictures, where class \"" + class_at(largest) +
                                      "\" has " + std::to_string(*largest),
                                  "add pictures of the small class, or balance the classes (--class-weights balanced, "
                                  "--balanced-sampling); look at the recall of each, not at the accuracy alone"});
  if (*smallest < kFewestForTraining)
    diagnosis.findings.push_back({FindingCode::kTooFewImages, Severity::kWarning, train.name + "/" + class_at(smallest),
                                  std::to_string(*smallest) + " pictures to train with; " +
                                      std::to_string(kFewestForTraining) + " are few already",
                                  "add pictures, and train the head alone (--freeze all) with augmentation"});
}

void look_at_validation(const Pictures& val, Diagnosis& diagnosis) {
  if (val.readable() < kFewestForValidation)
    diagnosis.findings.push_back({FindingCode::kTooFewImages, Severity::kNote, val.name,
                                  std::to_string(val.readable()) + " pictures: the accuracy is known to " +
                                      number_text(100 / static_cast<double>(std::max<std::size_t>(val.readable(), 1))) +
                                      " points at best",
                                  "validate on at least " + std::to_string(kFewestForValidation) + " pictures"});
}

}  // namespace

Diagnosis examine_pictures(const Patient& patient, const Dataset& train_data, const Dataset& val_data, Spoilt& spoilt) {
  const int threads = patient.fit.loader_threads;
  const Pictures train(train_data, "train", threads), val(val_data, "val", threads);
  Diagnosis diagnosis;
  for (const auto* pictures : {&train, &val}) look_for_unreadable(*pictures, diagnosis);
  const auto unreadable = [](const Pictures& in, std::set<std::size_t>& indices) {
    for (const auto& [i, error] : in.errors) indices.insert(i);
  };
  unreadable(train, spoilt.train);
  unreadable(val, spoilt.val);
  const auto groups = groups_of_same(train, val);
  look_for_leaks(groups, train, val, diagnosis);
  look_for_duplicates(groups, train, spoilt.train, diagnosis);
  look_for_duplicates(groups, val, spoilt.val, diagnosis);
  look_at_validation(val, diagnosis);
  add_checked(diagnosis, {FindingCode::kUnreadableImages, FindingCode::kLeakedImages, FindingCode::kDuplicateImages,
                          FindingCode::kTooFewImages});
  if (train.per_class.empty()) return diagnosis;
  look_at_classes(train, patient.trainer, diagnosis);
  add_checked(diagnosis, {FindingCode::kAmbiguousImages, FindingCode::kDuplicateClass, FindingCode::kClassImbalance});
  return diagnosis;
}

}  // namespace graft::train
