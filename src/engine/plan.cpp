// Freezing and folding are LibTorch's passes; what it does not have on the CPU is the fusion with prepacked weights,
// which TorchInductor uses: torch/_inductor/fx_passes/mkldnn_fusion.py, aten/src/ATen/native/mkldnn/Conv.cpp.

#include "engine/plan.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Config.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/jit/ir/alias_analysis.h>
#include <torch/csrc/jit/passes/constant_propagation.h>
#include <torch/csrc/jit/passes/dead_code_elimination.h>
#include <torch/csrc/jit/passes/freeze_module.h>
#include <torch/csrc/jit/passes/frozen_graph_optimizations.h>
#include <torch/csrc/jit/passes/inliner.h>
#include <torch/csrc/jit/passes/remove_dropout.h>
#include <torch/csrc/jit/runtime/interpreter.h>

#include "engine/execute.h"
#include "graph/jit.h"

namespace graft::engine {

namespace {

using torch::jit::Graph;
using torch::jit::Node;
using torch::jit::Value;

const auto kFused = c10::Symbol::fromQualString("mkldnn::_convolution_pointwise");
const auto kFusedInPlace = c10::Symbol::fromQualString("mkldnn::_convolution_pointwise_");

/// A convolution over two dimensions whose weights are known.
struct Convolution {
  at::Tensor weight, bias;  ///< bias may be undefined
  std::vector<std::int64_t> stride, padding, dilation;
  std::int64_t groups = 1;
};

std::optional<Convolution> convolution_of(const Node* node) {
  const bool plain = node->kind() == c10::aten::conv2d, general = node->kind() == c10::aten::_convolution;
  if (!plain && !general) return std::nullopt;
  const auto weight = torch::jit::toIValue(node->input(1)), bias = torch::jit::toIValue(node->input(2));
  if (!weight || !weight->isTensor() || !bias) return std::nullopt;
  Convolution c{weight->toTensor(), bias->isTensor() ? bias->toTensor() : at::Tensor(), {}, {}, {}, 1};
  const auto lists = {std::pair(&c.stride, std::size_t{3}), std::pair(&c.padding, std::size_t{4}),
                      std::pair(&c.dilation, std::size_t{5})};
  for (const auto& [list, index] : lists) {
    const auto value = torch::jit::toIValue(node->input(index));
    if (!value || !value->isIntList()) return std::nullopt;  // padding may be a word: "same"
    *list = value->toIntVector();
    if (list->size() == 1) list->push_back(list->front());
  }
  if (general) {
    const auto transposed = torch::jit::toIValue(node->input(6));
    if (!transposed || !transposed->isBool() || transposed->toBool()) return std::nullopt;
  }
  const auto groups = torch::jit::toIValue(node->input(general ? 8 : 6));
  if (!groups || !groups->isInt()) return std::nullopt;
  c.groups = groups->toInt();
  if (c.weight.dim() != 4 || c.weight.scalar_type() != at::kFloat || !c.weight.is_cpu()) return std::nullopt;
  return c;
}

bool is_relu(const Node* node) { return node->kind() == c10::aten::relu || node->kind() == c10::aten::relu_; }

bool is_sum(const Node* node) {
  if (node->kind() != c10::aten::add && node->kind() != c10::aten::add_) return false;
  const auto alpha = torch::jit::toIValue(node->input(2));
  return node->input(1)->type()->isSubtypeOf(*c10::TensorType::get()) && alpha && alpha->isInt() && alpha->toInt() == 1;
}

/// The only node that uses the value; null if there are several, or none.
Node* only_user(const Value* value) { return value->uses().size() == 1 ? value->uses().front().user : nullptr; }

/// The weight in the layout that oneDNN's kernels want, which is opaque to everything else.
at::Tensor prepacked(const at::Tensor& weight, const Convolution& c, const c10::IValue& input_size) {
  const auto reorder = c10::Dispatcher::singleton().findSchemaOrThrow("mkldnn::_reorder_convolution_weight", "");
  torch::jit::Stack stack{weight, c.padding, c.stride, c.dilation, c.groups, input_size};
  reorder.callBoxed(stack);
  return stack.front().toTensor();
}

std::vector<Node*> convolutions(Graph& graph) {
  std::vector<Node*> nodes;
  for (Node* node : graph.block()->nodes())
    if (node->kind() == c10::aten::conv2d || node->kind() == c10::aten::_convolution) nodes.push_back(node);
  return nodes;
}

/// What goes into the convolutions, in order, when the graph runs on `input`.
std::vector<std::vector<std::int64_t>> convolution_inputs(Graph& graph, const at::Tensor& input) {
  auto observed = graph.copy();
  std::vector<Value*> inputs;
  for (const Node* node : convolutions(*observed)) inputs.push_back(node->input(0));
  Node* tuple = observed->createTuple(inputs);
  observed->appendNode(tuple);
  observed->eraseOutput(0);
  observed->registerOutput(tuple->output());
  std::vector<std::vector<std::int64_t>> sizes;
  const auto values = execute(torch::jit::Code(observed, "shapes"), {input}).toTuple();
  for (const auto& value : values->elements()) sizes.push_back(value.toTensor().sizes().vec());
  return sizes;
}

class Fusion {
 public:
  Fusion(std::shared_ptr<Graph> graph, Precision precision, std::vector<at::Tensor>& weights, PlanSummary& summary)
      : graph_(std::move(graph)), precision_(precision), weights_(weights), summary_(summary) {}

  /// `sizes` are those of the convolutions' inputs, in order; empty if they are not known.
  void run(const std::vector<std::vector<std::int64_t>>& sizes) {
    const auto nodes = convolutions(*graph_);
    summary_.convolutions = std::ssize(nodes);
    for (std::size_t i = 0; i < nodes.size(); ++i)
      if (auto convolution = convolution_of(nodes[i]))
        fuse(nodes[i], *convolution, i < sizes.size() ? &sizes[i] : nullptr);
    torch::jit::EliminateDeadCode(graph_->block());
  }

 private:
  void fuse(Node* node, const Convolution& c, const std::vector<std::int64_t>* sizes) {
    Node* last = node;
    Value* other = nullptr;
    Node* sum = only_user(node->output());
    // The other operand must be there when this one runs, and must not be this one.
    if (sum && is_sum_of(sum, node) && can_move_to(node, sum)) {
      other = sum->input(sum->input(0) == node->output() ? 1 : 0);
      last = sum;
    }
    Node* relu = only_user(last->output());
    const bool with_relu = relu && is_relu(relu) && can_move_to(node, relu);
    if (with_relu) last = relu;

    const torch::jit::WithInsertPoint at(last);
    const auto list = [&](const std::vector<std::int64_t>& values) { return graph_->insertConstant(values); };
    std::vector<Value*> inputs{node->input(0)};
    const bool in_place = other && may_be_overwritten(other, sum);
    if (other) inputs.insert(in_place ? inputs.begin() : inputs.end(), other);
    inputs.push_back(weight(c, sizes ? c10::IValue(*sizes) : c10::IValue()));
    inputs.push_back(c.bias.defined() ? tensor(c.bias) : none());
    for (const auto* values : {&c.padding, &c.stride, &c.dilation}) inputs.push_back(list(*values));
    inputs.push_back(graph_->insertConstant(c.groups));
    const char* activation = with_relu ? "relu" : "none";
    if (other) {
      inputs.push_back(graph_->insertConstant(std::string("add")));
      inputs.push_back(none());
      inputs.push_back(with_relu ? graph_->insertConstant(std::string(activation)) : none());
    } else {
      inputs.push_back(graph_->insertConstant(std::string(activation)));
    }
    inputs.push_back(no_scalars());
    inputs.push_back(with_relu ? graph_->insertConstant(std::string("")) : none());
    Node* fused = graph_->insertNode(graph_->create(in_place ? kFusedInPlace : kFused, inputs));
    fused->output()->setType(c10::TensorType::get());
    last->output()->replaceAllUsesWith(fused->output());
    if (with_relu) relu->destroy();
    if (other) sum->destroy();
    node->destroy();
    ++summary_.prepacked;
    summary_.with_relu += with_relu;
    summary_.with_add += other != nullptr;
  }

  /// Adds something else to the convolution's output, and changes nothing but that.
  bool is_sum_of(const Node* sum, const Node* node) const {
    return is_sum(sum) && sum->input(0) != sum->input(1) &&
           (sum->kind() == c10::aten::add || sum->input(0) == node->output());
  }

  /// In the same block, and nothing between them writes into the convolution's input.
  bool can_move_to(Node* node, Node* place) const {
    if (place->owningBlock() != node->owningBlock()) return false;
    const torch::jit::AliasDb aliases(graph_);
    for (Node* between = node->next(); between != place; between = between->next())
      if (aliases.writesToAlias(between, {node->input(0)})) return false;
    return true;
  }

  /// The result may go into the operand's own memory: an operator made it as a tensor of its own, and nobody looks at
  /// it after the sum. Convolutions that are not fused yet may still move behind it.
  static bool may_be_overwritten(const Value* other, const Node* sum) {
    const auto is_fused = [](const Node* node) { return node->kind() == kFused || node->kind() == kFusedInPlace; };
    return is_fused(other->node()) && std::all_of(other->uses().begin(), other->uses().end(), [&](const auto& use) {
             return use.user == sum ||
                    (is_fused(use.user) && use.user->owningBlock() == sum->owningBlock() && use.user->isBefore(sum));
           });
  }

  /// Tensors in oneDNN's layout cannot be constants of a graph: they become inputs of it.
  Value* tensor(const at::Tensor& value) {
    weights_.push_back(precision_ == Precision::kBFloat16 && value.scalar_type() == at::kFloat ? value.to(at::kBFloat16)
                                                                                               : value);
    Value* input = graph_->addInput();
    input->setType(c10::TensorType::get());
    return input;
  }

  Value* weight(const Convolution& c, const c10::IValue& input_size) {
    Value* input = tensor(c.weight);
    weights_.back() = prepacked(weights_.back().contiguous(), c, input_size);
    return input;
  }

  Value* none() { return graph_->insertConstant(c10::IValue()); }

  /// An empty Scalar?[].
  Value* no_scalars() {
    Node* list = graph_->insertNode(
        graph_->createList(c10::OptionalType::create(c10::NumberType::get()), std::vector<Value*>()));
    return list->output();
  }

  std::shared_ptr<Graph> graph_;
  Precision precision_;
  std::vector<at::Tensor>& weights_;
  PlanSummary& summary_;
};

/// Float tensors in the graph become bfloat16, as the convolutions' already are.
void lower_constants(Graph& graph) {
  std::vector<Node*> constants;
  for (Node* node : graph.nodes())
    if (node->kind() == c10::prim::Constant && node->output()->type()->isSubtypeOf(*c10::TensorType::get()))
      constants.push_back(node);
  for (Node* node : constants) {
    const auto value = torch::jit::toIValue(node->output());
    if (!value || !value->isTensor() || value->toTensor().scalar_type() != at::kFloat) continue;
    const torch::jit::WithInsertPoint at(node);
    node->output()->replaceAllUsesWith(graph.insertConstant(value->toTensor().to(at::kBFloat16)));
    node->destroy();
  }
}

bool can_run(Precision precision) {
  if (!at::hasMKLDNN()) return false;
  if (precision == Precision::kFloat32) return true;
  const auto supported = c10::Dispatcher::singleton().findSchema({"mkldnn::_is_mkldnn_bf16_supported", ""});
  return supported && supported->typed<bool()>().call();
}

}  // namespace

struct Plan::Impl {
  Precision precision;
  PlanSummary summary;
  std::vector<at::Tensor> weights;  ///< inputs of the code behind the first
  std::optional<torch::jit::Code> code;
};

Plan::Plan(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Plan::~Plan() = default;
const PlanSummary& Plan::summary() const { return impl_->summary; }

std::unique_ptr<const Plan> Plan::compile(const graph::Network& network, Precision precision,
                                          const at::Tensor& single) try {
  if (!can_run(precision)) return nullptr;
  const auto tensors = network.named_parameters();
  if (tensors.empty() || !tensors.front().second.is_cpu()) return nullptr;
  const at::NoGradGuard no_grad;
  auto impl = std::make_unique<Impl>(Impl{precision, {}, {}, {}});
  const auto frozen = torch::jit::freeze_module(network.jit().module);
  auto graph = frozen.get_method("forward").graph()->copy();
  torch::jit::Inline(*graph);
  torch::jit::ConstantPropagation(graph);
  torch::jit::removeDropout(graph);
  torch::jit::OptimizeFrozenGraph(graph);
  if (graph->inputs().size() != 2 || graph->inputs().at(0)->hasUses()) return nullptr;  // something is still looked up
  graph->eraseInput(0);
  Fusion(graph, precision, impl->weights, impl->summary)
      .run(single.defined() ? convolution_inputs(*graph, single) : std::vector<std::vector<std::int64_t>>());
  if (impl->summary.prepacked == 0) return nullptr;
  if (precision == Precision::kBFloat16) lower_constants(*graph);
  graph->lint();
  impl->code.emplace(graph, "plan");
  return std::unique_ptr<const Plan>(new Plan(std::move(impl)));
} catch (const std::bad_alloc&) {
  throw;
} catch (const std::exception&) {
  return nullptr;  // what LibTorch's passes cannot do, the interpreter can
}

at::Tensor Plan::run(const at::Tensor& input) const {
  const at::NoGradGuard no_grad;
  torch::jit::Stack stack;
  stack.reserve(1 + impl_->weights.size());
  stack.emplace_back(impl_->precision == Precision::kBFloat16 ? input.to(at::kBFloat16, /*non_blocking=*/false,
                                                                         /*copy=*/false, at::MemoryFormat::ChannelsLast)
                                                              : input);
  stack.insert(stack.end(), impl_->weights.begin(), impl_->weights.end());
  return one_tensor(execute(*impl_->code, std::move(stack))).to(at::kFloat);
}

}  // namespace graft::engine
