#include "graph/defaults.h"

#include <algorithm>

#include <torch/csrc/jit/api/function_impl.h>
#include <torch/csrc/jit/ir/constants.h>

namespace graft::graph {

void take_defaults(const torch::jit::Module& module) {
  auto* function = torch::jit::tryToGraphFunction(module.get_method("forward").function());
  if (!function) return;
  const auto& schema = function->getSchema();
  const auto& arguments = schema.arguments();  // the first is the module itself
  if (arguments.size() <= 2 ||
      !std::all_of(arguments.begin() + 2, arguments.end(), [](const auto& a) { return a.default_value().has_value(); }))
    return;
  const auto graph = function->graph();
  const torch::jit::WithInsertPoint at(*graph->nodes().begin());
  for (std::size_t i = arguments.size(); i-- > 2;) {
    auto* input = graph->inputs().at(i);
    auto* value = graph->insertConstant(*arguments[i].default_value());
    if (value->type()->kind() == c10::TypeKind::NoneType) value->setType(input->type());
    input->replaceAllUsesWith(value);
    graph->eraseInput(i);
  }
  function->setSchema(c10::FunctionSchema(schema.name(), schema.overload_name(),
                                          {arguments.begin(), arguments.begin() + 2}, schema.returns()));
}

}  // namespace graft::graph
