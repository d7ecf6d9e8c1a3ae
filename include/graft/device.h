/// Where tensors live and in which arithmetic the network runs.
/// Thread-safety: values; safe everywhere.
#pragma once

#include <string>
#include <string_view>

#include <graft/export.h>

namespace graft {

/// The CPU or a CUDA device.
struct GRAFT_EXPORT Device {
  /// Kinds of device.
  enum class Type { kCpu, kCuda };

  Type type = Type::kCpu;
  int index = 0;  ///< CUDA ordinal; always 0 for the CPU

  static Device cpu() { return {}; }                                  ///< the CPU
  static Device cuda(int index = 0) { return {Type::kCuda, index}; }  ///< a CUDA device, by its ordinal

  /// "cpu", "cuda", "cuda:1", or "auto": the first CUDA device where LibTorch sees one, else the CPU.
  /// Throws Error kConfig for any other text and for a CUDA device that is not there.
  static Device parse(std::string_view text);

  /// "cpu" or "cuda:0".
  std::string str() const;

  bool is_cuda() const { return type == Type::kCuda; }
  bool operator==(const Device&) const = default;
};

/// Number of CUDA devices LibTorch can use; 0 for a CPU build.
GRAFT_EXPORT int cuda_device_count();

/// The arithmetic in which a network runs.
enum class Precision {
  kFloat32,
  kBFloat16,  ///< weights stay float32; convolutions and matrix products run in bfloat16 (autocast)
  kFloat16,   ///< the same in float16; in training the loss is scaled (TrainerOptions::precision)
  /// Weights stay float32; inference on the CPU runs in eight bits, by the ranges that quantize() has found
  /// (quantize.h). Where the processor has no arithmetic for it (VNNI or AMX) it runs in float32.
  kInt8,
  /// For inference: bfloat16 where the device computes in it (AVX-512, AMX, CUDA devices from Ampere on) and a
  /// picture's answer differs from that in float32 by at most 0.02 of the largest value, or of 1; float32 elsewhere.
  kAuto,
};

/// "float32", "bfloat16", "float16", "int8" or "auto".
GRAFT_EXPORT std::string_view to_string(Precision precision) noexcept;

/// The reverse of to_string. Throws Error kConfig for any other text.
GRAFT_EXPORT Precision parse_precision(std::string_view text);

}  // namespace graft
