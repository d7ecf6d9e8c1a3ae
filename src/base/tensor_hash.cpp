#include "base/tensor_hash.h"

#include <span>

#include <ATen/ATen.h>

namespace graft::base {

void hash_tensor(Sha256& sha, std::string_view name, const at::Tensor& tensor) {
  const auto bytes = tensor.detach().to(at::kCPU).contiguous();
  sha.update(name).update(c10::str(" ", tensor.sizes(), " ", tensor.scalar_type(), "\n"));
  sha.update(std::span(static_cast<const std::byte*>(bytes.const_data_ptr()), bytes.nbytes()));
}

}  // namespace graft::base
