#include <graft/script_head.h>

#include <algorithm>
#include <string>

#include <graft/error.h>

#include "graph/trace.h"
#include "model/head_recipe.h"

namespace graft::heads {

namespace {

/// Puts a tensor into the tree at its dotted name.
void place(graph::ModuleTree& tree, std::string_view name, const at::Tensor& tensor,
           graph::NamedTensors graph::ModuleTree::* kind) {
  const auto dot = name.find('.');
  if (dot == std::string_view::npos) {
    (tree.*kind).emplace_back(name, tensor);
    return;
  }
  const std::string child(name.substr(0, dot));
  auto it = std::find_if(tree.children.begin(), tree.children.end(), [&](const auto& c) { return c.name == child; });
  if (it == tree.children.end()) it = tree.children.insert(it, {child, {child, {}, {}, {}}});
  place(it->tree, name.substr(dot + 1), tensor, kind);
}

class Script : public Head::Impl {
 public:
  explicit Script(ScriptOptions options) : o_(std::move(options)) {
    if (o_.source.empty() || !o_.parameters)
      throw Error(ErrorCode::kConfig, "script head: expected source text and a function that makes the parameters");
  }

  std::string describe() const override { return o_.name; }

  BuiltHead build(const std::vector<std::int64_t>& shape, const graph::Network& beside) const override {
    graph::ModuleTree tree{o_.name, {}, {}, {}};
    for (const auto& [name, tensor] : o_.parameters(shape)) place(tree, name, tensor, &graph::ModuleTree::parameters);
    if (o_.buffers)
      for (const auto& [name, tensor] : o_.buffers(shape)) place(tree, name, tensor, &graph::ModuleTree::buffers);
    return {graph::mirror(tree, beside).define(o_.source).build(), {Task{.kind = o_.kind, .loss = o_.loss}}};
  }

 private:
  ScriptOptions o_;
};

}  // namespace

Head script(ScriptOptions options) { return Head(std::make_shared<Script>(std::move(options))); }

}  // namespace graft::heads
