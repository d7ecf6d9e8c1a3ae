/// Sums of CUDA tensors of several processes, from device to device, without a copy to the CPU: NCCL, which LibTorch
/// brings along.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>
#include <c10/core/Event.h>

#include <graft/communicator.h>

namespace graft::dist {

/// One thread at a time, of any. The sums are the same bits in every process.
class DeviceSums {
 public:
  DeviceSums() = default;
  virtual ~DeviceSums() = default;
  DeviceSums(const DeviceSums&) = delete;
  DeviceSums& operator=(const DeviceSums&) = delete;

  /// Begins to sum `flat`, contiguous, in place, behind what was launched on the current stream; float32, float64 or
  /// int64. The event comes when the sum is there. In the same order in every process.
  virtual c10::Event start(const at::Tensor& flat) = 0;
};

/// Of all processes, each with a device of its own; null where two have the same one, which NCCL refuses, or where this
/// build is without CUDA. Every process calls it, with a CUDA device.
std::unique_ptr<DeviceSums> connect_devices(Communicator& processes, c10::Device device);

/// Whether all of them say where they are, and no two are in the same place.
bool all_apart(std::vector<std::string> places);

}  // namespace graft::dist
