/// What Model's members take and give: options, predictions, where to cut, what batch norm does.
/// Thread-safety: values; safe everywhere.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <graft/device.h>
#include <graft/error.h>
#include <graft/export.h>
#include <graft/input.h>
#include <graft/inspect.h>
#include <graft/limits.h>
#include <graft/preprocess.h>

namespace graft {

/// How Model::load reads a file.
struct LoadOptions {
  Device device = {};
  std::optional<Preprocessing> preprocessing = {};  ///< instead of the file's own or its family's
  std::optional<Tokenizer> tokenizer = {};          ///< instead of the file's own; of a network that takes texts
  std::optional<std::vector<Label>> labels = {};    ///< instead of the file's own; as many as the network has outputs
  std::string head = {};                            ///< the layer that is the head, where it cannot be found by looking
  /// Recomputes what the file states of itself: SHA-256 of the weights, and the logits of its golden picture (in the
  /// run that loading needs anyway).
  bool verify = true;
  std::string sha256 = {};             ///< refuse weights other than these: ModelInfo::sha256
  std::string sha256_manifest = {};    ///< refuse a file, code and all, that this list (as sha256sum writes) has not
  bool allow_traced_training = false;  ///< run a network although it was traced in training mode
  ArchiveLimits limits = {};           ///< of the file; see docs/security.md
  WarningCallback on_warning = {};
};

/// One guess of Model::classify.
struct Prediction {
  std::int64_t index = 0;  ///< class index, within its task
  std::string id;          ///< wnid (n02504458), or the class name where there is none
  std::string label;       ///< readable name (African_elephant)
  float probability = 0;   ///< 0..1: softmax of the task's logits, or each label's sigmoid; calibrated where it is
  /// The best guess for this picture is below the model's Calibration::reject_below: no answer rather than this one.
  bool rejected = false;
};

/// How Model::classify answers.
struct ClassifyOptions {
  std::int64_t top_k = 5;  ///< best first; capped at the number of classes
  Precision precision = Precision::kFloat32;
  std::string task = {};  ///< which one, where the model has several
};

/// What batch norm layers do while training. See docs/fine-tuning.md for what each framework calls frozen.
enum class BatchNormPolicy {
  kFollow,     ///< Keras: a layer whose parameters are frozen runs in inference mode, its statistics stay; others train
  kInference,  ///< every batch norm of the backbone runs in inference mode, frozen or not
  kTrain,      ///< fastai's train_bn: every batch norm uses batch statistics, updates its own and stays trainable
};

/// Where the old head ends and a new one begins.
class GRAFT_EXPORT Cut {
 public:
  /// The last feature map, [N, C, H, W] (Keras' include_top=False). Networks without one: penultimate.
  static Cut features();
  /// All but the last linear layer, [N, C]: for VGG16 its two dense layers stay.
  static Cut penultimate();
  /// The input of the layer of this name ("classifier.3", "layer4.1.conv2").
  static Cut before(std::string layer);
  /// "features", "penultimate", or a layer's name.
  static Cut parse(std::string_view text);

  std::string str() const;

 private:
  friend class Model;
  enum class Kind { kFeatures, kPenultimate, kBefore };
  Kind kind_ = Kind::kFeatures;
  std::string layer_;
};

/// Parses "follow", "inference" or "train". Throws Error kConfig for any other text.
GRAFT_EXPORT BatchNormPolicy parse_batch_norm(std::string_view text);
GRAFT_EXPORT std::string_view to_string(BatchNormPolicy policy) noexcept;  ///< the reverse

}  // namespace graft
