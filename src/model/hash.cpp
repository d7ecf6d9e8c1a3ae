#include "model/hash.h"

#include "base/tensor_hash.h"

namespace graft::model {

std::string content_hash(const graph::NamedTensors& parameters, const graph::NamedTensors& buffers) {
  base::Sha256 sha;
  for (const auto* tensors : {&parameters, &buffers})
    for (const auto& [name, tensor] : *tensors) base::hash_tensor(sha, name, tensor);
  return sha.hex();
}

std::string content_hash(const graph::Network& network) {
  return content_hash(network.named_parameters(), network.named_buffers());
}

}  // namespace graft::model
