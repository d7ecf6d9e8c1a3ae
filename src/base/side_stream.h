/// CUDA streams, without CUDA's headers.
#pragma once

#include <utility>

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/Event.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

namespace graft::base {

inline c10::Stream current_stream(c10::Device device) {
  return c10::impl::VirtualGuardImpl(device.type()).getStream(device);
}

/// What is launched on `later` from now on begins after what was launched on `earlier`.
inline void order(const c10::Stream& earlier, const c10::Stream& later) {
  c10::Event event(earlier.device_type());
  event.record(earlier);
  event.block(later);
}

/// Another one than the current.
inline c10::Stream new_stream(c10::Device device) {
  return c10::impl::VirtualGuardImpl(device.type()).getStreamFromGlobalPool(device);
}

/// Calls `work` with `side` as the current stream, in order with the one that is.
template <class Work>
void on_stream(const c10::Stream& side, const Work& work) {
  const c10::DeviceGuard there(side.device());
  const auto current = current_stream(side.device());
  order(current, side);
  {
    const c10::StreamGuard guard(side);
    work();
  }
  order(side, current);
}

/// A stream of its own, for what is needed later, such as the next batch, while the device is at work on the current
/// one.
class SideStream {
 public:
  explicit SideStream(c10::Device device) : device_(device), stream_(new_stream(device)) {}

  struct Result {
    at::Tensor tensor;
    c10::Event there;
  };
  /// What run() launches from now on begins after what was launched on the current stream.
  void follow() const {
    const c10::DeviceGuard on_device(device_);
    order(current_stream(device_), stream_);
  }
  /// work() gives a tensor; without follow() it depends on nothing launched before.
  template <class Work>
  Result run(const Work& work) const {
    const c10::DeviceGuard on_device(device_);
    const c10::StreamGuard guard(stream_);
    Result result{work(), c10::Event(device_.type())};
    result.tensor.record_stream(stream_);
    result.there.record(stream_);
    return result;
  }
  /// For what is launched on the current stream from now on.
  at::Tensor hand_over(const Result& result) const {
    const auto current = current_stream(device_);
    result.there.block(current);
    result.tensor.record_stream(current);
    return result.tensor;
  }

 private:
  c10::Device device_;
  c10::Stream stream_;
};

}  // namespace graft::base
