#include <graft/model.h>

#include <algorithm>
#include <optional>

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>

#include "base/text.h"
#include "base/torch_device.h"
#include "base/translate.h"
#include "image/pipeline.h"
#include "model/hash.h"
#include "model/head_recipe.h"
#include "model/impl.h"
#include "model/labels.h"

namespace graft {

namespace {

/// Autocast for the calling thread, as torch.autocast sets it; undone at the end of the scope.
class Autocast {
 public:
  Autocast(Precision precision, Device device) : type_(base::to_torch(device).type()) {
    if (precision != Precision::kBFloat16) return;
    was_enabled_ = at::autocast::is_autocast_enabled(type_);
    old_type_ = at::autocast::get_autocast_dtype(type_);
    at::autocast::set_autocast_enabled(type_, true);
    at::autocast::set_autocast_dtype(type_, at::kBFloat16);
    at::autocast::increment_nesting();
  }
  ~Autocast() {
    if (!was_enabled_) return;
    if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
    at::autocast::set_autocast_enabled(type_, *was_enabled_);
    at::autocast::set_autocast_dtype(type_, old_type_);
  }
  Autocast(const Autocast&) = delete;
  Autocast& operator=(const Autocast&) = delete;

 private:
  c10::DeviceType type_;
  std::optional<bool> was_enabled_;
  at::ScalarType old_type_ = at::kFloat;
};

}  // namespace

// --- State

Model::Impl::Impl(std::string file, graph::Network loaded, model::Structure found)
    : name(std::move(file)), network(std::move(loaded)), structure(std::move(found)), runner(network) {}

void Model::Impl::replace_network(graph::Network next, std::string_view head) {
  auto found =
      base::named(name, [&] { return model::analyse(next, engine::probe(next, at::zeros(input_shape())), head); });
  runner = engine::Runner(next);
  network = std::move(next);
  structure = std::move(found);
  parts.clear();
}

std::vector<std::int64_t> Model::Impl::input_shape() const {
  return {1, 3, preprocessing.crop_height_px, preprocessing.crop_width_px};
}

graph::Network Model::Impl::cut(const Cut& cut) const {
  if (network.origin() == graph::Origin::kFrozen)
    throw Error(ErrorCode::kMismatch,
                name +
                    ": this archive was frozen (torch.jit.freeze): its layers and parameters are "
                    "gone, so it can classify but cannot be cut or fine-tuned; save it without freezing");
  switch (cut.kind_) {
    case Cut::Kind::kFeatures:
      if (!structure.features_layer.empty()) return network.cut_after(structure.features_layer);
      [[fallthrough]];
    case Cut::Kind::kPenultimate:
      return network.cut_before(structure.penultimate_layer);
    case Cut::Kind::kBefore:
      return network.cut_before(cut.layer_);
  }
  throw Error(ErrorCode::kInternal, "unknown cut");
}

const engine::Runner& Model::Impl::features() const {
  const std::lock_guard lock(parts_mutex);
  auto it = parts.find("");
  if (it == parts.end()) {
    auto part = has_original_head() ? cut(Cut::features()) : network.cut_before(structure.head);
    it = parts.emplace("", engine::Runner(part)).first;
  }
  return it->second;
}

const engine::Runner& Model::Impl::output_of(std::string_view layer) const {
  const std::lock_guard lock(parts_mutex);
  auto it = parts.find(layer);
  if (it == parts.end()) it = parts.emplace(layer, engine::Runner(network.cut_after(layer))).first;
  return it->second;
}

void Model::Impl::check_batch(const at::Tensor& batch, bool evaluation) const {
  if (evaluation && training)
    throw Error(ErrorCode::kConfig, "the model is in training mode; call eval() before predicting");
  if (!batch.defined() || batch.dim() != 4 || batch.size(1) != 3 || batch.size(0) == 0 ||
      batch.scalar_type() != at::kFloat)
    throw Error(ErrorCode::kMismatch, "expected a batch [N, 3, H, W] of float32, found " +
                                          (batch.defined() ? c10::str(batch.sizes(), " of ", batch.scalar_type())
                                                           : std::string("an undefined tensor")));
}

at::Tensor Model::Impl::infer(const engine::Runner& part, const at::Tensor& batch, Precision precision) const {
  check_batch(batch, /*evaluation=*/true);
  return base::translated("predicting", [&] {
    const at::NoGradGuard no_grad;
    const Autocast autocast(precision, device);
    const auto input =
        batch.to(base::to_torch(device), /*non_blocking=*/true).contiguous(at::MemoryFormat::ChannelsLast);
    return part.run(input).to(at::kFloat);
  });
}

Model::Model(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Model::~Model() = default;
Model::Model(Model&&) noexcept = default;
Model& Model::operator=(Model&&) noexcept = default;

// --- Prediction

std::vector<Prediction> Model::classify(const Image& image, const ClassifyOptions& options) const {
  return std::move(classify(std::span(&image, 1), options).front());
}

std::vector<std::vector<Prediction>> Model::classify(std::span<const Image> images,
                                                     const ClassifyOptions& options) const {
  if (images.empty()) return {};
  return classify(preprocess(images), options);
}

std::vector<std::vector<Prediction>> Model::classify(const at::Tensor& batch, const ClassifyOptions& options) const {
  if (options.top_k < 1)
    throw Error(ErrorCode::kConfig, "top_k: expected 1 or more, found " + std::to_string(options.top_k));
  const auto logits = impl_->infer(impl_->runner, batch, options.precision);
  return base::translated("classifying", [&] {
    const at::NoGradGuard no_grad;
    const auto probabilities = logits.softmax(1).to(at::kCPU);
    if (const auto spoilt = probabilities.isnan().any(1).nonzero(); spoilt.numel() > 0)
      throw Error(ErrorCode::kNumeric,
                  c10::str("the network's outputs for picture ", spoilt[0][0].item<std::int64_t>() + 1, " of ",
                           logits.size(0), " are not finite numbers"));
    const auto [values, indices] = probabilities.topk(std::min(options.top_k, num_classes()), 1);
    const auto probability = values.accessor<float, 2>();
    const auto index = indices.accessor<std::int64_t, 2>();
    std::vector<std::vector<Prediction>> predictions(static_cast<std::size_t>(values.size(0)));
    for (std::int64_t n = 0; n < values.size(0); ++n) {
      for (std::int64_t k = 0; k < values.size(1); ++k) {
        const auto& label = impl_->labels[static_cast<std::size_t>(index[n][k])];
        predictions[static_cast<std::size_t>(n)].push_back({index[n][k], label.id, label.name, probability[n][k]});
      }
    }
    return predictions;
  });
}

at::Tensor Model::forward_features(const at::Tensor& batch) const {
  return impl_->infer(impl_->features(), batch, Precision::kFloat32);
}

at::Tensor Model::embed(const at::Tensor& batch, std::string_view layer) const {
  const auto& part = layer.empty() ? impl_->features() : impl_->output_of(layer);
  auto features = impl_->infer(part, batch, Precision::kFloat32);
  return base::translated("embedding", [&] {
    const at::NoGradGuard no_grad;
    if (features.dim() == 4) features = features.mean({2, 3});
    if (features.dim() == 3) features = features.mean(1);  // [N, T, C]: tokens
    return features.flatten(1).to(at::kCPU).contiguous();
  });
}

at::Tensor Model::embed(std::span<const Image> images, std::string_view layer) const {
  return embed(preprocess(images), layer);
}

at::Tensor Model::preprocess(std::span<const Image> images) const {
  if (images.empty()) throw Error(ErrorCode::kConfig, "expected at least one image, found none");
  return base::translated("preprocessing", [&] {
    auto shape = impl_->input_shape();
    shape[0] = std::ssize(images);
    const auto batch = at::empty(shape, at::kFloat);
    const auto size = static_cast<std::size_t>(batch.numel()) / images.size();
    for (std::size_t i = 0; i < images.size(); ++i)
      image::to_input(images[i], impl_->preprocessing, std::span(batch.mutable_data_ptr<float>() + i * size, size));
    return batch;
  });
}

// --- The network as a function

at::Tensor Model::forward(const at::Tensor& batch, Precision precision) const {
  if (!impl_->training) return impl_->infer(impl_->runner, batch, precision);
  impl_->check_batch(batch, /*evaluation=*/false);
  return base::translated("running the network", [&] {
    const Autocast autocast(precision, impl_->device);
    const at::AutoGradMode with_gradients(true);
    const auto input =
        batch.to(base::to_torch(impl_->device), /*non_blocking=*/true).contiguous(at::MemoryFormat::ChannelsLast);
    return impl_->runner.run(input).to(at::kFloat);
  });
}

Device Model::device() const { return impl_->device; }

void Model::to(Device device) {
  base::translated("moving the model to " + device.str(), [&] {
    if (device != impl_->device) impl_->network.to(base::to_torch(device));
    impl_->device = device;
  });
}

// --- A new head

void Model::replace_head(const Head& head, const Cut& cut) {
  base::translated("replacing the head", [&] {
    const auto device = impl_->device;
    auto backbone = impl_->cut(cut);
    to(Device::cpu());
    const auto feature_shape = engine::probe(backbone, at::zeros(impl_->input_shape())).output.sizes().vec();
    if (feature_shape.size() < 2 || feature_shape.size() > 4)
      throw Error(ErrorCode::kMismatch, c10::str("the cut \"", cut.str(), "\" yields ", at::IntArrayRef(feature_shape),
                                                 "; expected [N, C], [N, T, C] or [N, C, H, W]"));
    std::string name = "head";
    for (int i = 2; backbone.has_attribute(name); ++i) name = "head" + std::to_string(i);
    impl_->replace_network(backbone.followed_by(name, head.impl().build(feature_shape, backbone)), name);
    impl_->head_kind = head.describe();
    for (auto& [parameter, tensor] : impl_->network.named_parameters())
      if (impl_->is_head(parameter)) tensor.set_requires_grad(true);
    impl_->labels = model::numbered_labels(impl_->classes());
    to(device);
  });
}

const std::string& Model::head_name() const { return impl_->structure.head; }

// --- What it is

std::map<std::string, at::Tensor> Model::named_parameters() const {
  const auto tensors = impl_->network.named_parameters();
  return {tensors.begin(), tensors.end()};
}

std::map<std::string, at::Tensor> Model::named_buffers() const {
  const auto tensors = impl_->network.named_buffers();
  return {tensors.begin(), tensors.end()};
}

std::string Model::frozen_hash() const {
  return base::translated("hashing", [&] {
    const auto at_rest = impl_->inference_batch_norms();
    const auto batch_norms = impl_->network.batch_norms();
    const auto contains = [](const auto& list, std::string_view what) {
      return std::find(list.begin(), list.end(), what) != list.end();
    };
    base::Sha256 sha;
    for (const auto& [name, tensor] : impl_->network.named_parameters())
      if (!tensor.requires_grad()) model::hash_tensor(sha, name, tensor);
    for (const auto& [name, tensor] : impl_->network.named_buffers()) {
      const auto owner = model::owner_of(name);
      if (!contains(batch_norms, owner) || contains(at_rest, owner)) model::hash_tensor(sha, name, tensor);
    }
    return sha.hex();
  });
}

ModelInfo Model::inspect() const {
  return base::translated("inspecting", [&] {
    ModelInfo info;
    const auto& s = impl_->structure;
    info.family = s.family;
    const auto origin = impl_->network.origin();
    info.origin = origin == graph::Origin::kScripted ? "scripted"
                  : origin == graph::Origin::kTraced ? "traced"
                                                     : "frozen";
    info.input_shape = impl_->input_shape();
    info.classes = impl_->classes();
    info.head = s.head;
    info.head_kind = impl_->head_kind;
    info.features_layer = s.features_layer;
    info.penultimate_layer = s.penultimate_layer;
    info.batch_norm = to_string(impl_->batch_norm);
    info.preprocessing = impl_->preprocessing;
    info.labels = impl_->labels;

    const auto parameters = impl_->network.named_parameters();
    for (const auto& probed : s.calls) {
      LayerInfo layer{probed.call.path, probed.call.type, probed.output_shape};
      for (const auto& [name, tensor] : parameters) {
        if (!model::is_within(name, layer.name)) continue;
        layer.parameters += tensor.numel();
        if (tensor.requires_grad()) layer.trainable += tensor.numel();
      }
      info.layers.push_back(std::move(layer));
    }
    for (const auto& [name, tensor] : parameters) {
      info.parameters += tensor.numel();
      if (tensor.requires_grad()) info.trainable += tensor.numel();
    }
    info.sha256 = model::content_hash(impl_->network);
    return info;
  });
}

std::int64_t Model::num_classes() const { return impl_->classes(); }
const std::vector<Label>& Model::labels() const { return impl_->labels; }

void Model::set_labels(std::vector<Label> labels) {
  model::check_labels(labels, impl_->classes());
  impl_->labels = std::move(labels);
}

const Preprocessing& Model::preprocessing() const { return impl_->preprocessing; }

void Model::set_preprocessing(const Preprocessing& preprocessing) {
  preprocessing.validate();
  impl_->preprocessing = preprocessing;
}

}  // namespace graft
