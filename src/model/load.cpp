// Model::load and Model::save: what travels in the file, and what of it is checked.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <exception>
#include <functional>
#include <optional>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <graft/cancellation.h>
#include <graft/files.h>
#include <graft/model.h>

#include "base/byte_source.h"
#include "base/manifest.h"
#include "base/normal_mode.h"
#include "base/parallel.h"
#include "base/safetensors.h"
#include "base/translate.h"
#include "graph/closing.h"
#include "graph/state.h"
#include "model/artefact.h"
#include "model/built_in.h"
#include "model/golden.h"
#include "model/hash.h"
#include "model/impl.h"
#include "model/input.h"
#include "model/labels.h"
#include "model/parameters.h"
#include "model/task.h"

namespace graft {

namespace {

/// An attention mask is a buffer and holds infinities.
void check_numbers(const graph::Network& network) {
  const at::NoGradGuard no_grad;
  const auto check = [](const graph::NamedTensors& tensors, bool may_be_infinite) {
    for (const auto& [name, tensor] : tensors) {
      // A sum is not finite if any element is not; only then is it worth looking closer (it may also overflow).
      if (!tensor.is_floating_point() || std::isfinite(tensor.sum().item<float>())) continue;
      const auto good = may_be_infinite ? tensor.isnan().logical_not() : tensor.isfinite();
      if (!good.all().item<bool>())
        throw Error(ErrorCode::kNumeric, "weights that are not finite numbers in \"" + name + "\"");
    }
  };
  check(network.named_parameters(), false);
  check(network.named_buffers(), true);
}

/// Half-precision weights become float32, which every device can run; what is no number is refused.
void normalise_weights(const graph::Network& network, const std::string& name) {
  for (const auto& tensors : {network.named_parameters(), network.named_buffers()})
    for (auto [tensor_name, tensor] : tensors)
      if (tensor.is_floating_point() && tensor.scalar_type() != at::kFloat)
        tensor.set_data(tensor.detach().to(at::kFloat));
  base::named(name, [&] { check_numbers(network); });
}

/// Tensors as they are now: forward may write into buffers.
graph::NamedTensors copied(graph::NamedTensors tensors) {
  const at::NoGradGuard no_grad;
  for (auto& [name, tensor] : tensors)
    if (tensor.defined()) tensor = tensor.detach().clone();
  return tensors;
}

/// Hashed only where someone has stated what the weights should be.
void check_content(const graph::NamedTensors& parameters, const graph::NamedTensors& buffers, const std::string& own,
                   const std::string& asked_for) {
  if (own.empty() && asked_for.empty()) return;
  const auto found = model::content_hash(parameters, buffers);
  if (!own.empty() && found != own)
    throw Error(ErrorCode::kFormat, "the weights are not those that were saved: the file states SHA-256 " + own +
                                        ", found " + found + "; it was damaged or changed");
  if (!asked_for.empty() && found != asked_for)
    throw Error(ErrorCode::kMismatch, "expected weights with SHA-256 " + asked_for + ", found " + found);
}

void refuse_traced_in_training(const graph::Network& network) {
  for (const auto& fixed : network.fixed_training())
    if (fixed.on)
      throw Error(ErrorCode::kMismatch,
                  "traced in training mode: " + fixed.kind + " in \"" + fixed.layer +
                      "\" always behaves as in training, so that answers depend on chance or on the batch; call eval() "
                      "before tracing, or export with torch.jit.script (LoadOptions::allow_traced_training runs it "
                      "as it is)");
}

/// Each on one thread: hashing takes one that long, and an operator that all threads share waits for it. Where both
/// fail, the second explains the first.
void side_by_side(const std::function<void()>& first, const std::function<void()>& second) {
  const std::array steps{&first, &second};
  std::array<std::exception_ptr, 2> errors;
  base::parallel_for(0, 2, 1, [&](std::int64_t begin, std::int64_t end) {
    const base::CaughtWarnings warnings;
    for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i) {
      try {
        (*steps[i])();
      } catch (...) {
        errors[i] = std::current_exception();
      }
    }
  });
  CancellationScope::check();  // the other thread has none
  for (const auto& error : {errors[1], errors[0]})
    if (error) std::rethrow_exception(error);
}

/// A plan answers in a fraction of the interpreter's time, and will be needed; what it cannot show, the interpreter
/// can.
void check_answer(engine::Runner& runner, const model::Artefact& artefact) {
  const auto& golden = artefact.golden.value();
  const auto input = model::golden_input(golden.example, artefact.input.value());
  if (golden.tolerance >= engine::Runner::kTolerance && runner.answers(input, at::tensor(golden.logits).unsqueeze(0)))
    return;
  const at::NoGradGuard no_grad;
  model::check_golden(golden, runner.run(input));
}

/// The whole file, as options.sha256_manifest lists it: the bytes that are hashed are those that are parsed.
std::vector<std::byte> read_listed(const base::FileSource& file, const std::filesystem::path& path,
                                   const LoadOptions& options) {
  if (file.size() > options.limits.total_bytes)
    throw Error(ErrorCode::kLimit, path.string() + ": expected at most " + std::to_string(options.limits.total_bytes) +
                                       " bytes, found " + std::to_string(file.size()) + " (ArchiveLimits)");
  auto bytes = file.read(0, file.size());
  if (!options.sha256_manifest.empty()) base::check_listed(options.sha256_manifest, path, bytes);
  return bytes;
}

graph::Network read_network(const std::filesystem::path& path, graph::ExtraFiles& extra, const LoadOptions& options) {
  const base::FileSource file(path);
  if (options.sha256_manifest.empty()) return graph::Network::load(file, path.string(), extra, options.limits);
  const auto bytes = read_listed(file, path, options);
  return graph::Network::load(base::MemorySource(bytes), path.string(), extra, options.limits);
}

/// What the caller says, or else the file.
std::optional<Input> given_input(const LoadOptions& options, const model::Artefact& artefact) {
  if (options.preprocessing && options.tokenizer)
    throw Error(ErrorCode::kConfig, "preprocessing and tokenizer: expected one of them, found both");
  if (options.tokenizer) return *options.tokenizer;
  if (!options.preprocessing) return artefact.input;
  options.preprocessing->validate();
  if (artefact.input && takes_text(*artefact.input))
    throw Error(ErrorCode::kConfig, "preprocessing: expected a network for pictures, found one that takes texts");
  return *options.preprocessing;
}

}  // namespace

Model Model::load(const std::filesystem::path& path, const LoadOptions& options) {
  const std::string& name = path.native();
  return base::translated("loading ", name, [&] {
    const base::NormalMode normal;
    auto extra = model::wanted_records();
    auto network = read_network(path, extra, options);
    normalise_weights(network, name);
    return base::named(name,
                       [&] { return Impl::assemble(name, std::move(network), model::read_artefact(extra), options); });
  });
}

Model Model::from_safetensors(const std::filesystem::path& path, const LoadOptions& options) {
  const std::string& name = path.native();
  return base::translated("loading ", name, [&] {
    const base::NormalMode normal;
    auto content = base::read_safetensors(read_listed(base::FileSource(path), path, options), name);
    const graph::ExtraFiles description{{model::kArtefactRecord, content.metadata[model::kArtefactRecord]},
                                        {model::kGoldenRecord, ""}};
    auto network = base::named(name, [&] { return model::built_in(std::exchange(content.tensors, {})); });
    normalise_weights(network, name);
    return base::named(
        name, [&] { return Impl::assemble(name, std::move(network), model::read_artefact(description), options); });
  });
}

Model Model::Impl::assemble(const std::string& name, graph::Network network, const model::Artefact& artefact,
                            const LoadOptions& options) {
  const auto given_or_own = given_input(options, artefact);
  const bool guessed = !given_or_own;
  const Input takes = given_or_own.value_or(Preprocessing::torch_mode());
  const auto input = model::blank_input(takes);
  // Probing and checking run the network, which must not be seen in it, nor in the hash.
  const graph::KeptState kept(network);
  const auto parameters = network.named_parameters(), buffers = copied(network.named_buffers());
  std::optional<Model> loaded;
  side_by_side(
      [&] {
        if (!options.allow_traced_training) refuse_traced_in_training(network);
        const auto seen = engine::probe(network, input);
        auto structure = model::analyse(network, seen, options.head.empty() ? artefact.head : options.head);
        loaded = Model(std::make_unique<Impl>(name, network, std::move(structure)));
        loaded->impl_->runner.remember(seen);
      },
      [&] { check_content(parameters, buffers, options.verify ? artefact.sha256 : "", options.sha256); });
  Model& result = *loaded;
  Impl& impl = *result.impl_;
  if (options.verify && artefact.golden) check_answer(impl.runner, artefact);
  kept.restore();
  impl.input = takes;
  impl.head_kind = artefact.head_kind;
  impl.batch_norm = artefact.batch_norm;
  const std::unordered_set<std::string> frozen(artefact.frozen.begin(), artefact.frozen.end());
  model::set_trainable(impl.network,
                       [&](const std::string& parameter) { return std::optional(!frozen.contains(parameter)); });

  if (guessed && impl.structure.family == "other" && options.on_warning)
    options.on_warning(name +
                       ": no preprocessing in the file and its family is unknown: torchvision's is assumed; "
                       "give LoadOptions::preprocessing if it was trained otherwise");
  if (options.on_warning) {
    const bool regression = !artefact.tasks.empty() && std::ranges::all_of(artefact.tasks, [](const Task& task) {
      return task.kind == TaskKind::kRegression;
    });
    const auto closing = graph::closing_operator(impl.network);
    if (!regression && (closing == "softmax" || closing == "sigmoid"))
      options.on_warning(name + ": the network ends with a " + closing +
                         ": its outputs are probabilities, where logits are expected; classify takes their softmax "
                         "again, and training a loss of them: export it without the " +
                         closing);
  }
  const bool imagenet = impl.structure.family != "other" && impl.classes() == 1000;
  const auto& given = options.labels ? options.labels : artefact.labels;
  impl.tasks = artefact.tasks.empty() ? std::vector{Task{.outputs = impl.classes()}} : artefact.tasks;
  if (model::outputs_of(impl.tasks) != impl.classes())
    throw Error(ErrorCode::kMismatch, "its record says " + std::to_string(model::outputs_of(impl.tasks)) +
                                          " outputs, the network has " + std::to_string(impl.classes()));
  impl.labels = given ? *given : imagenet ? imagenet_labels() : model::numbered_labels(impl.classes());
  model::check_labels(impl.labels, impl.tasks);
  result.to(options.device);
  if (artefact.int8 && artefact.input == impl.input) {  // what was measured is for these numbers
    impl.set_int8(artefact.int8);
    if (!options.verify) impl.int8_checked = true;
  }
  return std::move(result);
}

void Model::save(const std::filesystem::path& path) const {
  base::translated("saving ", path.native(), [&] {
    if (impl().training) throw Error(ErrorCode::kConfig, "the model is in training mode; call eval() before saving");
    check_numbers(impl().network);
    model::Artefact artefact;
    artefact.input = impl().input;
    artefact.tasks = impl().tasks;
    artefact.labels = impl().labels;
    if (!impl().has_original_head()) artefact.head = impl().structure.head;
    artefact.head_kind = impl().head_kind;
    artefact.batch_norm = impl().batch_norm;
    for (const auto& [name, tensor] : impl().network.named_parameters())
      if (!tensor.requires_grad()) artefact.frozen.push_back(name);
    artefact.sha256 = model::content_hash(impl().network);
    artefact.golden = impl().golden();
    if (impl().runner.calibration()) artefact.int8 = impl().int8;
    write_atomically(path, impl().network.save(model::write_artefact(artefact)));
  });
}

std::optional<model::Golden> Model::Impl::golden() const {
  for (const auto& fixed : network.fixed_training())
    if (fixed.on) return std::nullopt;  // two answers to one picture differ
  model::Golden golden{model::golden_example(input), {}, device.is_cuda() ? 1e-2 : 1e-3};
  const graph::KeptState kept(network);
  const auto logits =
      infer(runner, model::golden_input(golden.example, input), Precision::kFloat32).to(at::kCPU).contiguous();
  kept.restore();
  if (!logits.isfinite().all().item<bool>())
    throw Error(ErrorCode::kNumeric,
                "the network's outputs for the golden example, by which a loaded file is checked, are not finite "
                "numbers");
  golden.logits.assign(logits.const_data_ptr<float>(), logits.const_data_ptr<float>() + logits.numel());
  return golden;
}

}  // namespace graft
