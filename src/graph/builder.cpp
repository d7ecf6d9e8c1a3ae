#include <algorithm>
#include <set>
#include <string>
#include <string_view>

#include <torch/csrc/jit/api/compilation_unit.h>

#include <graft/error.h>

#include "base/text.h"
#include "base/translate.h"
#include "graph/jit.h"

namespace graft::graph {

namespace {

using Unit = std::shared_ptr<torch::jit::CompilationUnit>;

/// A class name from any text.
std::string identifier(std::string_view text) {
  std::string name(text);
  std::replace_if(name.begin(), name.end(), [](char c) { return !base::is_letter_or_digit(c); }, '_');
  return name.empty() || base::is_digit(name[0]) ? "_" + name : name;
}

/// Throws Error kConfig for a name that TorchScript cannot write down, or reads as something else: such a module can be
/// made and saved, but not loaded again.
std::string attribute_name(std::string_view name) {
  static const std::set<std::string_view> kTaken{
      "False",    "None",   "True",   "and",   "as",       "assert", "async",    "await", "break",   "class",
      "continue", "def",    "del",    "elif",  "else",     "except", "finally",  "for",   "forward", "from",
      "global",   "if",     "import", "in",    "is",       "lambda", "nonlocal", "not",   "or",      "pass",
      "raise",    "return", "self",   "torch", "training", "try",    "while",    "with",  "yield"};
  if (kTaken.contains(name))
    throw Error(ErrorCode::kConfig,
                "expected another name than \"" + std::string(name) + "\", which TorchScript needs");
  return std::string(name);
}

std::shared_ptr<Network::Jit> empty_module(std::string_view type, const Unit& unit) {
  torch::jit::Module module(c10::QualifiedName("__torch__.graft." + identifier(type)), unit, /*shouldMangle=*/true);
  module.register_attribute("training", c10::BoolType::get(), false);
  return std::make_shared<Network::Jit>(Network::Jit{std::move(module)});
}

}  // namespace

NetworkBuilder::NetworkBuilder(std::string_view type, const Network& beside)
    : jit_(empty_module(type, beside.jit().module._ivalue()->compilation_unit())) {}

NetworkBuilder::NetworkBuilder(std::string_view type)
    : jit_(empty_module(type, std::make_shared<torch::jit::CompilationUnit>())) {}

NetworkBuilder& NetworkBuilder::parameter(std::string_view name, at::Tensor value) {
  jit_->module.register_parameter(attribute_name(name), std::move(value), /*is_buffer=*/false);
  return *this;
}

NetworkBuilder& NetworkBuilder::buffer(std::string_view name, at::Tensor value) {
  jit_->module.register_parameter(attribute_name(name), std::move(value), /*is_buffer=*/true);
  return *this;
}

NetworkBuilder& NetworkBuilder::child(std::string_view name, const Network& network) {
  jit_->module.register_module(attribute_name(name), network.jit().module);
  return *this;
}

NetworkBuilder& NetworkBuilder::child(std::string_view name, const NetworkBuilder& part) {
  jit_->module.register_module(attribute_name(name), part.jit().module);
  return *this;
}

NetworkBuilder& NetworkBuilder::define(const std::string& source) {
  try {
    jit_->module.define(source);
  } catch (const std::exception& error) {
    base::rethrow_unless_about_input("compiling TorchScript");
    throw Error(ErrorCode::kConfig, "this TorchScript does not compile: " + base::own_words(error.what()));
  }
  return *this;
}

Network NetworkBuilder::build(std::string_view body) {
  std::string source = "def forward(self, x: Tensor) -> Tensor:\n";
  for (std::string_view rest = body; !rest.empty();) {
    const auto end = rest.find('\n');
    source += "    " + std::string(rest.substr(0, end)) + "\n";
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
  }
  return define(source).build();
}

}  // namespace graft::graph
