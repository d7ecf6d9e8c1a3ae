/// What a pickle of a TorchScript file builds, followed without building it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string_view>

namespace graft::graph {

/// Bytes of the record that holds the storage of this key; nothing if there is none.
using RecordSize = std::function<std::optional<std::uint64_t>(std::string_view key)>;

/// Follows a pickle as LibTorch's reader will, and throws Error kFormat where it would do what TorchScript's writer
/// never asks for: other instructions and other names than the known ones, too little on the stack, a container inside
/// itself, tensors that reach beyond their storage or a storage beyond its record; kLimit for memo numbers, nesting and
/// repetition that would take the memory, and for storages of more than `most_read` bytes together.
void check_pickle(std::span<const std::byte> pickle, const RecordSize& record_size, std::uint64_t most_read);

/// How deep brackets and chains of operators are nested in TorchScript source or in the name of a type; LibTorch's
/// parser calls itself as often.
std::size_t nesting(std::string_view source);
inline constexpr std::size_t kDeepestNesting = 200;

}  // namespace graft::graph
