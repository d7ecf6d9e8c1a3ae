/// Graft's devices as LibTorch calls them.
#pragma once

#include <c10/core/Device.h>

#include <graft/device.h>

namespace graft::base {

inline c10::Device to_torch(Device device) {
  return device.is_cuda() ? c10::Device(c10::kCUDA, static_cast<c10::DeviceIndex>(device.index))
                          : c10::Device(c10::kCPU);
}

}  // namespace graft::base
