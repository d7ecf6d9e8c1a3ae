/// Tensors in one file, as the safetensors package for Python writes and reads it
/// (https://github.com/huggingface/safetensors, format): 8 bytes for the size of a JSON header, the header, the data.
#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <span>
#include <string>

#include <ATen/core/Tensor.h>

namespace graft::base {

struct Safetensors {
  std::map<std::string, at::Tensor> tensors;  ///< on the CPU
  std::map<std::string, std::string> metadata;
};

/// Atomically, with a SHA-256 over all of it among the metadata. Throws Error kIo.
void write_safetensors(const std::filesystem::path& path, const Safetensors& content);

/// What write_safetensors wrote. Throws Error kIo, kFormat: damaged (no SHA-256 in it, or it does not hold).
Safetensors read_own_safetensors(const std::filesystem::path& path);
/// Anybody's, from memory; `name` is how messages call it. Throws Error kFormat: damaged (the SHA-256, where there is
/// one, does not hold), types that are not known.
Safetensors read_safetensors(std::span<const std::byte> bytes, const std::string& name);

}  // namespace graft::base
