// The operators' arguments are described in torch/_inductor/fx_passes/quantization.py; the scheme (uint8 activations
// with one scale, int8 weights with a scale for each channel) is that of Jacob et al. 2018, arXiv:1712.05877.

#include "engine/quantize.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include <ATen/ATen.h>
#include <ATen/Config.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/cpu/Utils.h>
#include <torch/csrc/jit/ir/alias_analysis.h>
#include <torch/csrc/jit/ir/constants.h>
#include <torch/csrc/jit/passes/dead_code_elimination.h>
#include <torch/csrc/jit/passes/remove_mutation.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include <graft/error.h>

#include "engine/fusion.h"
#include "engine/max_pool.h"
#include "engine/prepared_convolution.h"
#include "graph/jit.h"

namespace graft::engine {

using graph::is_tensor;
using torch::jit::Graph;
using torch::jit::Node;
using torch::jit::Use;
using torch::jit::Value;

namespace {

const c10::Symbol kLinear = c10::Symbol::fromQualString("onednn::qlinear_pointwise");

std::optional<at::Tensor> constant_tensor(const Value* value) {
  const auto constant = torch::jit::toIValue(value);
  return constant && constant->isTensor() ? std::optional(constant->toTensor()) : std::nullopt;
}

/// Or made of constants alone, as folded weights are.
bool is_constant(const Node* node) {
  return node->kind() == c10::prim::Constant ||
         (!node->inputs().empty() && std::all_of(node->inputs().begin(), node->inputs().end(), [](const Value* value) {
           return value->node()->kind() == c10::prim::Constant;
         }));
}

/// AVX-VNNI, of processors without AVX-512.
bool has_avx_vnni() {
#if defined(__x86_64__)
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 && (a >> 4 & 1) != 0;
#else
  return false;
#endif
}

/// The interval that an activation function cuts its input to; nothing for other operators.
std::optional<Range> clamp_of(const Node* node) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  if (node->kind() == c10::aten::relu) return Range{0, kInfinity};
  if (node->kind() == c10::aten::relu6) return Range{0, 6};
  if (node->kind() != c10::aten::hardtanh) return std::nullopt;
  const auto low = torch::jit::toIValue(node->input(1)), high = torch::jit::toIValue(node->input(2));
  if (!low || !high || !low->isScalar() || !high->isScalar()) return std::nullopt;
  return Range{low->toScalar().to<float>(), high->toScalar().to<float>()};
}

/// Moves numbers about without arithmetic, so that uint8 does as well as float32.
bool only_moves(const Node* node) {
  static const std::set<c10::Symbol> kMoves{kMaxPool, c10::aten::flatten, c10::aten::reshape, c10::aten::view};
  return kMoves.contains(node->kind()) ||
         (node->kind() == c10::aten::cat && node->input(0)->node()->kind() == c10::prim::ListConstruct);
}

/// What it moves.
at::ArrayRef<Value*> moved(Node* node) {
  return node->kind() == c10::aten::cat ? node->input(0)->node()->inputs() : node->inputs().slice(0, 1);
}

/// Decides, before anything changes, which values of a graph become uint8, and with which scales.
class Choice {
 public:
  Choice(Graph& graph, const Calibration& calibration) {
    const auto values = activations(graph);
    if (values.size() != calibration.size())
      throw Error(ErrorCode::kMismatch, "the calibration is of another network: expected " +
                                            std::to_string(values.size()) + " activations, found " +
                                            std::to_string(calibration.size()));
    const torch::jit::AliasDb aliases(graph.shared_from_this());
    for (std::size_t i = 0; i < values.size(); ++i)
      if (calibration[i] && !aliases.hasWriters(values[i])) ranges_[values[i]] = *calibration[i];
    for (Node* node : graph.nodes().reverse())
      if (is_worth_storing(node)) stored_.insert(node->output());
    for (Node* node : graph.nodes())
      if (is_stored(node)) join(node);
  }

  /// A fused convolution or linear layer that can run on uint8: the ranges of what it needs are known.
  bool is_arithmetic(const Node* node) const {
    if (node->kind() == kFused) {
      const auto c = operands_of(node);
      return has_range(c.input) && (!c.other || (has_range(c.other) && has_range(node->output())));
    }
    if (node->kind() != c10::aten::linear || !has_range(node->input(0))) return false;
    const auto weight = constant_tensor(node->input(1));
    return weight && weight->dim() == 2 && weight->is_cpu() && weight->scalar_type() == at::kFloat &&
           torch::jit::toIValue(node->input(2));
  }

  /// An activation function that needs nothing but the bounds of what is stored: nobody else sees what it cuts.
  bool is_clamp(const Node* node) const {
    return clamp_of(node) && is_arithmetic(node->input(0)->node()) && node->input(0)->uses().size() == 1;
  }

  /// Yields uint8.
  bool is_stored(const Node* node) const { return node->outputs().size() == 1 && stored_.contains(node->output()); }

  Range range(const Value* value) const { return ranges_.at(root(value)); }
  Scale scale(const Value* value) const { return scale_of(range(value)); }

 private:
  bool has_range(const Value* value) const { return ranges_.contains(value); }

  /// It can be uint8, and somebody wants it so; a convolution with an addition yields nothing else.
  bool is_worth_storing(Node* node) const {
    if (node->outputs().size() != 1 || !has_range(node->output())) return false;
    if (only_moves(node)) {
      const auto values = moved(node);
      if (!std::all_of(values.begin(), values.end(), [&](const Value* v) { return has_range(v); })) return false;
    } else if (!makes_bytes(node)) {
      return false;
    }
    if (node->kind() == kFused && operands_of(node).other) return true;
    if (node->kind() == kMaxPool && makes_bytes(node->input(0)->node())) return true;  // a quarter as much to convert
    const auto& uses = node->output()->uses();
    return std::any_of(uses.begin(), uses.end(), [&](const Use& use) { return takes(use); });
  }

  bool makes_bytes(const Node* node) const { return is_clamp(node) || is_arithmetic(node); }

  bool takes(const Use& use) const {
    const Node* user = use.user;
    if (is_arithmetic(user)) return use.offset == 0 || (use.offset == 1 && operands_of(user).other);
    if (user->kind() == c10::prim::ListConstruct) {
      const auto& uses = user->output()->uses();
      return std::any_of(uses.begin(), uses.end(), [&](const Use& list) { return is_stored(list.user); });
    }
    return use.offset == 0 && (only_moves(user) || is_clamp(user)) && is_stored(user);
  }

  /// What is moved has one scale on both sides; what is cut takes that of the result.
  void join(Node* node) {
    if (!only_moves(node) && !is_clamp(node)) return;
    const Value* to = root(node->output());
    for (const Value* value : moved(node)) {
      const Value* from = root(value);
      if (from == to) continue;
      parent_[from] = to;
      auto& range = ranges_.at(to);
      if (only_moves(node))
        range = {std::min(range.low, ranges_.at(from).low), std::max(range.high, ranges_.at(from).high)};
    }
  }
  const Value* root(const Value* value) const {
    for (auto it = parent_.find(value); it != parent_.end(); it = parent_.find(value)) value = it->second;
    return value;
  }

  std::map<const Value*, Range> ranges_;
  std::map<const Value*, const Value*> parent_;
  std::set<const Value*> stored_;
};

class Lowering {
 public:
  Lowering(Graph& graph, const Calibration& calibration, const Sizes& sizes, PlanSummary& summary)
      : graph_(graph), choice_(graph, calibration), summary_(summary) {
    const auto nodes = fused_nodes(graph);
    for (std::size_t i = 0; i < sizes.size(); ++i) sizes_[nodes.at(i)] = sizes[i];
  }

  std::vector<c10::IValue> run() {
    register_eight_bit_operators();
    register_prepared_convolution();
    const std::vector<Node*> nodes(graph_.nodes().begin(), graph_.nodes().end());
    for (Node* node : nodes) lower(node);
    for (auto it = lowered_.rbegin(); it != lowered_.rend(); ++it) remove(*it);
    torch::jit::EliminateDeadCode(graph_.block());
    for (const Node* node : graph_.nodes()) note_if_float(node);
    return std::move(inputs_);
  }

 private:
  void lower(Node* node) {
    const torch::jit::WithInsertPoint at(node);
    Value* result = nullptr;
    if (choice_.is_arithmetic(node)) {
      result = node->kind() == kFused ? convolution(node) : linear(node);
      ++(node->kind() == kFused ? summary_.convolutions_in_int8 : summary_.linear_in_int8);
    } else if (choice_.is_stored(node)) {
      result = only_moves(node) ? move(node) : clamp(node);
    }
    if (!result) return;
    lowered_.push_back(node);
    if (choice_.is_stored(node)) {
      stored_[node->output()] = result;
    } else {
      node->output()->replaceAllUsesWith(result);
    }
  }

  Value* convolution(Node* node) {
    const auto c = operands_of(node);
    QuantizedConvolution made{.weight = to_eight_bits(weight_of(c)),
                              .bias = constant_tensor(c.bias).value_or(at::Tensor()),
                              .geometry = c.geometry,
                              .input = choice_.scale(c.input),
                              .sum = {},
                              .output = {}};
    if (c.other) made.sum = choice_.scale(c.other);
    if (choice_.is_stored(node)) made.output = choice_.scale(node->output());
    const auto size = sizes_.find(node);
    Value* prepared = add_input(prepare(made, size == sizes_.end() ? std::vector<std::int64_t>() : size->second));
    if (!c.other) return insert(kPreparedConvolution, {stored(c.input), prepared});
    return insert(kPreparedConvolutionInPlace, {stored(c.input), writable(c.other, node), prepared});
  }

  Value* linear(Node* node) {
    const auto weight = to_eight_bits(constant_tensor(node->input(1)).value());
    Scale input = choice_.scale(node->input(0));
    const auto bias = absorb_zero_point(input, weight, constant_tensor(node->input(2)).value_or(at::Tensor()));
    torch::jit::Stack stack{weight.values, c10::IValue()};
    c10::Dispatcher::singleton().findSchemaOrThrow("onednn::qlinear_prepack", "").callBoxed(stack);
    const bool is_stored = choice_.is_stored(node);
    const auto output = is_stored ? choice_.scale(node->output()) : Scale();
    return insert(kLinear,
                  {stored(node->input(0)), constant(input.scale), constant(input.zero_point), add_input(stack.front()),
                   constant(weight.scales), constant(at::zeros_like(weight.scales, at::kInt)),
                   constant(bias.defined() ? c10::IValue(bias) : c10::IValue()), constant(output.scale),
                   constant(output.zero_point), constant(static_cast<std::int64_t>(is_stored ? at::kByte : at::kFloat)),
                   constant(std::string("none")), no_scalars(graph_), constant(std::string())});
  }

  Value* move(Node* node) {
    std::vector<Value*> inputs = node->inputs().vec();
    if (node->kind() == c10::aten::cat) {
      std::vector<Value*> parts;
      for (Value* value : moved(node)) parts.push_back(stored(value));
      inputs[0] = graph_.insertNode(graph_.createList(c10::TensorType::get(), parts))->output();
    } else {
      inputs[0] = stored(inputs[0]);
    }
    return insert(node->kind(), inputs);
  }

  /// Where the stored numbers end at the function's bounds there is nothing left to do.
  Value* clamp(Node* node) {
    const auto bounds = clamp_of(node).value(), range = choice_.range(node->output());
    Value* input = stored(node->input(0));
    if (range.low >= bounds.low && range.high <= bounds.high) return input;
    const auto scale = choice_.scale(node->output());
    const auto place = [&](double bound) {
      return constant(static_cast<std::int64_t>(
          std::clamp(std::round(bound / scale.scale) + static_cast<double>(scale.zero_point), 0.0, 255.0)));
    };
    return insert(c10::aten::clamp, {input, place(bounds.low), place(bounds.high)});
  }

  /// The value as uint8.
  Value* stored(Value* value) {
    if (const auto it = stored_.find(value); it != stored_.end()) return it->second;
    const bool is_input = value->node()->kind() == c10::prim::Param;
    const torch::jit::WithInsertPoint at(is_input ? *graph_.nodes().begin() : value->node()->next());
    Value* converted = convert(kQuantize, value, choice_.scale(value));
    return stored_[value] = converted;
  }

  /// The value as uint8 in memory that `node` may write into: the others who read it have done so.
  Value* writable(Value* value, const Node* node) {
    Value* found = stored(value);
    const auto& uses = value->uses();
    const bool is_own = is_made_new(found->node());
    const bool is_last = std::all_of(uses.begin(), uses.end(), [&](const Use& use) {
      if (use.user == node) return use.offset == 1;
      return !only_moves(use.user) && !is_list(use.user) && use.user->owningBlock() == node->owningBlock() &&
             use.user->isBefore(node);
    });
    if (is_own && is_last) return found;
    return insert(c10::aten::clone, {found, constant(c10::IValue())});
  }
  static bool is_made_new(const Node* node) {
    return is_prepared_convolution(node) || node->kind() == kMaxPool || node->kind() == kQuantize;
  }
  static bool is_list(const Node* node) { return node->kind() == c10::prim::ListConstruct; }

  Value* insert(c10::Symbol kind, at::ArrayRef<Value*> inputs) {
    Value* result = graph_.insertNode(graph_.create(kind, inputs))->output();
    result->setType(c10::TensorType::get());
    return result;
  }
  Value* convert(c10::Symbol kind, Value* value, Scale scale) {
    return insert(kind, {value, constant(scale.scale), constant(scale.zero_point)});
  }

  /// Those who want float32 get it from uint8.
  void remove(Node* node) {
    Value* value = node->output();
    if (value->hasUses()) {
      Value* source = stored_.at(value);
      const torch::jit::WithInsertPoint at(source->node()->next());
      value->replaceAllUsesWith(convert(kDequantize, source, choice_.scale(value)));
    }
    node->destroy();
  }

  void note_if_float(const Node* node) {
    if (node->outputs().size() != 1 || !is_tensor(node->output()) || is_constant(node)) return;
    const bool is_ours = node->kind() == kQuantize || node->kind() == kDequantize ||
                         node->kind() == kPreparedConvolution || node->kind() == kLinear;
    if (is_ours || std::any_of(stored_.begin(), stored_.end(), [&](auto& s) { return s.second == node->output(); }))
      return;
    summary_.in_float.push_back(node->kind().toUnqualString());
  }

  template <class T>
  Value* constant(const T& value) {
    return graph_.insertConstant(c10::IValue(value));
  }
  Value* add_input(c10::IValue value) {
    Value* input = graph_.addInput();
    input->setType(value.isTensor() ? c10::TypePtr(c10::TensorType::get()) : c10::AnyType::get());
    inputs_.push_back(std::move(value));
    return input;
  }

  Graph& graph_;
  Choice choice_;
  PlanSummary& summary_;
  std::map<const Node*, std::vector<std::int64_t>> sizes_;
  std::map<const Value*, Value*> stored_;  ///< float32's values as uint8
  std::vector<Node*> lowered_;
  std::vector<c10::IValue> inputs_;
};

}  // namespace

bool is_eight_bit(const Node* node) {
  return node->kind() == kQuantize || node->kind() == kDequantize || node->kind() == kLinear;
}

bool has_eight_bit_arithmetic() { return at::hasMKLDNN() && (at::cpu::is_avx512_vnni_supported() || has_avx_vnni()); }

FusedGraph quantizable_graph(const graph::Network& network, const Sizes& convolution_inputs, PlanSummary& summary) {
  auto result = fused_graph(network, convolution_inputs, summary);
  if (result.graph) torch::jit::RemoveTensorMutation(result.graph);
  return result;
}

std::vector<Value*> activations(Graph& graph) {
  std::vector<Value*> values{graph.inputs().at(0)};
  for (Node* node : graph.nodes()) {
    if (is_constant(node)) continue;
    for (Value* output : node->outputs())
      if (is_tensor(output)) values.push_back(output);
  }
  return values;
}

std::vector<c10::IValue> lower_to_eight_bits(Graph& graph, const Calibration& calibration, const Sizes& sizes,
                                             PlanSummary& summary) {
  return Lowering(graph, calibration, sizes, summary).run();
}

}  // namespace graft::engine
