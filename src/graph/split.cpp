#include "graph/split.h"

#include <algorithm>
#include <locale>
#include <map>
#include <set>
#include <sstream>
#include <utility>
#include <vector>

#include <torch/csrc/jit/api/compilation_unit.h>
#include <torch/csrc/jit/ir/alias_analysis.h>
#include <torch/csrc/jit/ir/constants.h>
#include <torch/csrc/jit/passes/constant_propagation.h>
#include <torch/csrc/jit/passes/dead_code_elimination.h>

#include "base/tensor_hash.h"
#include "base/translate.h"
#include "graph/branches.h"
#include "graph/to_run.h"

namespace graft::graph {

namespace {

using torch::jit::Block;
using torch::jit::Graph;
using torch::jit::IValue;
using torch::jit::Module;
using torch::jit::Node;
using torch::jit::Value;
using GraphPtr = std::shared_ptr<Graph>;

bool is_module(const Value* value) {
  const auto type = value->type()->cast<c10::ClassType>();
  return type && type->is_module();
}

/// No memory that anything could write into.
bool is_plain(const Value* value) {
  static const std::set<c10::TypeKind> kinds{
      c10::TypeKind::IntType,    c10::TypeKind::FloatType, c10::TypeKind::BoolType,     c10::TypeKind::NumberType,
      c10::TypeKind::StringType, c10::TypeKind::NoneType,  c10::TypeKind::DeviceObjType};
  return kinds.contains(value->type()->kind());
}

// --- The graph as it runs in one mode

/// forward, flat, with the attributes that are plain values as constants and the branches that these decide gone.
/// Values that two modes have in common have the same name in both.
GraphPtr folded(const Module& module, bool training) {
  auto graph = flatten_to_run(module).graph;
  const Value* self = graph->inputs().at(0);
  std::size_t count = 0;
  std::vector<Node*> attributes;
  for_each_node(graph->block(), [&](Node* node) {
    for (Value* output : node->outputs()) output->setDebugName("value" + std::to_string(count++));
    if (node->kind() == c10::prim::GetAttr) attributes.push_back(node);
  });
  const Branches branches(module);
  for (Node* node : attributes) {
    auto value = branches.value_of(node->output(), module, self);
    if (node->s(c10::attr::name) == "training" && !branches.is_set_somewhere("training"))
      if (const auto flag = attribute(module, node->output(), self); flag && flag->isBool())
        value = training && flag->toBool();
    if (!value) continue;
    const torch::jit::WithInsertPoint at(node);
    node->output()->replaceAllUsesWith(graph->insertConstant(*value));
  }
  while (torch::jit::ConstantPropagation(graph)) {  // one pass does not find all, nor always the same
  }
  torch::jit::EliminateDeadCode(graph);
  return graph;
}

// --- What may change

/// An operator that asks whether it trains, and may be told so.
bool may_train(const Node* node) {
  for (const char* name : {"training", "train", "use_input_stats"})
    if (const auto* value = input_named(node, name)) return torch::jit::constant_as<bool>(value).value_or(true);
  return false;
}

bool draws_random_numbers(const Node* node) {
  for (const char* name : {"training", "train"})
    if (input_named(node, name)) return false;  // may_train() knows
  if (const auto* probability = input_named(node, "dropout_p"))
    return torch::jit::constant_as<double>(probability).value_or(1) != 0;
  const auto* op = node->maybeOperator();
  const auto tags = op ? op->getTags() : c10::ArrayRef<at::Tag>();
  return node->isNondeterministic() ||
         std::find(tags.begin(), tags.end(), at::Tag::nondeterministic_seeded) != tags.end();
}

/// What it does is not to be seen here, or does not end with its outputs.
bool is_unknown(const Node* node) {
  static const std::set<c10::Symbol> calls{c10::prim::CallMethod, c10::prim::CallFunction, c10::prim::CreateObject};
  if (calls.contains(node->kind()) || node->hasAttribute(c10::attr::Subgraph)) return true;
  return node->hasSideEffects() && node->blocks().empty() && node->kind() != c10::prim::RaiseException;
}

/// A flat graph's nodes in order, what each depends on, and which may do something else in the next step.
class Dependences {
 public:
  Dependences(const GraphPtr& graph, const Module& module)
      : graph_(graph), module_(module), self_(graph->inputs().at(0)), input_(graph->inputs().at(1)), aliases_(graph) {
    for (Node* node : graph->nodes()) {
      position_[node] = nodes_.size();
      nodes_.push_back(node);
    }
    for_each_node(graph->block(), [&](Node* node) {
      if (node->kind() == c10::prim::GetAttr) outside_.insert(node->output());
    });
    outside_.insert(input_);
    for (std::size_t i = 0; i < nodes_.size(); ++i) look_at(i);
    output_changes_ = live_output();
  }

  const std::vector<Node*>& nodes() const { return nodes_; }
  bool is_live(std::size_t i) const { return live_[i]; }
  std::size_t position(const Node* node) const { return position_.at(node); }
  bool output_changes() const { return output_changes_; }

  /// What depends on the network's input without going through node `cut`, by position. Nothing if something that may
  /// change or comes behind the cut is among it, so that `cut` does not part the network in two.
  std::optional<std::vector<char>> before(std::size_t cut) const {
    std::vector<char> reached(nodes_.size(), 0);
    bool passes_input = false;
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
      if (i == cut) {
        passes_input = depends(i, reached);
        continue;
      }
      reached[i] = depends(i, reached);
      if (reached[i] && (live_[i] || i > cut)) return std::nullopt;
    }
    const auto* output = graph_->outputs().at(0);
    if (!passes_input || output == input_ || (position_.contains(output->node()) && reached[position(output->node())]))
      return std::nullopt;
    reached[cut] = 1;
    return reached;
  }

 private:
  bool depends(std::size_t i, const std::vector<char>& reached) const {
    return reads_input_[i] ||
           std::any_of(after_[i].begin(), after_[i].end(), [&](std::size_t earlier) { return reached[earlier]; });
  }

  bool live_output() const {
    const auto it = position_.find(graph_->outputs().at(0)->node());
    return it != position_.end() && live_[it->second];
  }

  /// Values of the top level that the node or its blocks use.
  void collect(Node* node, std::set<Value*>& values) const {
    const auto add = [&](Value* value) {
      if (value->node()->owningBlock() == graph_->block() || value->node() == graph_->param_node())
        values.insert(value);
    };
    for (Value* value : node->inputs()) add(value);
    for (Block* block : node->blocks()) {
      for (Value* value : block->outputs()) add(value);
      for (Node* inner : block->nodes()) collect(inner, values);
    }
  }

  void look_at(std::size_t i) {
    std::set<Value*> used;
    collect(nodes_[i], used);
    std::set<std::size_t> after;
    bool reads_input = false;
    for (Value* value : used) {
      const bool made_here = position_.contains(value->node());
      if (made_here) after.insert(position(value->node()));
      reads_input = reads_input || value == input_;
      // What an attribute holds was there before it was looked up.
      const bool new_here = made_here && value->node()->kind() != c10::prim::GetAttr;
      add_writers(value, new_here ? position(value->node()) + 1 : 0, i, after);
    }
    after_.emplace_back(after.begin(), after.end());
    reads_input_.push_back(reads_input);
    live_.push_back(changes_by_itself(nodes_[i]) ||
                    std::any_of(after.begin(), after.end(), [&](std::size_t earlier) { return live_[earlier]; }));
    if (may_write(nodes_[i])) writers_.push_back(i);
  }

  /// Nodes from `first` on, up to `end`, that write into `value`: who reads it then depends on them.
  void add_writers(Value* value, std::size_t first, std::size_t end, std::set<std::size_t>& after) const {
    if (is_plain(value) || value->node()->kind() == c10::prim::Constant || value == self_ || is_module(value)) return;
    for (auto it = std::lower_bound(writers_.begin(), writers_.end(), first); it != writers_.end() && *it < end; ++it)
      if (!is_tensor(value) || aliases_.writesToAlias(nodes_[*it], {value})) after.insert(*it);
  }

  static bool may_write(const Node* node) {
    const auto* schema = node->maybeSchema();
    return !node->blocks().empty() || (schema ? schema->is_mutable() : node->hasSideEffects());
  }

  bool changes_by_itself(Node* node) const {
    if (node->kind() == c10::prim::GetAttr) return reads_what_changes(node);
    if (is_unknown(node) || may_train(node) || draws_random_numbers(node)) return true;
    if (may_write(node) && aliases_.writesToAlias(node, outside_)) return true;
    for (Block* block : node->blocks())
      for (Node* inner : block->nodes())
        if (changes_by_itself(inner)) return true;
    return false;
  }

  /// A parameter that trains, or an attribute that is neither a tensor nor a sub-module (those that do not change are
  /// constants by now).
  bool reads_what_changes(const Node* node) const {
    if (is_module(node->output())) return false;
    const auto value = attribute(module_, node->output(), self_);
    return !value || !value->isTensor() || value->toTensor().requires_grad();
  }

  GraphPtr graph_;
  const Module& module_;
  Value *self_, *input_;
  torch::jit::AliasDb aliases_;
  torch::jit::ValueSet outside_;  ///< what the graph does not make itself
  std::vector<Node*> nodes_;
  std::map<const Node*, std::size_t> position_;
  std::vector<std::vector<std::size_t>> after_;
  std::vector<std::size_t> writers_;
  std::vector<char> reads_input_, live_;
  bool output_changes_ = false;
};

// --- The two parts

/// Destroys the nodes whose positions are marked; nothing else may use them.
void destroy(Graph& graph, const std::vector<char>& marked) {
  std::vector<Node*> nodes;
  std::size_t i = 0;
  for (Node* node : graph.nodes())
    if (marked[i++]) nodes.push_back(node);
  for (auto it = nodes.rbegin(); it != nodes.rend(); ++it) (*it)->destroy();
}

Node* node_at(Graph& graph, std::size_t position) {
  return *std::next(graph.nodes().begin(), static_cast<long>(position));
}

GraphPtr first_part(Graph& whole, std::size_t cut, const Dependences& dependences) {
  auto graph = whole.copy();
  Value* value = node_at(*graph, cut)->output();
  graph->eraseOutput(0);
  graph->registerOutput(value);
  std::vector<char> gone;
  for (std::size_t i = 0; i < dependences.nodes().size(); ++i) gone.push_back(i > cut || dependences.is_live(i));
  destroy(*graph, gone);
  torch::jit::EliminateDeadCode(graph);
  return graph;
}

GraphPtr second_part(Graph& whole, std::size_t cut, const std::vector<char>& before) {
  auto graph = whole.copy();
  Value* value = node_at(*graph, cut)->output();
  Value* input = graph->addInput();
  input->setType(c10::TensorType::get());
  value->replaceAllUsesWith(input);
  destroy(*graph, before);
  graph->eraseInput(1);
  torch::jit::EliminateDeadCode(graph);
  protect_input(graph, 1);  // features may be kept for the next epoch
  graph->lint();
  return graph;
}

/// A graph in words that are the same in any process: values by number, constants where they are used.
class Text {
 public:
  explicit Text(const Graph& graph) {
    out_.exceptions(std::ios::badbit);  // a lack of memory is thrown on, not kept to itself
    out_.imbue(std::locale::classic());
    for (const Value* input : graph.inputs()) name(input);
    print(graph.block());
  }
  std::string str() const { return out_.str(); }

 private:
  void print(const Block* block) {
    for (const Value* input : block->inputs()) name(input);
    for (const Node* node : block->nodes()) {
      if (node->kind() == c10::prim::Constant) continue;
      for (const Value* output : node->outputs()) out_ << name(output) << ' ';
      out_ << "= " << node->kind().toQualString();
      if (const auto* schema = node->maybeSchema()) out_ << '.' << schema->overload_name();
      if (node->hasAttribute(c10::attr::name)) out_ << ' ' << node->s(c10::attr::name);
      print(node->inputs());
      for (const Block* inner : node->blocks()) print(inner);
    }
    out_ << "yields";
    print(block->outputs());
  }

  void print(at::ArrayRef<const Value*> values) {
    for (const Value* value : values) {
      out_ << ' ';
      if (const auto constant = torch::jit::toIValue(value)) {
        print(*constant);
      } else {
        out_ << name(value);
      }
    }
    out_ << '\n';
  }

  void print(const IValue& constant) {
    if (constant.isTensorList()) {
      for (const at::Tensor& tensor : constant.toTensorList()) print(IValue(tensor));
    } else if (constant.isTensor()) {
      base::Sha256 sha;
      base::hash_tensor(sha, "tensor", constant.toTensor());
      out_ << sha.hex();
    } else {
      out_ << constant.tagKind() << ':' << constant;
    }
  }

  std::string name(const Value* value) {
    return "%" + std::to_string(numbers_.emplace(value, numbers_.size()).first->second);
  }

  std::map<const Value*, std::size_t> numbers_;
  std::ostringstream out_;
};

/// `graph` as forward of a module of its own, with the tensors that it reads under their dotted names.
std::optional<Network> as_network(const Module& module, const GraphPtr& graph, const std::string& name) {
  Module result("__torch__.graft." + name, std::make_shared<torch::jit::CompilationUnit>(), /*shouldMangle=*/false);
  result.register_attribute("training", c10::BoolType::get(), false);
  Value* self = graph->inputs().at(0);
  std::vector<Node*> reads;
  bool fine = true;
  for_each_node(graph->block(), [&](Node* node) {
    fine = fine && node->kind() != c10::prim::SetAttr;
    if (node->kind() == c10::prim::GetAttr && !is_module(node->output())) reads.push_back(node);
  });
  for (Node* node : reads) {
    const auto owner = attribute(module, node->input(), self);
    if (!owner || !fine) return std::nullopt;
    const auto& type = *owner->toObjectRef().type();
    const auto slot = type.getAttributeSlot(node->s(c10::attr::name));
    const auto path = *path_of(node->output(), self);
    if (!result.hasattr(path)) {
      const auto value = owner->toObjectRef().getSlot(slot);
      const bool parameter = type.is_parameter(slot);
      result.register_attribute(path, type.getAttribute(slot), value, parameter, !parameter && value.isTensor());
    }
    node->replaceInput(0, self);
    node->s_(c10::attr::name, path);
  }
  torch::jit::EliminateDeadCode(graph);
  for (const auto& use : self->uses())
    if (use.user->kind() != c10::prim::GetAttr || is_module(use.user->output())) return std::nullopt;
  self->setType(result.type());
  auto* function = result._ivalue()->compilation_unit()->create_function(
      c10::QualifiedName(*result.type()->name(), "forward"), graph);
  result.type()->addMethod(function);
  return Network(std::make_shared<Network::Jit>(Network::Jit{std::move(result)}));
}

/// One mode's graph and what depends on what in it.
struct Mode {
  Mode(const Module& module, bool training) : graph(folded(module, training)), dependences(graph, module) {}
  GraphPtr graph;
  Dependences dependences;
};

std::optional<std::size_t> position_of(const Mode& mode, const std::string& name) {
  for (std::size_t i = 0; i < mode.dependences.nodes().size(); ++i)
    for (const Value* output : mode.dependences.nodes()[i]->outputs())
      if (output->debugName() == name) return i;
  return std::nullopt;
}

/// At the value of this node of the training mode's graph.
std::optional<Split> split_at(const Module& module, const Mode& training, const Mode& evaluation, std::size_t cut) {
  const Node* node = training.dependences.nodes()[cut];
  if (training.dependences.is_live(cut) || node->outputs().size() != 1 || !is_tensor(node->output()))
    return std::nullopt;
  const auto before = training.dependences.before(cut);
  if (!before) return std::nullopt;
  const auto same = position_of(evaluation, node->output()->debugName());
  const auto before_same = same ? evaluation.dependences.before(*same) : std::nullopt;
  if (!before_same) return std::nullopt;
  const auto trunk = first_part(*training.graph, cut, training.dependences);
  const auto text = Text(*trunk).str();
  if (text != Text(*first_part(*evaluation.graph, *same, evaluation.dependences)).str()) return std::nullopt;
  auto trunk_network = as_network(module, trunk, "Trunk");
  auto rest = as_network(module, second_part(*evaluation.graph, *same, *before_same), "Rest");
  if (!trunk_network || !rest || trunk_network->named_parameters().empty()) return std::nullopt;
  return Split{*trunk_network, *rest, second_part(*training.graph, cut, *before), text};
}

}  // namespace

std::optional<Split> split_frozen(const Network& network) try {
  const Module& module = network.jit().module;
  if (method_graph(*module.type(), "forward")->inputs().size() != 2) return std::nullopt;
  const Mode training(module, true), evaluation(module, false);
  if (!training.dependences.output_changes()) return std::nullopt;
  for (std::size_t i = training.dependences.nodes().size(); i-- > 0;)
    if (auto split = split_at(module, training, evaluation, i)) return split;
  return std::nullopt;
} catch (const std::exception&) {
  base::rethrow_unless_about_input("cutting a network");
  return std::nullopt;  // what LibTorch's passes cannot do, the whole network can
}

}  // namespace graft::graph
