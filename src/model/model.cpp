#include <graft/model.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include <ATen/ATen.h>

#include "base/alive.h"
#include "base/normal_mode.h"
#include "base/tensor_hash.h"
#include "base/text.h"
#include "base/torch_device.h"
#include "base/translate.h"
#include "graph/state.h"
#include "image/pipeline.h"
#include "image/tensor_transform.h"
#include "model/autocast.h"
#include "model/golden.h"
#include "model/hash.h"
#include "model/head_recipe.h"
#include "model/impl.h"
#include "model/input.h"
#include "model/labels.h"
#include "model/parameters.h"
#include "model/task.h"

namespace graft {

namespace {

/// What a network yields for a batch, if it has a row for each.
at::Tensor row_for_each(at::Tensor yielded, const at::Tensor& batch) {
  if (yielded.dim() > 0 && yielded.size(0) == batch.size(0)) return yielded;
  throw Error(ErrorCode::kMismatch,
              c10::str("expected ", batch.size(0), " rows for a batch of ", batch.size(0), ", found ",
                       yielded.dim() > 0 ? yielded.size(0) : 0, " (", yielded.sizes(),
                       "): is a batch size fixed in the network, by tracing x.reshape(x.shape[0], ...) or "
                       "written as a number, or its first dimension another one? Export it with torch.jit.script, or "
                       "write x.flatten(1) instead of the number"));
}

/// Throws where all would be answered with certainty.
void check_choice(const Task& task) {
  if (task.kind != TaskKind::kSingleLabel || task.outputs > 1) return;
  throw Error(ErrorCode::kMismatch,
              "one output is no classification: its only class has 100 % for every picture; use forward() and a "
              "threshold of your own, or give the network a head for two classes (replace_head, graft finetune)");
}

/// [N, C] of what there is for each token, [N, T, C]; padding does not count.
at::Tensor mean_of_tokens(const at::Tensor& values, const Input& input, const at::Tensor& batch) {
  if (!takes_text(input) || values.size(1) != batch.size(1)) return values.mean(1);
  const auto real = batch.ne(std::get<Tokenizer>(input).padding_index()).to(values.options()).unsqueeze(2);
  return (values * real).sum(1) / real.sum(1).clamp_min(1);
}

}  // namespace

// --- State

Model::Impl::Impl(std::string file, graph::Network loaded, model::Structure found)
    : name(std::move(file)), network(std::move(loaded)), structure(std::move(found)), runner(network) {}

void Model::Impl::replace_network(graph::Network next, std::string_view head) {
  auto found =
      base::named(name, [&] { return model::analyse(next, engine::probe(next, model::blank_input(input)), head); });
  runner = engine::Runner(next);
  network = std::move(next);
  structure = std::move(found);
  parts.clear();
  suffixes.clear();
  found_fixed.reset();
  int8.reset();
}

void Model::Impl::require_head() const {
  if (structure.head.empty() && !structure.features_layer.empty())
    throw Error(ErrorCode::kConfig,
                name +
                    ": this network has no head, what it yields are features: embed with it, or give "
                    "it a head (replace_head, graft finetune)");
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
      if (structure.head.empty() && structure.features_layer.empty())
        throw Error(ErrorCode::kMismatch, name + ": cannot tell which layer is the head: " +
                                              (structure.no_head.empty() ? "none that has parameters yields the outputs"
                                                                         : structure.no_head));
      if (structure.head.empty()) return network.cut_after(structure.features_layer);
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

const engine::Suffix& Model::Impl::behind(std::string_view layer) const {
  const std::lock_guard lock(parts_mutex);
  auto it = suffixes.find(layer);
  if (it == suffixes.end()) it = suffixes.emplace(layer, engine::Suffix(network, layer)).first;
  return it->second;
}

void Model::Impl::check_batch(const at::Tensor& batch, bool evaluation) const {
  if (evaluation && training)
    throw Error(ErrorCode::kConfig, "the model is in training mode; call eval() before predicting");
  model::check_batch(input, batch);
}

at::Tensor Model::Impl::infer(const engine::Runner& part, const at::Tensor& batch, Precision precision) const {
  check_batch(batch, /*evaluation=*/true);
  return base::translated("predicting", [&] { return row_for_each(evaluate(part, batch, precision), batch); });
}

namespace {

/// Pictures that hold what is no number have no answer: oneDNN's ReLU would make numbers of it. On CUDA to look would
/// be to wait.
at::Tensor without_spoilt(at::Tensor answers, const at::Tensor& pictures) {
  if (!pictures.is_cpu() || answers.dim() == 0 || answers.size(0) != pictures.size(0)) return answers;
  const auto sums = pictures.sum({1, 2, 3});
  if (sums.isfinite().all().item<bool>()) return answers;
  std::vector<std::int64_t> rows(static_cast<std::size_t>(answers.dim()), 1);
  rows[0] = -1;
  return answers + (sums * 0).view(rows);
}

}  // namespace

at::Tensor Model::Impl::evaluate(const engine::Runner& part, const at::Tensor& given, Precision precision) const {
  const at::NoGradGuard no_grad;
  if (precision == Precision::kInt8 && device.is_cuda())
    throw Error(ErrorCode::kConfig, "int8 runs on the CPU, the model is on " + device.str());
  const auto there = on_device(given);
  if (precision == Precision::kAuto) {
    return evaluate(part, there, there.dim() == 4 ? part.resolved(precision, there) : Precision::kFloat32);
  }
  if (const auto plan = there.dim() == 4 ? part.plan(there, precision) : nullptr) {
    if (precision == Precision::kInt8) check_int8(*plan);
    return without_spoilt(plan->run(there), there);
  }
  if (precision == Precision::kInt8) return evaluate(part, there, Precision::kFloat32);
  const model::Autocast autocast(precision, device);
  return part.run(there).to(at::kFloat);
}

at::Tensor Model::Impl::train(const std::function<at::Tensor(const at::Tensor&)>& part, const at::Tensor& given,
                              Precision precision) const {
  const model::Autocast autocast(precision, device);
  const base::NormalMode normal;
  const at::AutoGradMode with_gradients(true);
  return part(on_device(given)).to(at::kFloat);
}

at::Tensor Model::Impl::on_device(const at::Tensor& given) const {
  const auto there = given.to(base::to_torch(device));  // at once: the caller may fill his pinned batch anew
  const auto laid_out = there.dim() == 4 ? there.contiguous(at::MemoryFormat::ChannelsLast) : there;
  return laid_out.scalar_type() == at::kByte ? image::normalised(laid_out, model::preprocessing_of(input)) : laid_out;
}

void Model::Impl::set_int8(std::optional<model::Int8> calibrated) {
  runner.set_calibration(calibrated ? std::optional(calibrated->ranges) : std::nullopt);
  int8 = std::move(calibrated);
  int8_checked = !int8 || int8->logits.empty();
}

void Model::Impl::check_int8(const engine::Plan& plan) const {
  if (int8_checked) return;
  const model::Golden golden{model::golden_example(input), int8->logits, model::kInt8Tolerance};
  model::check_golden(golden, plan.run(model::golden_input(golden.example, input)));
  int8_checked = true;
}

Model::Impl& Model::impl() const { return base::alive(impl_, "Model"); }

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
  impl().require_head();
  const Task& task = model::task_named(impl().tasks, options.task);
  if (task.kind == TaskKind::kRegression)
    throw Error(ErrorCode::kConfig, "this task yields numbers, not classes: use predict()");
  check_choice(task);
  const auto logits = impl().infer(impl().runner, batch, options.precision);
  return base::translated("classifying", [&] {
    const at::NoGradGuard no_grad;
    const auto first = model::first_output(impl().tasks, task);
    const auto own = task.outputs == logits.size(1) ? logits : logits.narrow(1, first, task.outputs);
    const auto probabilities = model::activated(task, model::calibrated(task, own)).to(at::kCPU);
    // Of equals the first, whatever top_k is, as evaluation has it.
    const auto [all_values, all_indices] = probabilities.sort(/*stable=*/true, 1, /*descending=*/true);
    const auto count = std::min(options.top_k, task.outputs);
    const auto values = all_values.narrow(1, 0, count), indices = all_indices.narrow(1, 0, count);
    const auto finite = own.isfinite().all(1).to(at::kCPU);
    const auto probability = values.accessor<float, 2>();
    const auto index = indices.accessor<std::int64_t, 2>();
    std::vector<std::vector<Prediction>> predictions(static_cast<std::size_t>(values.size(0)));
    for (std::int64_t n = 0; n < values.size(0); ++n) {
      if (!finite[n].item<bool>())
        throw Error(ErrorCode::kNumeric, c10::str("the network's outputs for example ", n + 1, " of ", logits.size(0),
                                                  " are not finite numbers"));
      const bool rejected = probability[n][0] < task.calibration.reject_below.value_or(0);
      for (std::int64_t k = 0; k < values.size(1); ++k) {
        const auto& label = impl().labels[static_cast<std::size_t>(first + index[n][k])];
        predictions[static_cast<std::size_t>(n)].push_back(
            {index[n][k], label.id, label.name, probability[n][k], rejected});
      }
    }
    return predictions;
  });
}

std::vector<std::vector<Prediction>> Model::classify(std::span<const std::string> texts,
                                                     const ClassifyOptions& options) const {
  if (texts.empty()) return {};
  return classify(tokenizer().encode({texts.begin(), texts.end()}), options);
}

std::map<std::string, at::Tensor> Model::predict(const at::Tensor& batch, Precision precision) const {
  impl().require_head();
  for (const auto& task : impl().tasks) check_choice(task);
  const auto logits = impl().infer(impl().runner, batch, precision);
  return base::translated("predicting", [&] {
    const at::NoGradGuard no_grad;
    const auto answers = model::activated(impl().tasks, model::calibrated(impl().tasks, logits)).to(at::kCPU);
    std::map<std::string, at::Tensor> by_task;
    for (const auto& task : impl().tasks)
      by_task[task.name] = answers.narrow(1, model::first_output(impl().tasks, task), task.outputs).contiguous();
    return by_task;
  });
}

at::Tensor Model::forward_features(const at::Tensor& batch) const {
  return impl().infer(impl().features(), batch, Precision::kFloat32);
}

at::Tensor Model::embed(const at::Tensor& batch, std::string_view layer) const {
  const auto& part = layer.empty() ? impl().features() : impl().output_of(layer);
  auto features = impl().infer(part, batch, Precision::kFloat32);
  return base::translated("embedding", [&] {
    const at::NoGradGuard no_grad;
    if (features.dim() == 4) features = features.mean({2, 3});
    if (features.dim() == 3) features = mean_of_tokens(features, impl().input, batch);
    return features.flatten(1).to(at::kCPU).contiguous();
  });
}

at::Tensor Model::embed(std::span<const Image> images, std::string_view layer) const {
  return embed(preprocess(images), layer);
}

at::Tensor Model::embed(std::span<const std::string> texts, std::string_view layer) const {
  return embed(tokenizer().encode({texts.begin(), texts.end()}), layer);
}

at::Tensor Model::preprocess(std::span<const Image> images) const {
  if (images.empty()) throw Error(ErrorCode::kConfig, "expected at least one image, found none");
  return base::translated("preprocessing", [&] {
    const auto& how = preprocessing();
    const auto batch = at::empty({std::ssize(images), 3, how.crop_height_px, how.crop_width_px}, at::kFloat,
                                 at::MemoryFormat::ChannelsLast);
    const auto size = static_cast<std::size_t>(batch.numel()) / images.size();
    for (std::size_t i = 0; i < images.size(); ++i)
      image::to_input(images[i], how, std::span(batch.mutable_data_ptr<float>() + i * size, size));
    return batch;
  });
}

// --- The network as a function

at::Tensor Model::forward(const at::Tensor& batch, Precision precision) const {
  if (!impl().training) return impl().infer(impl().runner, batch, precision);
  impl().check_batch(batch, /*evaluation=*/false);
  if (precision == Precision::kInt8 || precision == Precision::kAuto)
    throw Error(ErrorCode::kConfig, std::string(to_string(precision)) +
                                        " is for inference: expected float32, bfloat16 or float16 in training mode");
  return base::translated("running the network", [&] {
    return row_for_each(
        impl().train([&](const at::Tensor& input) { return impl().runner.run(input); }, batch, precision), batch);
  });
}

Device Model::device() const { return impl().device; }

void Model::to(Device device) {
  base::translated("moving the model to " + device.str(), [&] {
    if (device == impl().device) return;
    (void)Device::parse(device.str());  // that it is there
    auto int8 = impl().runner.calibration() ? impl().int8 : std::nullopt;
    impl().network.to(base::to_torch(device));
    impl().device = device;
    impl().set_int8(std::move(int8));
  });
}

// --- A new head

void Model::replace_head(const Head& head, const Cut& cut) {
  const auto device = this->device();
  try {
    base::translated("replacing the head", [&] {
      const base::NormalMode normal;
      auto backbone = impl().cut(cut);
      to(Device::cpu());
      const auto feature_shape = engine::probe(backbone, model::blank_input(impl().input)).output_shape;
      if (feature_shape.size() < 2 || feature_shape.size() > 4)
        throw Error(ErrorCode::kMismatch,
                    c10::str("the cut \"", cut.str(), "\" yields ", at::IntArrayRef(feature_shape),
                             "; expected [N, C], [N, T, C] or [N, C, H, W]"));
      std::string name = "head";
      for (int i = 2; backbone.has_attribute(name); ++i) name = "head" + std::to_string(i);
      auto built = build_head(head, feature_shape, backbone);
      impl().replace_network(backbone.followed_by(name, built.network), name);
      impl().tasks = std::move(built.tasks);
      impl().head_kind = head.describe();
      model::set_trainable(impl().network, [&](const std::string& parameter) {
        return impl().is_head(parameter) ? std::optional(true) : std::nullopt;
      });
      impl().labels = model::numbered_labels(impl().classes());
    });
  } catch (...) {
    to(device);
    throw;
  }
  to(device);
  if (is_training()) train();  // the new layers too
}

const std::string& Model::head_name() const { return impl().structure.head; }

// --- What it is

std::map<std::string, at::Tensor> Model::named_parameters() const {
  const auto tensors = impl().network.named_parameters();
  return {tensors.begin(), tensors.end()};
}

std::map<std::string, at::Tensor> Model::named_buffers() const {
  const auto tensors = impl().network.named_buffers();
  return {tensors.begin(), tensors.end()};
}

std::string Model::frozen_hash() const {
  return base::translated("hashing", [&] {
    const auto at_rest = impl().inference_batch_norms();
    const auto batch_norms = impl().network.batch_norms();
    const auto contains = [](const auto& list, std::string_view what) {
      return std::find(list.begin(), list.end(), what) != list.end();
    };
    base::Sha256 sha;
    for (const auto& [name, tensor] : impl().network.named_parameters())
      if (!tensor.requires_grad()) base::hash_tensor(sha, name, tensor);
    for (const auto& [name, tensor] : impl().network.named_buffers()) {
      const auto owner = model::owner_of(name);
      if (!contains(batch_norms, owner) || contains(at_rest, owner)) base::hash_tensor(sha, name, tensor);
    }
    return sha.hex();
  });
}

namespace {

/// Whose an operator is, by its name.
std::string_view maker_of(std::string_view name) {
  if (name.starts_with("mkldnn::") || name.starts_with("onednn::")) return "oneDNN";
  if (name.starts_with("aten::cudnn_")) return "cuDNN";
  return name.starts_with("graft::") ? "Graft" : "LibTorch";
}

}  // namespace

PlanInfo inspect_plan(const Model& model, Precision precision) {
  return base::translated("inspecting the plan", [&] {
    const auto& impl = Model::Impl::of(model);
    const auto blank = model::blank_input(impl.input);
    impl.check_batch(blank, /*evaluation=*/true);
    if (takes_text(impl.input)) return PlanInfo{Precision::kFloat32, "it takes texts", 0, 0, 0, 0, {}, {}};
    const auto input = impl.on_device(blank);
    const auto resolved = impl.runner.resolved(precision, input);
    const auto summary = impl.runner.summary(input, resolved);
    PlanInfo info{resolved, summary.obstacle, summary.convolutions, summary.fused, summary.with_relu, summary.with_add,
                  {},       summary.unfused};
    for (const auto& [name, count] : summary.operators) {
      info.operators.push_back({name, count, std::string(maker_of(name))});
    }
    std::ranges::stable_sort(info.operators, std::greater{}, &PlanInfo::Operator::count);
    return info;
  });
}

ModelInfo Model::inspect() const {
  return base::translated("inspecting", [&] {
    ModelInfo info;
    const auto& s = impl().structure;
    info.family = s.family;
    const auto origin = impl().network.origin();
    info.origin = origin == graph::Origin::kScripted ? "scripted"
                  : origin == graph::Origin::kTraced ? "traced"
                                                     : "frozen";
    info.input_shape = s.input_shape;
    auto calls = s.calls;
    const auto blank = model::blank_input(impl().input);
    if (!impl().training && blank.sizes() != s.input_shape) {  // set_preprocessing() has changed it
      const graph::KeptState kept(impl().network);
      auto seen = engine::probe(impl().network, impl().on_device(blank));
      kept.restore();
      info.input_shape = std::move(seen.input_shape);
      calls = std::move(seen.calls);
    }
    info.classes = impl().classes();
    info.head = s.head;
    info.head_kind = impl().head_kind;
    info.features_layer = s.features_layer;
    info.penultimate_layer = s.penultimate_layer;
    info.batch_norm = to_string(impl().batch_norm);
    info.tasks = impl().tasks;
    info.input = impl().input;
    info.labels = impl().labels;

    const auto parameters = impl().network.named_parameters();
    for (const auto& probed : calls) {
      LayerInfo layer{probed.call.path, probed.call.type, probed.output_shape};
      graph::NamedTensors own;
      for (const auto& named : parameters)
        if (model::is_within(named.first, layer.name)) own.push_back(named);
      for (const auto& [name, tensor] : model::distinct(own)) {
        layer.parameters += tensor.numel();
        if (tensor.requires_grad()) layer.trainable += tensor.numel();
      }
      info.layers.push_back(std::move(layer));
    }
    for (const auto& [name, tensor] : model::distinct(parameters)) {
      info.parameters += tensor.numel();
      if (tensor.requires_grad()) info.trainable += tensor.numel();
    }
    info.sha256 = model::content_hash(impl().network);
    if (impl().runner.calibration()) info.int8 = impl().int8->comparison;
    return info;
  });
}

std::int64_t Model::num_classes() const { return impl().classes(); }
const std::vector<Task>& Model::tasks() const { return impl().tasks; }
const std::vector<Label>& Model::labels() const { return impl().labels; }

void Model::set_labels(std::vector<Label> labels) {
  model::check_labels(labels, impl().tasks);
  impl().labels = std::move(labels);
}

const Input& Model::input() const { return impl().input; }
const Preprocessing& Model::preprocessing() const { return model::preprocessing_of(impl().input); }
const Tokenizer& Model::tokenizer() const { return model::tokenizer_of(impl().input); }

void Model::set_preprocessing(const Preprocessing& preprocessing) {
  preprocessing.validate();
  if (preprocessing != this->preprocessing()) impl().set_int8(std::nullopt);
  impl().input = preprocessing;
}

}  // namespace graft
