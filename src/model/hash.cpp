#include "model/hash.h"

#include "base/tensor_hash.h"

namespace graft::model {

std::string content_hash(const graph::Network& network) {
  base::Sha256 sha;
  for (const auto& [name, tensor] : network.named_parameters()) base::hash_tensor(sha, name, tensor);
  for (const auto& [name, tensor] : network.named_buffers()) base::hash_tensor(sha, name, tensor);
  return sha.hex();
}

}  // namespace graft::model
