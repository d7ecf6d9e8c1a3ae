#include "engine/cpu_plan.h"

#include <algorithm>
#include <cmath>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Config.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/jit/passes/dead_code_elimination.h>
#include <torch/csrc/jit/runtime/interpreter.h>

#include "engine/arena.h"
#include "engine/describe.h"
#include "engine/execute.h"
#include "engine/freeze.h"
#include "engine/fusion.h"
#include "engine/prepared_convolution.h"
#include "engine/quantize.h"
#include "engine/slices.h"

namespace graft::engine {

namespace {

using torch::jit::Graph;
using torch::jit::Node;
using torch::jit::Value;

/// Largest intermediate result for which pictures of a batch run together: a batch's memory stays bounded, and more
/// pictures at a time are not faster (docs/performance.md). In eight bits arithmetic is so fast that caches count.
constexpr std::size_t kSliceBytes = std::size_t{32} << 20, kInt8SliceBytes = std::size_t{4} << 20;
/// Arenas that a plan keeps for its next calls; more calls at the same time make arenas of their own.
constexpr std::size_t kIdleArenas = 2;

/// Up to here a single picture's convolution in bfloat16 is ours, which costs less to call than LibTorch's operator; on
/// large ones, and batches, oneDNN's arithmetic is faster (docs/performance.md).
constexpr std::int64_t kOwnMultiplications = std::int64_t{1} << 28;

/// The weight in the layout that oneDNN's kernels want, which is opaque to everything else.
at::Tensor prepacked(const at::Tensor& weight, const FusedOperands& c, const std::vector<std::int64_t>& input_size) {
  const auto reorder = c10::Dispatcher::singleton().findSchemaOrThrow("mkldnn::_reorder_convolution_weight", "");
  const auto& g = c.geometry;
  torch::jit::Stack stack{weight,     g.padding, g.stride,
                          g.dilation, g.groups,  input_size.empty() ? c10::IValue() : c10::IValue(input_size)};
  reorder.callBoxed(stack);
  return stack.front().toTensor();
}

/// Multiplications for an input of this size, about.
std::int64_t multiplications(const at::Tensor& weight, const Geometry& geometry,
                             const std::vector<std::int64_t>& input) {
  return weight.numel() * input[0] * (input[2] / geometry.stride[0]) * (input[3] / geometry.stride[1]);
}

/// Ours for a fused convolution, if it is faster than oneDNN's; `input_size` is empty if it is not known.
std::optional<c10::IValue> own_convolution(const Node* fused, const at::Tensor& weight, at::ScalarType type,
                                           const std::vector<std::int64_t>& input_size) {
  const auto c = operands_of(fused);
  const auto bias = torch::jit::toIValue(c.bias);
  // An addition that is not in place may broadcast: oneDNN's.
  if (!bias || (c.other && fused->kind() != kFusedInPlace)) return std::nullopt;
  const auto given_bias = bias->isTensor() ? bias->toTensor() : at::Tensor();
  if (type == at::kFloat && WinogradConvolution::suits(weight, c.geometry, input_size))
    return prepare(FloatConvolution{weight, given_bias, c.geometry});
  if (type == at::kBFloat16 && takes_bfloat16(c.geometry) && input_size.size() == 4 &&
      multiplications(weight, c.geometry, input_size) <= kOwnMultiplications)
    return prepare(BFloat16Convolution{weight, given_bias, c.geometry});
  return std::nullopt;
}

/// Gives the fused convolutions their weights in the layout of oneDNN's kernels or ours, for inputs of these sizes
/// where they are known. Such cannot be constants of a graph: they become inputs of it, behind those it has.
void prepack(Graph& graph, at::ScalarType type, const Sizes& sizes, std::vector<c10::IValue>& weights) {
  register_prepared_convolution();
  Arena arena;
  const auto in_arena = [&](const auto& make) {
    const Arena::Use use(arena);
    return make();
  };
  const auto nodes = fused_nodes(graph);
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    const auto operands = operands_of(nodes[i]);
    const auto size = i < sizes.size() ? sizes[i] : std::vector<std::int64_t>();
    const auto weight = in_arena([&] { return weight_of(operands); });
    Value* input = graph.addInput();
    if (auto own = own_convolution(nodes[i], weight, type, size)) {
      weights.push_back(std::move(*own));
      input->setType(c10::AnyType::get());
      replace_with_prepared(nodes[i], input);
    } else {
      const auto lowered = in_arena([&] { return weight.to(type).contiguous(); });
      weights.push_back(prepacked(lowered, operands, size));
      input->setType(c10::TensorType::get());
      replace_weight(nodes[i], input);
    }
  }
  torch::jit::EliminateDeadCode(graph.block());
}

/// Gives linear layers their weights in oneDNN's layout, in bfloat16, as inputs of the graph like prepack(). In float32
/// that gains nothing (docs/performance.md), and the ordinary layout is there already.
void prepack_linear(Graph& graph, std::vector<c10::IValue>& weights) {
  const auto reorder = c10::Dispatcher::singleton().findSchemaOrThrow("mkldnn::_reorder_linear_weight", "");
  std::vector<Node*> nodes;
  for (Node* node : graph.nodes())
    if (node->kind() == c10::aten::linear) nodes.push_back(node);
  for (Node* node : nodes) {
    const auto weight = torch::jit::toIValue(node->input(1));
    if (!weight || !weight->isTensor() || !weight->toTensor().is_cpu() || !torch::jit::toIValue(node->input(2)))
      continue;
    torch::jit::Stack stack{weight->toTensor().to(at::kBFloat16).contiguous(), c10::IValue()};
    reorder.callBoxed(stack);
    weights.push_back(stack.front().toTensor());
    Value* packed = graph.addInput();
    packed->setType(c10::TensorType::get());
    const torch::jit::WithInsertPoint at(node);
    Node* linear = graph.insertNode(
        graph.create(c10::Symbol::fromQualString("mkldnn::_linear_pointwise"),
                     {node->input(0), packed, node->input(2), graph.insertConstant(std::string("none")),
                      no_scalars(graph), graph.insertConstant(std::string(""))}));
    linear->output()->setType(c10::TensorType::get());
    node->output()->replaceAllUsesWith(linear->output());
    node->destroy();
  }
  torch::jit::EliminateDeadCode(graph.block());
}

/// Why this machine has no plans of such precision; empty if it has.
std::string obstacle_to(Precision precision) {
  if (!at::hasMKLDNN()) return "this LibTorch has no oneDNN";
  if (precision == Precision::kFloat32) return "";
  if (precision == Precision::kFloat16) return "on the CPU there are no plans in float16";
  if (precision == Precision::kInt8) return has_eight_bit_arithmetic() ? "" : "this processor has no VNNI or AMX";
  const auto supported = c10::Dispatcher::singleton().findSchema({"mkldnn::_is_mkldnn_bf16_supported", ""});
  return supported && supported->typed<bool()>().call() ? "" : "this processor has no AVX-512 for bfloat16";
}

/// The arenas that no call uses now.
class ArenaPool {
 public:
  std::unique_ptr<Arena> take() {
    const std::lock_guard lock(mutex_);
    if (idle_.empty()) return std::make_unique<Arena>();
    auto arena = std::move(idle_.back());
    idle_.pop_back();
    return arena;
  }
  void give_back(std::unique_ptr<Arena> arena) {
    const std::lock_guard lock(mutex_);
    if (idle_.size() < kIdleArenas) idle_.push_back(std::move(arena));
  }

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<Arena>> idle_;
};

/// An arena of the pool for the length of a call.
class Borrowed {
 public:
  explicit Borrowed(ArenaPool& pool) : pool_(pool), arena_(pool.take()) {}
  ~Borrowed() { pool_.give_back(std::move(arena_)); }
  Borrowed(const Borrowed&) = delete;
  Borrowed& operator=(const Borrowed&) = delete;
  Arena& operator*() const { return *arena_; }

 private:
  ArenaPool& pool_;
  std::unique_ptr<Arena> arena_;
};

class CpuPlan : public Plan {
 public:
  /// Why there is nothing to run; empty if there is.
  std::string compile(const graph::Network& network, Precision precision, const Sizes& single,
                      const Calibration* calibration, PlanSummary& summary) {
    if (auto obstacle = obstacle_to(precision); !obstacle.empty()) return obstacle;
    const at::NoGradGuard no_grad;
    type_ = precision == Precision::kBFloat16 ? at::kBFloat16 : at::kFloat;
    if (precision == Precision::kInt8) slice_bytes_ = kInt8SliceBytes;
    const auto [graph, sizes] = precision == Precision::kInt8 ? quantizable_graph(network, single, summary)
                                                              : fused_graph(network, single, summary);
    if (!graph)
      return summary.convolutions == 0
                 ? "it has no convolution, or looks something up, or writes something, when it runs"
                 : "it has no convolution that oneDNN takes";
    if (precision == Precision::kInt8) weights_ = lower_to_eight_bits(*graph, *calibration, sizes, summary);
    add_in_place(*graph);
    prepack(*graph, type_, precision == Precision::kInt8 ? Sizes() : sizes, weights_);
    if (precision == Precision::kBFloat16) {
      prepack_linear(*graph, weights_);
      lower_constants(*graph, type_);
    }
    describe(*graph, network, summary);
    graph->lint();
    const auto [pictures, rest] = split_by_picture(graph);
    if (pictures) by_picture_.emplace(pictures, "pictures");
    if (rest || !pictures) whole_.emplace(rest ? rest : graph, "batch");
    return "";
  }

  at::Tensor run(const at::Tensor& input) const override {
    const at::NoGradGuard no_grad;
    const Borrowed arena(arenas_);
    at::Tensor result = input;
    if (by_picture_) result = run_by_picture(result, *arena);
    if (whole_) result = run(*whole_, result, *arena);
    return result.to(at::kFloat, /*non_blocking=*/false, /*copy=*/true);  // out of the arena
  }

 private:
  /// The result is the arena's.
  at::Tensor run(const torch::jit::Code& code, const at::Tensor& input, Arena& arena) const {
    const Arena::Use use(arena);
    torch::jit::Stack stack;
    stack.reserve(1 + weights_.size());
    stack.emplace_back(input.scalar_type() == at::kFloat  // not what another code has yielded
                           ? input.to(type_, /*non_blocking=*/false, /*copy=*/false, input.suggest_memory_format())
                           : input);
    stack.insert(stack.end(), weights_.begin(), weights_.end());
    return one_tensor(execute(code, std::move(stack)));
  }

  /// Always the same for inputs of one size, so that results are.
  std::int64_t pictures_at_a_time(const at::Tensor& input, Arena& arena) const {
    if (!Arena::available()) return input.size(0);
    const auto pixels = static_cast<double>(input.size(2) * input.size(3));
    std::call_once(measured_, [&] {
      arena.take_largest();
      (void)run(*by_picture_, input.narrow(0, 0, 1), arena);
      bytes_per_pixel_ = std::max(1.0, static_cast<double>(arena.take_largest())) / pixels;
    });
    return std::max<std::int64_t>(1, std::llround(static_cast<double>(slice_bytes_) / (bytes_per_pixel_ * pixels)));
  }

  at::Tensor run_by_picture(const at::Tensor& input, Arena& arena) const {
    const auto all = input.size(0), at_a_time = pictures_at_a_time(input, arena);
    const auto slices = (all + at_a_time - 1) / at_a_time;
    if (slices == 1) return run(*by_picture_, input, arena);
    at::Tensor results;
    std::int64_t done = 0;
    for (const auto& slice : input.chunk(slices)) {
      const auto result = run(*by_picture_, slice, arena);
      if (!results.defined()) {
        auto sizes = result.sizes().vec();
        sizes[0] = all;
        results = at::empty(sizes, result.options(), result.suggest_memory_format());
      }
      results.narrow(0, done, slice.size(0)).copy_(result);
      done += slice.size(0);
    }
    return results;
  }

  at::ScalarType type_ = at::kFloat;
  std::size_t slice_bytes_ = kSliceBytes;
  std::vector<c10::IValue> weights_;            ///< the codes' inputs behind the first
  std::optional<torch::jit::Code> by_picture_;  ///< on some pictures at a time
  std::optional<torch::jit::Code> whole_;       ///< behind it, on the whole batch
  mutable ArenaPool arenas_;
  mutable std::once_flag measured_;
  mutable double bytes_per_pixel_ = 0;  ///< of the largest result, for each pixel of the input
};

}  // namespace

std::unique_ptr<Plan> compile_for_cpu(const graph::Network& network, Precision precision, const Sizes& single,
                                      const Calibration* calibration, PlanSummary& summary) {
  auto plan = std::make_unique<CpuPlan>();
  summary.obstacle = plan->compile(network, precision, single, calibration, summary);
  return summary.obstacle.empty() ? std::move(plan) : nullptr;
}

}  // namespace graft::engine
