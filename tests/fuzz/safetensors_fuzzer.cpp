// safetensors files, mutated, as checkpoints and weights are: nothing but a graft::Error may leave the reader.

#include <graft/error.h>

#include "base/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    (void)graft::base::read_safetensors(std::as_bytes(std::span(data, size)), "fuzzed");
  } catch (const graft::Error&) {
  }
  return 0;
}
