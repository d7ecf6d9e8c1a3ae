/// The description that travels in a model file beside the network: graft.json, the golden picture's pixels, and for
/// texts the vocabulary.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <graft/input.h>
#include <graft/model_options.h>

#include "graph/network.h"
#include "model/calibration.h"
#include "model/golden.h"

namespace graft::model {

inline constexpr const char* kArtefactRecord = "graft.json";
inline constexpr const char* kGoldenRecord = "graft_golden.rgb";
inline constexpr const char* kVocabularyRecord = "graft_vocabulary.txt";

/// The records to ask a file for.
graph::ExtraFiles wanted_records();

struct Artefact {
  std::optional<Input> input;  ///< nothing: not known
  std::vector<Task> tasks;     ///< empty: one single-label task over all outputs
  std::optional<std::vector<Label>> labels;
  std::string head;  ///< a grafted head's layer name; empty for the original one
  std::string head_kind = "original";
  std::vector<std::string> frozen;  ///< parameter names
  BatchNormPolicy batch_norm = BatchNormPolicy::kFollow;
  std::string sha256;            ///< content_hash() of the network; empty if unknown
  std::optional<Golden> golden;  ///< only with an input
  std::optional<Int8> int8;      ///< only with a golden picture
};

/// The preprocessing as it stands in graft.json, on one line.
std::string preprocessing_json(const Preprocessing& preprocessing);

/// The same for a tokenizer, with a hash for its vocabulary.
std::string tokenizer_json(const Tokenizer& tokenizer);

/// The records, by name.
graph::ExtraFiles write_artefact(const Artefact& artefact);

/// The reverse; absent records leave everything at its default. Throws Error kFormat naming the field that is missing,
/// of another type or out of range, and for a newer schema; kConfig for texts where this Graft was built without ICU.
Artefact read_artefact(const graph::ExtraFiles& records);

}  // namespace graft::model
