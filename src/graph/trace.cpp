#include "graph/trace.h"

#include <algorithm>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include <ATen/core/grad_mode.h>
#include <ATen/ops/equal.h>
#include <torch/csrc/jit/api/compilation_unit.h>
#include <torch/csrc/jit/api/function_impl.h>
#include <torch/csrc/jit/frontend/tracer.h>
#include <torch/csrc/jit/ir/constants.h>
#include <torch/csrc/jit/passes/dead_code_elimination.h>
#include <torch/csrc/jit/passes/shape_analysis.h>

#include <graft/error.h>

#include "base/translate.h"
#include "graph/jit.h"

namespace graft::graph {

namespace {

using torch::jit::Graph;
using torch::jit::Module;
using torch::jit::Node;
using torch::jit::Value;

using GraphPtr = std::shared_ptr<Graph>;

/// The tracer warns of what it cannot follow; the comparison afterwards finds it, and the library does not print.
class Silence : public c10::WarningHandler {
 public:
  void process(const c10::Warning&) override {}
};

/// Buffers as they were: a batch norm counts and averages while it is traced.
class KeptBuffers {
 public:
  explicit KeptBuffers(const Module& module) {
    for (const auto& buffer : module.buffers()) kept_.emplace_back(buffer, buffer.clone());
  }
  ~KeptBuffers() {
    const at::NoGradGuard no_grad;
    for (auto& [buffer, copy] : kept_) buffer.copy_(copy);
  }
  KeptBuffers(const KeptBuffers&) = delete;
  KeptBuffers& operator=(const KeptBuffers&) = delete;

 private:
  std::vector<std::pair<at::Tensor, at::Tensor>> kept_;
};

/// Devices of the example become those of the input at hand.
void follow_device(Graph& graph) {
  Value* device = nullptr;
  std::vector<Node*> constants;
  for (Node* node : graph.nodes())
    if (node->kind() == c10::prim::Constant && node->output()->type()->kind() == c10::TypeKind::DeviceObjType)
      constants.push_back(node);
  for (Node* node : constants) {
    if (!device) {
      Node* asks = graph.create(c10::prim::device, {graph.inputs().at(1)});
      asks->output()->setType(c10::DeviceObjType::get());
      graph.prependNode(asks);
      device = asks->output();
    }
    node->output()->replaceAllUsesWith(device);
    node->destroy();
  }
}

void refuse_foreign_tensors(const Graph& graph) {
  for (const Node* node : graph.nodes()) {
    if (node->kind() != c10::prim::Constant || !is_tensor(node->output())) continue;
    const auto constant = torch::jit::toIValue(node->output());
    // Numbers in arithmetic come as tensors without dimensions.
    if (!constant || !constant->isTensor() || !constant->toTensor().defined() || constant->toTensor().dim() == 0)
      continue;
    throw Error(
        ErrorCode::kMismatch,
        c10::str("the head uses a tensor ", constant->toTensor().sizes(),
                 " that is neither a parameter nor a buffer nor computed from the features: it would be neither "
                 "trained nor moved to another device; register it with register_parameter or "
                 "register_buffer"));
  }
}

GraphPtr record(Module& mirror, const Traceable& module, const at::Tensor& example) {
  Silence silence;
  const c10::WarningUtils::WarningHandlerGuard quiet(&silence);
  const KeptBuffers buffers(mirror);
  const at::AutoGradMode with_gradients(true);
  const auto state = torch::jit::tracer::trace(
      {example},
      [&](torch::jit::Stack inputs) -> torch::jit::Stack { return {module.forward(inputs.at(0).toTensor())}; },
      [](const at::Tensor&) { return std::string(); }, /*strict=*/true, /*force_outplace=*/false, &mirror);
  auto graph = state.first->graph;
  torch::jit::EraseShapeInformation(graph);  // the example's sizes are not everyone's
  torch::jit::EliminateDeadCode(graph);
  refuse_foreign_tensors(*graph);
  follow_device(*graph);
  return graph;
}

/// What a value is made of rather than what it does.
bool is_expression(const Node* node) {
  return node->kind() == c10::prim::Constant || node->kind() == c10::prim::GetAttr ||
         node->kind() == c10::prim::ListConstruct || node->kind() == c10::prim::device;
}

std::vector<Node*> statements(Graph& graph) {
  std::vector<Node*> list;
  for (Node* node : graph.nodes())
    if (!is_expression(node)) list.push_back(node);
  return list;
}

bool is_unused(const Node* node) {
  for (const Value* output : node->outputs())
    if (output->hasUses()) return false;
  return true;
}

/// Where the recording with one flag off differs from the recording with all of them on.
struct Difference {
  std::vector<std::pair<Node*, std::size_t>> flags;  ///< inputs that are true only with the flag
  std::vector<Node*> only_on;                        ///< statements that run only with the flag, for their effect alone
};

class Comparison {
 public:
  Comparison(Graph& on, Graph& off) : on_(on), off_(off) {}

  /// Nothing if they differ by more than a Difference can say.
  std::optional<Difference> run() {
    const auto on = statements(on_), off = statements(off_);
    std::size_t at = 0;
    for (Node* node : on) {
      if (at < off.size() && matches(node, off[at])) {
        partner_[node] = off[at++];
      } else if (is_unused(node)) {
        found_.only_on.push_back(node);
      } else {
        return std::nullopt;
      }
    }
    if (at < off.size() || !same(on_.outputs().at(0), off_.outputs().at(0))) return std::nullopt;
    return std::move(found_);
  }

 private:
  bool matches(Node* on, Node* off) {
    if (on->kind() != off->kind() || on->inputs().size() != off->inputs().size() ||
        on->outputs().size() != off->outputs().size())
      return false;
    std::vector<std::pair<Node*, std::size_t>> flags;
    for (std::size_t i = 0; i < on->inputs().size(); ++i) {
      if (same(on->input(i), off->input(i))) continue;
      if (!is_constant(on->input(i), true) || !is_constant(off->input(i), false)) return false;
      flags.emplace_back(on, i);
    }
    found_.flags.insert(found_.flags.end(), flags.begin(), flags.end());
    return true;
  }

  bool same(const Value* on, const Value* off) const {
    const Node* a = on->node();
    const Node* b = off->node();
    if (on->offset() != off->offset()) return false;
    if (a->kind() == c10::prim::Param || b->kind() == c10::prim::Param) return a->kind() == b->kind();
    if (!is_expression(a)) {
      const auto it = partner_.find(a);
      return it != partner_.end() && it->second == b;
    }
    if (a->kind() != b->kind() || a->inputs().size() != b->inputs().size()) return false;
    if (a->kind() == c10::prim::GetAttr && a->s(c10::attr::name) != b->s(c10::attr::name)) return false;
    if (a->kind() == c10::prim::Constant) return same_constant(on, off);
    for (std::size_t i = 0; i < a->inputs().size(); ++i)
      if (!same(a->input(i), b->input(i))) return false;
    return true;
  }

  static bool is_constant(const Value* value, bool expected) {
    const auto constant = torch::jit::toIValue(value);
    return constant && constant->isBool() && constant->toBool() == expected;
  }

  static bool same_constant(const Value* on, const Value* off) {
    const auto a = torch::jit::toIValue(on), b = torch::jit::toIValue(off);
    if (!a || !b || a->tagKind() != b->tagKind()) return !a && !b;
    if (a->isTensor()) return at::equal(a->toTensor(), b->toTensor());
    return *a == *b;
  }

  Graph& on_;
  Graph& off_;
  std::unordered_map<const Node*, const Node*> partner_;
  Difference found_;
};

/// self.PATH.training, read before `place`.
Value* training_flag(Graph& graph, Node* place, const Module& mirror, const std::string& path) {
  Value* value = graph.inputs().at(0);
  Module at = mirror;
  const auto get = [&](const std::string& name, const c10::TypePtr& type) {
    Node* getter = graph.create(c10::prim::GetAttr, {value});
    getter->s_(c10::attr::name, name);
    getter->output()->setType(type);
    getter->insertBefore(place);
    value = getter->output();
  };
  for (std::size_t begin = 0; begin < path.size();) {
    const auto end = std::min(path.find('.', begin), path.size());
    const std::string name = path.substr(begin, end - begin);
    at = at.attr(name).toModule();
    get(name, at.type());
    begin = end + 1;
  }
  get("training", c10::BoolType::get());
  return value;
}

void make_conditional(Graph& graph, const Module& mirror, const std::string& path, const Difference& difference) {
  for (const auto& [node, index] : difference.flags) {
    Value* flag = training_flag(graph, node, mirror, path);
    // A second flag on the same constant: both must be on.
    if (const Value* old = node->input(index); old->node()->kind() != c10::prim::Constant) {
      Node* both = graph.create(c10::aten::__and__, {node->input(index), flag});
      both->output()->setType(c10::BoolType::get());
      both->insertBefore(node);
      flag = both->output();
    }
    node->replaceInput(index, flag);
  }
  for (Node* node : difference.only_on) {
    Node* condition = graph.create(c10::prim::If, {training_flag(graph, node, mirror, path)}, 0);
    condition->insertBefore(node);
    node->moveBefore(condition->addBlock()->return_node());
    condition->addBlock();
  }
}

/// if self.PATH.training: ON else: OFF, both over the same inputs.
GraphPtr either(Graph& on, Graph& off, const Module& mirror, const std::string& path) {
  auto graph = std::make_shared<Graph>();
  for (const Value* input : on.inputs()) graph->addInput()->setType(input->type());
  Node* condition = graph->create(c10::prim::If, {training_flag(*graph, graph->return_node(), mirror, path)}, 0);
  graph->appendNode(condition);
  for (Graph* recording : {&on, &off}) {
    auto* block = condition->addBlock();
    std::unordered_map<const Value*, Value*> values;
    for (std::size_t i = 0; i < graph->inputs().size(); ++i) values[recording->inputs().at(i)] = graph->inputs().at(i);
    for (Node* node : recording->nodes()) {
      Node* copy = block->appendNode(graph->createClone(node, [&](Value* old) { return values.at(old); }));
      for (std::size_t i = 0; i < node->outputs().size(); ++i) values[node->output(i)] = copy->output(i);
    }
    block->registerOutput(values.at(recording->outputs().at(0)));
  }
  graph->registerOutput(condition->addOutput()->setType(c10::TensorType::get()));
  return graph;
}

void list_paths(const ModuleTree& tree, const std::string& path, std::vector<std::string>& paths) {
  paths.push_back(path);
  for (const auto& [name, child] : tree.children) list_paths(child, path.empty() ? name : path + "." + name, paths);
}

}  // namespace

NetworkBuilder mirror(const ModuleTree& tree, const Network& beside) {
  NetworkBuilder builder(tree.type, beside);
  for (const auto& [name, tensor] : tree.parameters) builder.parameter(name, tensor);
  for (const auto& [name, tensor] : tree.buffers) builder.buffer(name, tensor);
  for (const auto& [name, child] : tree.children) builder.child(name, mirror(child, beside));
  return builder;
}

namespace {

/// Recordings of one module.
class Recorder {
 public:
  Recorder(Module self, const Traceable& module, const at::Tensor& example)
      : self_(std::move(self)), module_(module), example_(example) {}

  GraphPtr record_without(const std::vector<std::string>& off) {
    module_.train(off);
    return record(self_, module_, example_);
  }

  /// The recording with the flags of `off` off and those of `paths` read at each run. What differs by more than a flag
  /// can say is added to `deciding`.
  GraphPtr conditional(const std::vector<std::string>& paths, const std::vector<std::string>& off,
                       std::vector<std::string>& deciding) {
    auto graph = record_without(off);
    std::vector<std::pair<std::string, Difference>> differences;
    for (const auto& path : paths) {
      if (std::find(off.begin(), off.end(), path) != off.end()) continue;
      auto also_off = off;
      also_off.push_back(path);
      if (auto difference = Comparison(*graph, *record_without(also_off)).run()) {
        differences.emplace_back(path, std::move(*difference));
      } else {
        deciding.push_back(path);
      }
    }
    for (const auto& [path, difference] : differences) make_conditional(*graph, self_, path, difference);
    return graph;
  }

 private:
  Module self_;
  const Traceable& module_;
  const at::Tensor& example_;
};

}  // namespace

Network trace(const ModuleTree& tree, const Traceable& module, const at::Tensor& example, const Network& beside) {
  auto builder = mirror(tree, beside);
  const Module self = builder.jit().module;
  std::vector<std::string> paths, deciding, undecided;
  list_paths(tree, "", paths);
  Recorder recorder(self, module, example);
  auto graph = recorder.conditional(paths, {}, deciding);
  if (!deciding.empty())
    graph = either(*graph, *recorder.conditional(paths, deciding, undecided), self, deciding.front());
  torch::jit::EliminateDeadCode(graph);
  graph->lint();

  const auto type = self.type();
  auto* function =
      type->compilation_unit()->create_function(c10::QualifiedName(*type->name(), "forward"), std::move(graph));
  type->addMethod(function);
  return builder.build();
}

}  // namespace graft::graph
