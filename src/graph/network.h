/// A TorchScript network as the rest of the library sees it: names, tensors, calls, cutting and joining, without
/// torch::jit.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include <graft/limits.h>

#include "base/byte_source.h"

namespace graft::graph {

/// Additional records of a TorchScript archive: name to content.
using ExtraFiles = std::map<std::string, std::string>;

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

/// One call of a sub-module, in execution order; a call inside another comes after it.
struct Call {
  std::string path;          ///< dotted name: layer4.1.conv2
  std::string type;          ///< the class's own name: Conv2d
  bool conditional = false;  ///< inside an if or a loop
};

/// Who decides on training behaviour (dropout, batch statistics).
enum class Origin {
  kScripted,  ///< the training flag
  kTraced,    ///< nobody: it was fixed when the network was traced
  kFrozen,    ///< torch.jit.freeze: no parameters are left
};

/// An operator that no longer asks for the training flag.
struct FixedTraining {
  std::string layer;  ///< the innermost sub-module around it; "forward" if there is none
  std::string kind;   ///< "dropout", "batch norm", or the operator's own name
  bool on = false;    ///< behaves as in training, always
};

/// A handle; copies share the network. Reading is safe from many threads, changing is not.
class Network {
 public:
  /// Parses an archive on the CPU, in evaluation mode. `name` is how messages call it. `extra` names the records wanted
  /// and receives their contents; one that is absent stays empty.
  /// Throws Error kFormat, kMismatch (a state dict, safetensors, no forward), kLimit, kIo.
  static Network load(const base::ByteSource& source, std::string_view name, ExtraFiles& extra,
                      const ArchiveLimits& limits = {});
  static Network load(std::span<const std::byte> archive, std::string_view name, ExtraFiles& extra) {
    return load(base::MemorySource(archive), name, extra);
  }

  /// The archive as load() and Python's torch.jit.load read it.
  std::string save(const ExtraFiles& extra) const;

  NamedTensors named_parameters() const;
  NamedTensors named_buffers() const;

  /// Paths of the sub-modules that hold batch norm statistics (buffers running_mean and running_var).
  std::vector<std::string> batch_norms() const;

  Origin origin() const;
  /// What has its training behaviour fixed by tracing, in execution order.
  std::vector<FixedTraining> fixed_training() const;

  /// Sets the training flag of every sub-module to `on`, but to false for those in `inference`.
  void set_training(bool on, const std::vector<std::string>& inference = {});

  void to(const c10::Device& device);

  std::vector<Call> calls() const;

  /// The part of the network that computes the first input of the call of `path` (its last call, if several), as a
  /// network of its own that shares the tensors and keeps their names; what it does not need is gone.
  /// Throws Error kConfig (no such sub-module is called), kMismatch (conditional, or nothing comes before it).
  Network cut_before(std::string_view path) const;
  /// The same for the call's output.
  Network cut_after(std::string_view path) const;

  /// This network followed by `next`, which becomes the sub-module `name`. Throws Error kMismatch if the name is taken.
  Network followed_by(std::string_view name, const Network& next) const;

  bool has_attribute(std::string_view name) const;

  /// The same network with tensors of its own.
  Network deep_copy() const;

  struct Jit;
  explicit Network(std::shared_ptr<Jit> jit) : jit_(std::move(jit)) {}
  const Jit& jit() const { return *jit_; }

 private:
  Network cut(std::string_view path, bool after) const;
  std::shared_ptr<Jit> jit_;
};

/// Builds a network module by module.
class NetworkBuilder {
 public:
  /// `type` is the class's name; `beside`: the network it will follow (both then live in one compilation unit).
  NetworkBuilder(std::string_view type, const Network& beside);
  /// In a compilation unit of its own.
  explicit NetworkBuilder(std::string_view type);

  NetworkBuilder& parameter(std::string_view name, at::Tensor value);
  NetworkBuilder& buffer(std::string_view name, at::Tensor value);
  NetworkBuilder& child(std::string_view name, const Network& network);
  /// Tensors below a name of their own, without a method.
  NetworkBuilder& child(std::string_view name, const NetworkBuilder& part);
  /// Methods as TorchScript source. Throws Error kConfig with the compiler's message.
  NetworkBuilder& define(const std::string& source);

  /// With the methods there are.
  Network build() const { return Network(jit_); }
  /// With `body` as forward(self, x: Tensor) -> Tensor, one statement a line; children are called as
  /// self.NAME.forward(x).
  Network build(std::string_view body);

  const Network::Jit& jit() const { return *jit_; }

 private:
  std::shared_ptr<Network::Jit> jit_;
};

}  // namespace graft::graph
