#include <graft/device.h>

#include <ATen/Context.h>

#include <graft/error.h>

#include "base/text.h"

namespace graft {

int cuda_device_count() { return at::hasCUDA() ? static_cast<int>(at::getNumGPUs()) : 0; }

Device Device::parse(std::string_view text) {
  const int devices = cuda_device_count();
  if (text == "cpu") return cpu();
  if (text == "auto") return devices > 0 ? cuda() : cpu();
  if (text == "cuda" || text.starts_with("cuda:")) {
    const auto index = text == "cuda" ? 0 : base::parse_integer(text.substr(5), "device index");
    if (index < 0 || index >= devices)
      throw Error(ErrorCode::kConfig, "device " + std::string(text) + " is not there: LibTorch sees " +
                                          std::to_string(devices) + " CUDA devices");
    return cuda(static_cast<int>(index));
  }
  throw Error(ErrorCode::kConfig,
              "device: expected auto, cpu, cuda or cuda:INDEX, found \"" + std::string(text) + "\"");
}

std::string Device::str() const { return is_cuda() ? "cuda:" + std::to_string(index) : "cpu"; }

std::string_view to_string(Precision precision) noexcept {
  switch (precision) {
    case Precision::kBFloat16:
      return "bfloat16";
    case Precision::kFloat16:
      return "float16";
    case Precision::kInt8:
      return "int8";
    case Precision::kAuto:
      return "auto";
    default:
      return "float32";
  }
}

Precision parse_precision(std::string_view text) {
  if (text == "float32") return Precision::kFloat32;
  if (text == "bfloat16") return Precision::kBFloat16;
  if (text == "float16") return Precision::kFloat16;
  if (text == "int8") return Precision::kInt8;
  if (text == "auto") return Precision::kAuto;
  throw Error(ErrorCode::kConfig,
              "precision: expected float32, bfloat16, float16, int8 or auto, found \"" + std::string(text) + "\"");
}

}  // namespace graft
