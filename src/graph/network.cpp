#include "graph/network.h"

#include <algorithm>
#include <new>
#include <sstream>
#include <unordered_set>

#include <ATen/core/grad_mode.h>
#include <caffe2/serialize/inline_container.h>
#include <torch/csrc/jit/ir/constants.h>
#include <torch/csrc/jit/serialization/import.h>

#include <graft/error.h>

#include "base/torch_version.h"
#include "base/translate.h"
#include "graph/archive.h"
#include "graph/defaults.h"
#include "graph/flatten.h"

namespace graft::graph {

namespace {

using torch::jit::Node;

bool holds_batch_norm_statistics(const torch::jit::Module& module) {
  return module.hasattr("running_mean") && module.hasattr("running_var") && module.attr("running_mean").isTensor();
}

bool is_none(const torch::jit::Value* value) { return value->type()->kind() == c10::TypeKind::NoneType; }

bool reads_training_flag(const Node* node) {
  return node->kind() == c10::prim::GetAttr && node->s(c10::attr::name) == "training";
}

/// Computed from the training flag.
bool follows_flag(const torch::jit::Value* value) {
  const Node* node = value->node();
  if (reads_training_flag(node)) return true;
  if (is_tensor(value)) return false;  // the way back through a network is long
  if (!node->kind().is_aten() && node->kind() != c10::prim::If) return false;
  if (std::ranges::any_of(node->inputs(), follows_flag)) return true;
  return std::ranges::any_of(node->blocks(), [](const torch::jit::Block* block) {
    return std::ranges::any_of(block->outputs(), follows_flag);
  });
}

/// Runs in one mode only, or in both differently.
bool is_under_flag(const Node* node) {
  for (const Node* owner = node->owningBlock()->owningNode(); owner; owner = owner->owningBlock()->owningNode())
    if (owner->kind() == c10::prim::If && follows_flag(owner->input(0))) return true;
  return false;
}

/// A dropout that drops nothing, or whose rate is computed: what computes it asks for the training flag.
bool has_no_fixed_rate(const Node* node) {
  const auto* rate = input_named(node, "p");
  if (!rate) return false;
  const auto constant = torch::jit::toIValue(rate);
  return !constant || !constant->isDouble() || constant->toDouble() <= 0;
}

/// The constant that an operator has for its argument "train" or "training", if it has the argument and it is constant.
std::optional<bool> fixed_training_of(const Node* node) {
  // Without statistics a batch norm uses those of its batch in either mode: it never asks.
  if (const auto* statistics = input_named(node, "running_mean"); statistics && is_none(statistics))
    return std::nullopt;
  for (const char* name : {"training", "train"}) {
    const auto* value = input_named(node, name);
    if (!value || has_no_fixed_rate(node) || is_under_flag(node)) continue;
    if (value->node()->kind() == c10::prim::Constant) return torch::jit::constant_as<bool>(value);
  }
  return std::nullopt;
}

/// visit(name, object, slot) for every attribute in and below `module`, in the order of LibTorch's own lists. Those
/// join their names in a stream, which leaves out what it finds no memory for, and says nothing.
template <class Visit>
void for_each_attribute(const torch::jit::Module& module, const std::string& prefix, const Visit& visit) {
  const auto type = module.type();
  for (std::size_t slot = 0; slot < type->numAttributes(); ++slot) {
    const std::string name = prefix + type->getAttributeName(slot);
    visit(name, *module._ivalue(), slot);
    if (type->getAttribute(slot)->is_module())
      for_each_attribute(module._ivalue()->getSlot(slot).toModule(), name + ".", visit);
  }
}

/// visit(name, module) for `module`, whose name is empty, and every one below.
template <class Visit>
void for_each_module(const torch::jit::Module& module, const Visit& visit) {
  visit(std::string(), module);
  for_each_attribute(module, "", [&](const std::string& name, const auto& object, std::size_t slot) {
    if (object.type()->getAttribute(slot)->is_module()) visit(name, object.getSlot(slot).toModule());
  });
}

/// The archive without compression, of which some bits mean nothing and could change unseen, and without debug records,
/// which nobody needs and which crash LibTorch where they are damaged.
std::string stored(std::istream& archive) {
  caffe2::serialize::PyTorchStreamReader reader(&archive);
  std::string result;
  bool complete = true;
  caffe2::serialize::PyTorchStreamWriter writer([&](const void* bytes, std::size_t count) {
    try {
      if (complete) result.append(static_cast<const char*>(bytes), count);
    } catch (const std::bad_alloc&) {  // the writer's destructor writes on, and must not throw
      complete = false;
    }
    return count;
  });
  for (const auto& record : reader.getAllRecords()) {
    if (record.ends_with(".debug_pkl") || record == caffe2::serialize::kSerializationIdRecordName) continue;
    const auto [data, size] = reader.getRecord(record);
    writer.writeRecord(record, data.get(), size);
  }
  writer.writeEndOfFile();
  if (!complete) throw std::bad_alloc();
  return result;
}

}  // namespace

Network Network::load(const base::ByteSource& source, std::string_view name, ExtraFiles& extra,
                      const ArchiveLimits& limits) {
  base::check_torch_version();
  const auto archive = std::make_shared<Archive>(source, name, limits);
  torch::jit::ExtraFilesMap files;
  for (const auto& [file, content] : extra) files[file] = content;
  auto jit = std::make_shared<Jit>();
  try {
    // Debug records are not read: they are not needed, and damaged ones crash LibTorch when an error is reported.
    jit->module = torch::jit::load(archive, c10::Device(c10::kCPU), files,
                                   /*load_debug_files=*/false);
    if (!jit->module.find_method("forward"))
      throw Error(ErrorCode::kMismatch, std::string(name) + ": the TorchScript module has no forward method");
    take_defaults(jit->module);
    jit->module.eval();
    archive->finish();
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    base::rethrow_unless_about_input(name);
    archive->finish();  // where it is damaged, that is why
    throw Error(ErrorCode::kFormat,
                std::string(name) + ": LibTorch cannot read this TorchScript file: " + base::own_words(error.what()));
  }
  for (auto& [file, content] : extra) content = files[file];
  return Network(std::move(jit));
}

namespace {

/// LibTorch writes the code of an archive by streams in the locale that the program has set for all of C++. It cannot
/// be set otherwise for one thread, and not at all without the program's knowing.
void check_locale() {
  std::ostringstream numbers;
  numbers << 1234567 << " " << 0.5;
  if (numbers.str() != "1234567 0.5")
    throw Error(ErrorCode::kConfig,
                "saving as TorchScript: std::locale::global has set a locale in which LibTorch writes numbers as " +
                    numbers.str() +
                    ", which nobody can read; set std::locale::classic() to save (std::setlocale makes no difference)");
}

}  // namespace

std::string Network::save(const ExtraFiles& extra) const {
  check_locale();
  torch::jit::ExtraFilesMap files;
  for (const auto& [file, content] : extra) files[file] = content;
  return base::translated("saving as TorchScript", [&] {
    std::stringstream archive;
    jit_->module.save(archive, files);
    if (!archive) throw std::bad_alloc();  // what a stream in memory fails for, without a word
    return stored(archive);
  });
}

NamedTensors Network::named_parameters() const {
  NamedTensors tensors;
  for_each_attribute(jit_->module, "", [&](const std::string& name, const auto& object, std::size_t slot) {
    const auto& value = object.getSlot(slot);
    if (object.type()->is_parameter(slot) && value.isTensor()) tensors.emplace_back(name, value.toTensor());
  });
  return tensors;
}

NamedTensors Network::named_buffers() const {
  NamedTensors tensors;
  for_each_attribute(jit_->module, "", [&](const std::string& name, const auto& object, std::size_t slot) {
    const auto& type = *object.type();
    if (type.is_buffer(slot) && type.getAttribute(slot)->isSubtypeOf(*c10::TensorType::get()))
      tensors.emplace_back(name, object.getSlot(slot).toTensor());
  });
  return tensors;
}

std::vector<std::string> Network::batch_norms() const {
  std::vector<std::string> paths;
  for_each_module(jit_->module, [&](const std::string& name, const torch::jit::Module& module) {
    if (holds_batch_norm_statistics(module)) paths.push_back(name);
  });
  return paths;
}

Origin Network::origin() const {
  if (jit_->module.parameters().size() == 0) return Origin::kFrozen;
  bool reads_flag = false, fixed = false;
  const auto flat = flatten(jit_->module);
  for_each_node(flat.graph->block(), [&](Node* node) {
    reads_flag = reads_flag || reads_training_flag(node);
    fixed = fixed || fixed_training_of(node).has_value();
  });
  // Without any layer that asks for the flag both behave alike; a script's graph keeps it in none.
  return fixed && !reads_flag ? Origin::kTraced : Origin::kScripted;
}

std::vector<FixedTraining> Network::fixed_training() const {
  const auto flat = flatten(jit_->module);
  std::vector<FixedTraining> found;
  for_each_node(flat.graph->block(), [&](Node* node) {
    const auto on = fixed_training_of(node);
    if (!on) return;
    FixedTraining fixed{"forward", node->kind().toUnqualString(), *on};
    for (const auto& flat_call : flat.calls)
      if (flat_call.output == node->output(0)) fixed.layer = flat_call.call.path;
    if (fixed.kind.find("dropout") != std::string::npos) fixed.kind = "dropout";
    if (const auto* statistics = input_named(node, "running_mean")) {
      fixed.kind = "batch norm";
      // A layer that does more than normalise is known by whose statistics these are.
      if (const auto path = path_of(statistics, flat.graph->inputs().at(0)))
        fixed.layer = path->substr(0, path->rfind('.'));
    }
    found.push_back(std::move(fixed));
  });
  return found;
}

void Network::set_training(bool on, const std::vector<std::string>& inference) {
  const std::unordered_set<std::string> kept(inference.begin(), inference.end());
  for_each_module(jit_->module, [&](const std::string& name, const torch::jit::Module& module) {
    if (const auto slot = module.type()->findAttributeSlot("training"))
      module._ivalue()->setSlot(*slot, on && !kept.contains(name));
  });
}

void Network::to(const c10::Device& device) { jit_->module.to(device); }

std::vector<Call> Network::calls() const {
  std::vector<Call> calls;
  for (auto& flat_call : flatten(jit_->module).calls) calls.push_back(std::move(flat_call.call));
  return calls;
}

Network Network::deep_copy() const {
  return base::translated("copying a network", [&] {
    const at::NoGradGuard no_grad;  // the copies are parameters of their own, not results computed from the others
    return Network(std::make_shared<Jit>(Jit{jit_->module.deepcopy()}));
  });
}

bool Network::has_attribute(std::string_view name) const { return jit_->module.hasattr(std::string(name)); }

}  // namespace graft::graph
