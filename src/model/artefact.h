/// The description that travels in a model file beside the network: graft.json.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <graft/model_options.h>

namespace graft::model {

inline constexpr const char* kArtefactRecord = "graft.json";

struct Artefact {
  std::optional<Preprocessing> preprocessing;
  std::optional<std::vector<Label>> labels;
  std::string head;  ///< a grafted head's layer name; empty for the original one
  std::string head_kind = "original";
  std::vector<std::string> frozen;  ///< parameter names
  BatchNormPolicy batch_norm = BatchNormPolicy::kFollow;
};

std::string write_artefact(const Artefact& artefact);

/// Throws Error kFormat naming `file` and the field that is missing, of another type or out of range, and for a newer
/// schema.
Artefact read_artefact(std::string_view json, std::string_view file);

}  // namespace graft::model
