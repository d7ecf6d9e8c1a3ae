#include "model/hash.h"

#include <span>

#include <ATen/ATen.h>

namespace graft::model {

void hash_tensor(base::Sha256& sha, const std::string& name, const at::Tensor& tensor) {
  const auto bytes = tensor.detach().to(at::kCPU).contiguous();
  sha.update(name).update(c10::str(" ", tensor.sizes(), " ", tensor.scalar_type(), "\n"));
  sha.update(std::span(static_cast<const std::byte*>(bytes.const_data_ptr()), bytes.nbytes()));
}

std::string content_hash(const graph::Network& network) {
  base::Sha256 sha;
  for (const auto& [name, tensor] : network.named_parameters()) hash_tensor(sha, name, tensor);
  for (const auto& [name, tensor] : network.named_buffers()) hash_tensor(sha, name, tensor);
  return sha.hex();
}

}  // namespace graft::model
