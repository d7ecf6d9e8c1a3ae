#include "base/tensor_hash.h"

#include <span>
#include <string>

#include <ATen/ATen.h>

#include <graft/cancellation.h>

namespace graft::base {

void hash_tensor(Sha256& sha, std::string_view name, const at::Tensor& tensor) {
  CancellationScope::check();
  const auto bytes = tensor.detach().to(at::kCPU).contiguous();
  // As LibTorch prints them, but no stream: where memory is short that would leave something out, and say nothing.
  std::string kind = " [";
  for (const auto size : tensor.sizes()) kind += (kind.ends_with('[') ? "" : ", ") + std::to_string(size);
  kind += std::string("] ") + c10::toString(tensor.scalar_type()) + "\n";
  sha.update(name).update(kind);
  sha.update(std::span(static_cast<const std::byte*>(bytes.const_data_ptr()), bytes.nbytes()));
}

}  // namespace graft::base
