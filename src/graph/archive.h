/// What a file given as TorchScript is, before LibTorch sees it.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

namespace graft::graph {

/// Throws Error unless `archive` is a whole TorchScript archive as far as its outside tells: kFormat for empty, foreign
/// or truncated files (naming what they look like), kMismatch for a state dict or safetensors, which hold no network.
void check_archive(std::span<const std::byte> archive, std::string_view name);

}  // namespace graft::graph
