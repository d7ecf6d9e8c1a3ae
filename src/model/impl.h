/// The state behind a Model.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <graft/model.h>

#include "engine/runner.h"
#include "engine/suffix.h"
#include "graph/network.h"
#include "model/artefact.h"
#include "model/calibration.h"
#include "model/structure.h"

namespace graft {

struct [[gnu::visibility("hidden")]] Model::Impl {
  std::string name;  ///< the file's, for messages
  graph::Network network;
  model::Structure structure;
  engine::Runner runner;
  std::string head_kind = "original";
  Input input;
  std::vector<Task> tasks;
  std::vector<Label> labels;
  BatchNormPolicy batch_norm = BatchNormPolicy::kFollow;
  Device device;
  bool training = false;

  std::optional<model::Int8> int8;                 ///< runner has its ranges
  mutable std::atomic<bool> int8_checked = false;  ///< its golden logits have been recomputed, or need not be

  // Parts of the network that were asked for, by the cut that made them, and what was found in it.
  mutable std::mutex parts_mutex;
  mutable std::map<std::string, engine::Runner, std::less<>> parts;
  mutable std::map<std::string, engine::Suffix, std::less<>> suffixes;
  mutable std::optional<std::vector<graph::FixedTraining>> found_fixed;

  static const Impl& of(const Model& model) { return model.impl(); }
  static Impl& of(Model& model) { return model.impl(); }

  /// A model of what was read from `file`, moved to its device.
  static Model assemble(const std::string& file, graph::Network network, const model::Artefact& artefact,
                        const LoadOptions& options);

  Impl(std::string file, graph::Network loaded, model::Structure found);

  /// Puts another network in place of this one, with everything that is derived from it.
  void replace_network(graph::Network next, std::string_view head);

  std::int64_t classes() const { return structure.output_shape.at(1); }
  bool has_original_head() const { return head_kind == "original"; }
  /// Throws kConfig if what it yields are features.
  void require_head() const;

  graph::Network cut(const Cut& cut) const;
  const engine::Runner& features() const;
  const engine::Runner& output_of(std::string_view layer) const;
  const engine::Suffix& behind(std::string_view layer) const;

  /// Throws kMismatch unless it is what the network takes; kConfig in training mode if `evaluation`.
  void check_batch(const at::Tensor& batch, bool evaluation) const;
  /// `part` of the network for a batch, in evaluation mode and without gradients; the result is float32.
  at::Tensor infer(const engine::Runner& part, const at::Tensor& batch, Precision precision) const;
  /// The same for anything that the part takes; the part has to be in evaluation mode.
  at::Tensor evaluate(const engine::Runner& part, const at::Tensor& input, Precision precision) const;
  /// `part` with gradients; the result is float32.
  at::Tensor train(const std::function<at::Tensor(const at::Tensor&)>& part, const at::Tensor& input,
                   Precision precision) const;
  /// On the model's device; a map of features with its channels last.
  at::Tensor on_device(const at::Tensor& input) const;

  /// What int8 goes by from now on. One without logits is not checked.
  void set_int8(std::optional<model::Int8> calibrated);
  /// Throws kMismatch if the golden example's logits are not those of the file.
  void check_int8(const engine::Plan& plan) const;

  /// The golden example and this network's answer to it; nothing if the answer is not always the same.
  std::optional<model::Golden> golden() const;

  bool is_head(std::string_view parameter) const {
    return !structure.head.empty() && model::is_within(parameter, structure.head);
  }
  /// Batch norms that run in inference mode while training, under the policy.
  std::vector<std::string> inference_batch_norms() const;
  /// network.fixed_training(), looked for once.
  const std::vector<graph::FixedTraining>& fixed_training() const;
  /// Under kTrain the parameters of every batch norm are trainable.
  void apply_batch_norm_policy();
};

}  // namespace graft
