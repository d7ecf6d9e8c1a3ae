/// A model as inference servers want it. A file that Model::save writes already runs wherever TorchScript does; what is
/// here puts it into the layout that a server reads (docs/deploying.md).
/// Thread-safety: functions without state; safe for different folders.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include <graft/export.h>
#include <graft/model.h>

namespace graft {

/// How Triton is to know and run a model.
struct TritonOptions {
  std::string name;                  ///< of the model and its folder: letters, digits, '_', '-', '.'; must be given
  std::int64_t version = 1;          ///< the folder beside the model's other versions; Triton serves the highest
  std::int64_t max_batch_size = 32;  ///< most pictures that Triton puts into one forward pass
  bool replace = false;              ///< write over this version, and over another configuration or other labels
};

/// The files that were written.
struct TritonModel {
  std::filesystem::path config;  ///< REPOSITORY/NAME/config.pbtxt
  std::filesystem::path labels;  ///< REPOSITORY/NAME/labels.txt: readable names in index order, one a line
  std::filesystem::path model;   ///< REPOSITORY/NAME/VERSION/model.pt, as Model::save writes it
};

/// Writes `model` into a model repository of Triton's, for its PyTorch (LibTorch) backend. INPUT__0 is a prepared batch
/// [N, 3, H, W], OUTPUT__0 the logits [N, classes], both float32; the configuration's parameter "graft_preprocessing"
/// says, as JSON, how pictures are prepared. Each file is whole or not there; config.pbtxt comes last, so that a
/// running server sees a new model when all of it is there. What fails leaves no new file. Throws Error kConfig (an
/// option out of range, a version or other files that are there already without `replace`, a model in training mode),
/// kMismatch (a label with a line break), kIo.
GRAFT_EXPORT TritonModel export_triton(const Model& model, const std::filesystem::path& repository,
                                       const TritonOptions& options);

}  // namespace graft
