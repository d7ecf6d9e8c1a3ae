#include <graft/custom_head.h>

#include <map>
#include <string>

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>

#include <graft/error.h>

#include "base/seeded_generator.h"
#include "base/translate.h"
#include "engine/runner.h"
#include "graph/trace.h"
#include "model/head_recipe.h"

namespace graft::heads {

namespace {

using torch::nn::Module;

constexpr double kTolerance = 1e-4;  ///< of the largest value, or of 1 if that is smaller

/// "TwoBranch" for (anonymous namespace)::TwoBranchImpl.
std::string class_name(const Module& module) {
  std::string name = module.name();
  if (const auto colon = name.rfind("::"); colon != std::string::npos && name.find('<', colon) == std::string::npos)
    name.erase(0, colon + 2);
  if (name.ends_with("Impl")) name.erase(name.size() - 4);
  return name;
}

graph::ModuleTree tree_of(const Module& module) {
  graph::ModuleTree tree{class_name(module), {}, {}, {}};
  for (const auto& parameter : module.named_parameters(/*recurse=*/false))
    tree.parameters.emplace_back(parameter.key(), parameter.value());
  for (const auto& buffer : module.named_buffers(/*recurse=*/false))
    tree.buffers.emplace_back(buffer.key(), buffer.value());
  for (const auto& child : module.named_children()) tree.children.push_back({child.key(), tree_of(*child.value())});
  return tree;
}

/// train() reaches everything below a module; this sets the flag of one alone.
void set_training(Module& module, const std::string& path, bool on) {
  Module* at = &module;
  for (std::size_t begin = 0; begin < path.size();) {
    const auto end = std::min(path.find('.', begin), path.size());
    at = at->named_children()[path.substr(begin, end - begin)].get();
    begin = end + 1;
  }
  std::vector<std::pair<std::shared_ptr<Module>, bool>> below;
  for (const auto& child : at->modules(/*include_self=*/false)) below.emplace_back(child, child->is_training());
  at->train(on);
  // Children come after their parents: each is put right after what its parent did to it.
  for (const auto& [child, was_on] : below) child->train(was_on);
}

/// The module's flags and buffers as they were.
class KeptState {
 public:
  explicit KeptState(Module& module) {
    for (const auto& each : module.modules()) modules_.emplace_back(each, each->is_training());
    for (const auto& buffer : module.buffers()) buffers_.emplace_back(buffer, buffer.clone());
  }
  ~KeptState() {
    const at::NoGradGuard no_grad;
    for (const auto& [module, on] : modules_) module->train(on);
    for (auto& [buffer, copy] : buffers_) buffer.copy_(copy);
  }
  KeptState(const KeptState&) = delete;
  KeptState& operator=(const KeptState&) = delete;

 private:
  std::vector<std::pair<std::shared_ptr<Module>, bool>> modules_;
  std::vector<std::pair<at::Tensor, at::Tensor>> buffers_;
};

/// What one run gives: everything in which module and recording must agree.
struct Run {
  at::Tensor output;
  std::vector<std::pair<std::string, at::Tensor>> others;  ///< gradients, and buffers afterwards; undefined: none
};

using Forward = std::function<at::Tensor(const at::Tensor&)>;

/// Two steps, since what the first leaves behind (counts, averages) matters to the second.
Run run(const Module& module, const Forward& forward, const at::Tensor& features, bool training) {
  const base::SeededGenerator generator(at::kCPU, 1);  // the same dropout for both
  const at::AutoGradMode with_gradients(true);
  const auto x = features.detach().clone().requires_grad_(true);
  if (training) (void)forward(x);
  Run result{forward(x), {}};
  std::vector<std::string> names{"features"};
  std::vector<at::Tensor> inputs{x};
  for (const auto& parameter : module.named_parameters()) {
    if (!parameter.value().requires_grad()) continue;
    names.push_back(parameter.key());
    inputs.push_back(parameter.value());
  }
  if (result.output.requires_grad()) {
    // Weighed, since a sum alone has no gradient behind a normalisation.
    const auto weights = at::arange(1, result.output.numel() + 1, at::kFloat).view(result.output.sizes()).cos();
    const auto gradients = torch::autograd::grad({(result.output.to(at::kFloat) * weights).sum()}, inputs, {},
                                                 /*retain_graph=*/false, /*create_graph=*/false, /*allow_unused=*/true);
    for (std::size_t i = 0; i < names.size(); ++i) result.others.emplace_back("gradient of " + names[i], gradients[i]);
  }
  result.output = result.output.detach();
  for (const auto& buffer : module.named_buffers())
    result.others.emplace_back("buffer " + buffer.key() + " after two steps", buffer.value().clone());
  return result;
}

std::string size_text(const at::Tensor& tensor) {
  return tensor.defined() ? c10::str(tensor.sizes(), " of ", tensor.scalar_type()) : std::string("nothing");
}

/// "" if they agree.
std::string difference(const at::Tensor& module, const at::Tensor& recording) {
  if (!module.defined() && !recording.defined()) return "";
  if (!module.defined() || !recording.defined() || module.sizes() != recording.sizes())
    return "the module gives " + size_text(module) + ", the recording " + size_text(recording);
  const auto a = module.to(at::kDouble), b = recording.to(at::kDouble);
  const double scale = std::max(1.0, a.numel() ? a.abs().nan_to_num(0, 0, 0).max().item<double>() : 1.0);
  if (at::allclose(a, b, /*rtol=*/0, kTolerance * scale, /*equal_nan=*/true)) return "";
  return c10::str("they differ by up to ", (a - b).abs().nan_to_num().max().item<double>(),
                  " where the largest value is ", scale);
}

struct Trial {
  std::string what;
  at::Tensor features;
  std::string remedy;
};

/// The first is the example that is recorded.
std::vector<Trial> trials(const std::vector<std::int64_t>& feature_shape) {
  const auto generator = at::detail::createCPUGenerator(7);
  const auto features = [&](std::int64_t batch, double scale) {
    auto shape = feature_shape;
    shape[0] = batch;
    return at::rand(shape, generator, at::TensorOptions(at::kFloat)) * scale;
  };
  return {
      {"the features it was recorded with", features(2, 1),
       "something beside the features and the registered tensors changes its answer"},
      {"other values", features(2, -3),
       "what it does depends on the values of a tensor (an if, a loop, item()): write it with tensor operations such "
       "as at::where, or as TorchScript source (graft/script_head.h)"},
      {"other values", features(2, 50), "what it does depends on the values of a tensor (an if, a loop, item())"},
      {"another batch size", features(5, 1),
       "sizes taken with size() or sizes() are fixed when it is recorded: write flatten(1), unflatten, or -1 for the "
       "batch"}};
}

void compare(const Module& module, const Forward& forward, const Forward& recorded, const Trial& trial, bool training) {
  const std::string mode = training ? "in training mode" : "in evaluation mode";
  const auto refuse = [&](const std::string& what, const std::string& seen) {
    throw Error(ErrorCode::kMismatch, "cannot be saved as TorchScript: recorded and run again with " + trial.what +
                                          " (" + c10::str(trial.features.sizes()) + ", " + mode + "), " + what + ": " +
                                          seen + "; " + trial.remedy);
  };
  std::vector<at::Tensor> before;
  for (const auto& buffer : module.buffers()) before.push_back(buffer.clone());
  const auto own = run(module, forward, trial.features, training);
  const at::NoGradGuard no_grad;
  for (std::size_t i = 0; i < before.size(); ++i) module.buffers()[i].copy_(before[i]);
  Run other;
  try {
    other = run(module, recorded, trial.features, training);
  } catch (const std::exception& error) {
    refuse("it fails", base::own_words(error.what()));
  }
  if (const auto seen = difference(own.output, other.output); !seen.empty()) refuse("the output", seen);
  for (std::size_t i = 0; i < own.others.size() && i < other.others.size(); ++i)
    if (const auto seen = difference(own.others[i].second, other.others[i].second); !seen.empty())
      refuse("the " + own.others[i].first, seen);
}

void check_module(const Module& module) {
  std::map<const void*, std::string> seen;
  for (const auto& parameter : module.named_parameters())
    if (const auto [it, is_new] = seen.emplace(parameter.value().unsafeGetTensorImpl(), parameter.key()); !is_new)
      throw Error(ErrorCode::kMismatch,
                  "the parameters \"" + it->second + "\" and \"" + parameter.key() +
                      "\" are one tensor, which a saved file would make two of: register it once");
  std::vector<at::Tensor> tensors = module.parameters();
  const auto buffers = module.buffers();
  tensors.insert(tensors.end(), buffers.begin(), buffers.end());
  for (const auto& tensor : tensors)
    if (!tensor.is_cpu() || (tensor.is_floating_point() && tensor.scalar_type() != at::kFloat))
      throw Error(ErrorCode::kMismatch, "expected float32 tensors on the CPU, found " +
                                            c10::str(tensor.scalar_type(), " on ", tensor.device()) +
                                            "; the model moves its head along with Model::to");
}

class Custom : public Head::Impl {
 public:
  Custom(MakeModule make, CustomOptions options, bool copy)
      : make_(std::move(make)), o_(std::move(options)), copy_(copy) {
    if (!make_) throw Error(ErrorCode::kConfig, "custom head: expected a function that makes the module, found none");
  }

  std::string describe() const override { return o_.name.empty() ? "custom" : "custom:" + o_.name; }

  BuiltHead build(const std::vector<std::int64_t>& shape, const graph::Network& beside) const override {
    const base::SeededGenerator generator(at::kCPU, o_.seed);
    const auto custom = make_(shape);
    if (!custom.module) throw Error(ErrorCode::kConfig, "custom head: expected a module, found an empty holder");
    const std::string name = o_.name.empty() ? class_name(*custom.module) : o_.name;
    return base::named("head \"" + name + "\"", [&] {
      auto network = build(custom, shape, beside);
      return BuiltHead{copy_ ? network.deep_copy() : network, {Task{.kind = o_.kind, .loss = o_.loss}}};
    });
  }

 private:
  graph::Network build(const CustomModule& custom, const std::vector<std::int64_t>& shape,
                       const graph::Network& beside) const {
    Module& module = *custom.module;
    check_module(module);
    const KeptState kept(module);
    const auto tried = trials(shape);
    const Forward forward = [&](const at::Tensor& features) {
      try {
        auto output = custom.forward(features);
        if (!output.defined()) throw Error(ErrorCode::kMismatch, "it yields an undefined tensor");
        return output;
      } catch (const Error&) {
        throw;
      } catch (const std::bad_alloc&) {
        throw;
      } catch (const std::exception& error) {
        throw Error(ErrorCode::kMismatch, "it refuses features " + c10::str(features.sizes()) + ": " +
                                              base::own_words(error.what()) +
                                              "; a factory (heads::custom) is told their shape");
      }
    };
    auto network = graph::trace(tree_of(module),
                                {forward,
                                 [&](const std::vector<std::string>& exceptions) {
                                   module.train();
                                   for (const auto& path : exceptions) set_training(module, path, false);
                                 }},
                                tried.front().features, beside);
    const engine::Runner runner(network);
    const Forward recorded = [&](const at::Tensor& features) { return runner.run(features); };
    for (const bool training : {false, true}) {
      module.train(training);
      network.set_training(training);
      for (const auto& trial : tried) compare(module, forward, recorded, trial, training);
    }
    network.set_training(false);
    return network;
  }

  MakeModule make_;
  CustomOptions o_;
  bool copy_;
};

}  // namespace

Head custom_made(MakeModule make, const CustomOptions& options) {
  return Head(std::make_shared<Custom>(std::move(make), options, /*copy=*/false));
}

Head custom_copy(CustomModule module, const CustomOptions& given) {
  CustomOptions options = given;
  if (options.name.empty() && module.module) options.name = class_name(*module.module);
  return Head(std::make_shared<Custom>([module = std::move(module)](const auto&) { return module; }, options,
                                       /*copy=*/true));
}

}  // namespace graft::heads
