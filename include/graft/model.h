/// A pretrained network for pictures or texts from a TorchScript file: prediction, features, freezing and a new head.
///
/// A Model owns a backbone and a head, its preprocessing or tokenizer and its labels, and saves all as one TorchScript
/// file. What is said of a batch [N, 3, H, W] holds for tokens [N, T] where the network takes texts (graft/input.h).
/// Thread-safety: const members may be called from many threads on one Model; the others need it for themselves. One
/// that was moved from throws kConfig.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include <graft/device.h>
#include <graft/export.h>
#include <graft/head.h>
#include <graft/input.h>
#include <graft/inspect.h>
#include <graft/model_options.h>

namespace graft {

/// A backbone with its head, its preprocessing and its labels.
class GRAFT_EXPORT Model {
 public:
  /// Loads a TorchScript file, scripted or traced, in evaluation mode. Throws Error: kIo, kLimit, kFormat (not
  /// TorchScript, damaged, other weights than were saved), kMismatch (no forward, labels do not fit the outputs, no
  /// classifier, traced in training mode, other answers than when it was saved), kNumeric (weights not finite).
  static Model load(const std::filesystem::path& path, const LoadOptions& options = {});
  /// VGG16 or ResNet50, made here, with a safetensors file's weights under torchvision's names: no code of others runs.
  /// Throws Error: kIo, kLimit, kFormat (damaged), kMismatch (names or shapes that do not fit, all listed), kNumeric.
  static Model from_safetensors(const std::filesystem::path& path, const LoadOptions& options = {});
  ~Model();
  Model(Model&&) noexcept;
  Model& operator=(Model&&) noexcept;

  // --- Prediction: evaluation mode, no gradients. Throws kConfig in training mode, and without a head where one is
  // asked; kMismatch for texts where pictures are taken, the other way round, and unless there is a row for each. A
  // prepared batch is float32 as preprocess() makes it, or uint8: RGB pictures of its size, normalised on the device.
  /// Pictures, texts or a prepared batch, in one forward pass. Throws kNumeric if the outputs are not finite.
  std::vector<Prediction> classify(const Image& image, const ClassifyOptions& options = {}) const;
  std::vector<std::vector<Prediction>> classify(std::span<const Image> images,
                                                const ClassifyOptions& options = {}) const;  ///< the same
  std::vector<std::vector<Prediction>> classify(std::span<const std::string> texts,
                                                const ClassifyOptions& options = {}) const;  ///< the same
  std::vector<std::vector<Prediction>> classify(const at::Tensor& batch,
                                                const ClassifyOptions& options = {}) const;  ///< the same

  /// Each task's answers by its name, [N, outputs of the task], float32, CPU, for a batch [N, 3, H, W]: probabilities
  /// (softmax, or a sigmoid each), for a regression the numbers.
  std::map<std::string, at::Tensor> predict(const at::Tensor& batch, Precision precision = Precision::kFloat32) const;

  /// What the head is given, [N, C, H, W] or [N, C], for a batch [N, 3, H, W].
  at::Tensor forward_features(const at::Tensor& batch) const;
  /// A vector for each, [N, C], float32, on the CPU: the output of `layer`, averaged over the places of a feature map,
  /// or a text's tokens; without a name what the head is given. Throws kConfig if there is no such layer.
  at::Tensor embed(const at::Tensor& batch, std::string_view layer = {}) const;
  at::Tensor embed(std::span<const Image> images, std::string_view layer = {}) const;       ///< the same
  at::Tensor embed(std::span<const std::string> texts, std::string_view layer = {}) const;  ///< the same

  /// [N, 3, H, W], float32, CPU, channels last in memory, as preprocessing() says.
  at::Tensor preprocess(std::span<const Image> images) const;

  // --- The network as a function.

  /// Logits [N, num_classes()], float32, on device(). In training mode with gradients, else without.
  /// Throws kMismatch for a batch of another rank, channel count or type, kOutOfMemory.
  at::Tensor forward(const at::Tensor& batch, Precision precision = Precision::kFloat32) const;

  /// Enters training mode (true), with the batch norm policy applied anew, or evaluation mode (false).
  /// Throws kMismatch if a layer that should train was traced, with evaluation behaviour baked in.
  void train(bool on = true);
  void eval() { train(false); }  ///< enters evaluation mode
  bool is_training() const;

  Device device() const;
  void to(Device device);  ///< moves all of it

  // --- A new head.

  /// Cuts the network and puts `head` behind what is left, with fresh parameters named "head.*". Labels become
  /// "0", "1", ... until set_labels. Throws kMismatch (nothing before the cut, frozen archive, a head that does not
  /// fit), kConfig (no such layer), and leaves the model as it was.
  void replace_head(const Head& head, const Cut& cut = Cut::features());
  const std::string& head_name() const;  ///< the layer that is the head: "fc", "classifier", "head"

  // --- Freezing. "Backbone" is every layer but the head. Patterns: "*" any text, "?" one character; a name covers
  // everything below it. Tied weights are frozen under any name. Each throws kConfig if nothing has that name.

  void freeze();                            ///< all of the backbone
  void unfreeze();                          ///< everything
  void freeze(std::string_view pattern);    ///< the layers of that name
  void unfreeze(std::string_view pattern);  ///< the layers of that name
  /// Freezes what runs before `layer`; `layer` and all that follows becomes trainable.
  void freeze_until(std::string_view layer);
  /// Freezes the first n stages, unfreezes the others. VGG: blocks between poolings; ResNet: layer1 to layer4 with the
  /// stem belonging to the first; others: the children that have parameters.
  void freeze_stages(int n);
  std::vector<std::vector<std::string>> stages() const;  ///< their layers, first to last, as freeze_stages counts them
  void apply_freeze(std::string_view spec);              ///< "all", "none", "until:NAME" or "stages:N"

  void set_batch_norm(BatchNormPolicy policy);  ///< what they do while training
  BatchNormPolicy batch_norm() const;
  bool uses_batch_statistics() const;  ///< whether in training any batch norm uses its batch, and updates its own
  /// Dropout layers that stay off while training because the network was traced (torch.jit.script keeps them).
  std::vector<std::string> fixed_dropouts() const;

  /// Trainable parameters, tied weights once, by their first name, as registered. They share memory with the model.
  std::vector<std::pair<std::string, at::Tensor>> trainable_parameters() const;
  std::map<std::string, at::Tensor> named_parameters() const;
  std::map<std::string, at::Tensor> named_buffers() const;

  /// SHA-256 over names, shapes and bytes of every frozen parameter and every buffer that training must leave alone
  /// under the batch norm policy: equal before and after, nothing frozen has changed.
  std::string frozen_hash() const;

  // --- What it is.
  ModelInfo inspect() const;
  std::int64_t num_classes() const;  ///< outputs of all tasks together
  /// What the outputs stand for, in the order of the columns; one single-label task for an ordinary classifier.
  const std::vector<Task>& tasks() const;
  const std::vector<Label>& labels() const;  ///< one for each output
  /// Throws kMismatch unless one for each output with ids unique within their task, kFormat if they are not UTF-8.
  void set_labels(std::vector<Label> labels);
  const Input& input() const;  ///< what it takes: one of the next two, the other throws kMismatch
  const Preprocessing& preprocessing() const;
  const Tokenizer& tokenizer() const;
  void set_preprocessing(const Preprocessing& preprocessing);  ///< throws kConfig as validate() does

  /// Writes one TorchScript file with input, labels, head and freeze state in it, the SHA-256 of the weights, and a
  /// golden example with its logits: load() recomputes both. The old file stays whole until the new one is complete.
  /// Throws kIo, kConfig (training mode, std::locale::global not classic), kNumeric (weights or logits not finite).
  void save(const std::filesystem::path& path) const;

  struct Impl;

 private:
  explicit Model(std::unique_ptr<Impl> impl);
  Impl& impl() const;
  std::unique_ptr<Impl> impl_;
};

}  // namespace graft
