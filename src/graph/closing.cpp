#include "graph/closing.h"

#include <algorithm>
#include <array>

#include <ATen/core/function.h>

#include "graph/jit.h"

namespace graft::graph {

namespace {

constexpr std::array kShaping{"flatten", "view", "reshape", "squeeze", "contiguous", "to", "float"};

}  // namespace

std::string closing_operator(const Network& network) {
  auto module = network.jit().module;
  auto graph = method_graph(*module.type(), "forward");
  const torch::jit::Value* value = graph->outputs().at(0);
  for (;;) {
    const auto* node = value->node();
    const std::string name = node->kind().toUnqualString();
    if (node->kind().is_aten() && std::ranges::find(kShaping, name) != kShaping.end()) {
      value = node->input(0);
    } else if (node->kind() == c10::prim::CallMethod) {
      const auto callee = attribute(module, node->input(0), graph->inputs().at(0));
      if (!callee || !callee->isModule()) return {};
      module = callee->toModule();
      graph = method_graph(*module.type(), node->s(c10::attr::name));
      value = graph->outputs().at(0);
    } else if (node->kind() == c10::prim::CallFunction) {
      return node->input(0)->type()->expectRef<c10::FunctionType>().function()->name();
    } else {
      return node->kind().is_aten() ? name : std::string();
    }
  }
}

}  // namespace graft::graph
