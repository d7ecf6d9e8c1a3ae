/// What a Doctor reports.
/// Thread-safety: values; safe everywhere.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <graft/export.h>

namespace graft {

/// What is wrong. The names that to_string() gives stay as they are, for programs that read them.
enum class FindingCode {
  // Data
  kUnreadableImages,  ///< files that are no pictures, or damaged ones
  kLeakedImages,      ///< the same picture in training and validation data
  kDuplicateImages,   ///< the same picture several times in one class
  kAmbiguousImages,   ///< the same picture in several classes
  kDuplicateClass,    ///< two classes of mostly the same pictures
  kClassImbalance,    ///< one class has many times the pictures of another
  kTooFewImages,      ///< fewer than can be learned from, or measured with
  kWrongLabels,       ///< pictures that look like those of another class
  kSwappedClasses,    ///< classes that stand for one another in training and validation data
  // Model
  kNothingTrainable,            ///< every parameter is frozen
  kFrozenHead,                  ///< new layers that keep their random weights
  kBackboneLearningRate,        ///< pretrained layers would be trained at a rate for new ones
  kBatchNormInFrozenTrunk,      ///< batch norm trains between layers that are frozen
  kBatchNormWithoutStatistics,  ///< batch norm would train that was saved folded: mean 0, variance 1
  kBatchNormSmallBatch,         ///< batch norm would train on batches that are too small for it
  // Preprocessing
  kChannelOrder,   ///< the network wants blue first, or red
  kPixelScale,     ///< pixels are scaled twice, or not at all
  kNormalization,  ///< another mean and standard deviation fit better
  // Training
  kLearningRateTooLarge,  ///< the loss jumps, does not fall, or is no number
  kLearningRateTooSmall,  ///< the loss hardly falls
  kWeightDrift,           ///< pretrained weights move away from what they were
  kOverfitting,           ///< the validation loss rises while the training loss falls
  kDeadFeatures,          ///< much of what the last layer is given is always zero
};

/// "unreadable_images", "leaked_images", ... : the enumerator's words with underscores.
GRAFT_EXPORT std::string_view to_string(FindingCode code) noexcept;

/// How much it matters.
enum class Severity {
  kNote,     ///< worth knowing
  kWarning,  ///< results are likely worse than they could be
  kError,    ///< results are worthless or misleading
};

/// "note", "warning", "error".
GRAFT_EXPORT std::string_view to_string(Severity severity) noexcept;

/// One thing that is wrong, and what to do about it.
struct Finding {
  FindingCode code = FindingCode::kUnreadableImages;
  Severity severity = Severity::kWarning;
  std::string where = {};                  ///< "train", a class, a picture, a layer, "epoch 3"
  std::string seen = {};                   ///< in a sentence, with numbers
  std::string change = {};                 ///< in a sentence
  std::vector<std::string> pictures = {};  ///< the names of those concerned, if it is about pictures
};

/// What an examination found, and what it looked at.
struct Diagnosis {
  std::vector<Finding> findings;
  std::vector<std::string> checked;  ///< "leaked_images", ...: the codes that could have been found
};

}  // namespace graft
